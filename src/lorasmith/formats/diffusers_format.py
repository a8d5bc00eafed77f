"""Owns the tensors and header of `pytorch_lora_weights.safetensors`, diffusers' LoRA file; writes nothing.

Readers that know the header's adapter metadata take alpha from it; older ones assume alpha = rank. So the scale is
folded into the up weights and the header says alpha = rank: every reader merges the same weights.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from lorasmith.adapters.shape import is_inside, rank_patterns
from lorasmith.errors import DataError
from lorasmith.formats.module_names import with_text_model
from lorasmith.formats.weights import AdapterWeights, Part, PartAdapter, up_tensor

PREFIXES: dict[Part, str] = {
    "denoiser": "unet",
    "text_encoder_1": "text_encoder",
    "text_encoder_2": "text_encoder_2",
}
METADATA_KEY = "lora_adapter_metadata"
"""Where diffusers (0.34 and later) looks for each part's peft settings."""
_DOWN, _UP, _MAGNITUDE = ".lora_A", ".lora_B", ".lora_magnitude_vector"
_MAGNITUDE_ENDS: dict[Part, str] = {"denoiser": "", "text_encoder_1": ".weight", "text_encoder_2": ".weight"}
"""diffusers loads denoisers through peft, which adds `.weight`; transformers 5 loads encoders itself, as they are."""


def diffusers_tensors(weights: AdapterWeights) -> dict[str, Tensor]:
    """Tensors by name: `unet.….lora_A.weight` [r, in], `.lora_B.weight` [out, r], `.lora_magnitude_vector` [out].

    Text encoders keep `text_model.` in their names although transformers 5 dropped it: new diffusers strips it again,
    and everything older asks for it (diffusers issue 13984).
    """
    tensors: dict[str, Tensor] = {}
    for part, adapter in weights.parts.items():
        for path, module in adapter.modules.items():
            name = f"{PREFIXES[part]}.{path if part == 'denoiser' else with_text_model(path)}"
            folded = module.scaled(adapter.scale)
            tensors |= {f"{name}{_DOWN}.weight": folded.down, f"{name}{_UP}.weight": up_tensor(folded)}
            if folded.magnitude is not None:
                tensors[f"{name}{_MAGNITUDE}{_MAGNITUDE_ENDS[part]}"] = folded.magnitude
    return tensors


def diffusers_metadata(weights: AdapterWeights) -> dict[str, str]:
    """The header: peft's settings a part, as diffusers writes them."""
    settings = {
        f"{PREFIXES[part]}.{name}": value
        for part, adapter in weights.parts.items()
        for name, value in _peft_settings(part, adapter).items()
    }
    return {"format": "pt", METADATA_KEY: json.dumps(settings, indent=2, sort_keys=True)}


@dataclass(frozen=True)
class SaidAlphas:
    """What a header says of one part's alphas: the usual one, and those of layers named by peft's patterns."""

    usual: float | None
    patterns: Mapping[str, float]

    def of(self, path: str, *, rank: int) -> float:
        """A layer's alpha; its rank where nothing is said.

        Patterns are peft's regular expressions, but a stranger's are not run: layer and block names are read, no more.
        """
        plain = path.removeprefix("text_model.")
        fitting = (alpha for pattern, alpha in self.patterns.items() if _fits(pattern, plain))
        return next(fitting, rank if self.usual is None else self.usual)


def alphas_said(header: Mapping[str, str]) -> dict[Part, SaidAlphas]:
    """The alphas among a header's peft settings by part; DataError when they are no JSON object."""
    try:
        said: object = json.loads(header.get(METADATA_KEY, "{}"))
    except ValueError as broken:
        raise DataError("The header's adapter metadata is not JSON.", remedy="Export the file again.") from broken
    settings = cast(dict[str, object], said) if isinstance(said, dict) else {}
    return {
        part: SaidAlphas(
            _numbers({"": settings.get(f"{prefix}.lora_alpha")}).get(""),
            _numbers(settings.get(f"{prefix}.alpha_pattern")),
        )
        for part, prefix in PREFIXES.items()
    }


def _numbers(said: object) -> dict[str, float]:
    """The positive numbers in what should be a table of them."""
    table = cast(dict[str, object], said) if isinstance(said, dict) else {}
    return {
        name: float(value)
        for name, value in table.items()
        if isinstance(value, int | float) and math.isfinite(value) and value > 0
    }


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern names a layer, or a block that holds it."""
    plain = pattern.removeprefix("^").replace("\\.", ".")
    if plain.endswith("..+"):
        return is_inside(path, plain.removesuffix("..+"))
    return f".{path}".endswith(f".{plain}")


def _peft_settings(part: Part, adapter: PartAdapter) -> dict[str, object]:
    """The settings peft builds the same layers from; text encoders without `text_model.`, which ends match anyway."""
    ranks = {
        path if part == "denoiser" else path.removeprefix("text_model."): module.rank
        for path, module in adapter.modules.items()
    }
    patterns = rank_patterns(ranks, usual=adapter.rank)
    return {
        "r": adapter.rank,
        "lora_alpha": adapter.rank,
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
        "target_modules": sorted(ranks),
        "use_dora": adapter.kind == "dora",
        "bias": "none",
    }
