"""Owns saying what each program makes of a file: read whole, read with a difference, or not; and how large that is.

What a program adds to a layer's weight is computed by its own rule (`programs.py`) and compared with what the file
says. A DoRA's result depends on the base's weights: without them random ones stand in that have the magnitudes'
norms, in a few layers, so those differences are about what they are on the base.
"""

# torch.linalg is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lorasmith.data.wording import counted, shown
from lorasmith.formats.adapters import FileModule, modules_in
from lorasmith.formats.dora import change_by, dora_change
from lorasmith.formats.embeddings_format import BUNDLE, embeddings_in
from lorasmith.formats.families import as_a1111_thinks
from lorasmith.formats.keys import Key, Piece
from lorasmith.formats.opening import WeightsFile
from lorasmith.formats.programs import PROGRAMS, Program, ProgramName
from lorasmith.formats.weights import ModuleAdapter, Part

Verdict = Literal["whole", "different", "not"]
_ALLOWED = 1e-6
_DORA_LAYERS = 8
"""Layers of a DoRA that are computed for each program: its difference is one of conventions, so a few tell it."""
_MOST_STRANGERS = 12
_BEYOND_WORDS = 10.0


@dataclass(frozen=True)
class Reading:
    """What one program makes of a file: how many of its layers it reads, and the largest difference of a layer.

    `difference` is a share of the layer's change (Frobenius norms); None where nothing is read or nothing is a LoRA.
    """

    program: ProgramName
    verdict: Verdict
    layers: int
    of: int
    difference: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """A module as a program finds it, and the scale that it puts on it."""

    module: FileModule
    scale: float


def readings(file: WeightsFile) -> tuple[Reading, ...]:
    """What every program makes of a file."""
    modules = modules_in(file)
    return tuple(_reading(program, file, modules) for program in PROGRAMS)


def _reading(program: Program, file: WeightsFile, modules: Sequence[FileModule]) -> Reading:
    refused = _refusal(program, file, modules)
    if refused is not None:
        return Reading(program.name, "not", 0, len(modules), None, (refused,))
    seen = _seen(program, file, modules)
    differences = dict(_differences(program, modules, seen)) if modules else {}
    reasons = (*_reasons(program, file, modules, seen), *_about_embeddings(program, file))
    largest = max(differences.values(), default=None)
    if largest is not None and largest > _ALLOWED:
        size = f"by up to {largest:.1%}" if largest < _BEYOND_WORDS else "by many times its size"
        reasons = (*reasons, f"a layer's change is off {size}")
    is_off = bool(reasons) or len(seen) < len(modules)
    return Reading(program.name, "different" if is_off else "whole", len(seen), len(modules), largest, reasons)


def _refusal(program: Program, file: WeightsFile, modules: Sequence[FileModule]) -> str | None:
    """Why a program reads nothing of a file; None where it reads some."""
    if any(name.startswith(BUNDLE) for name in file.tensors) and program.bundles == "refused":
        return "it stops at the embeddings inside (bundle_emb.…)"
    if not modules:
        forms = [found.form for found in embeddings_in(file.tensors)]
        unknown = [form for form in forms if form != "bundle" and form not in program.embeddings]
        return f"it knows no embedding spelled {unknown[0]}" if unknown else None
    keys = [key for module in modules for key in module.keys.values() if key.ending not in program.leaves_out]
    strangers = [key for key in keys if not _knows(program, key)]
    if strangers and program.strangers == "refused":
        return f"it stops at {shown(strangers[0].name + strangers[0].ending, limit=90)}"
    if len(strangers) > _MOST_STRANGERS and program.strangers == "refused beyond 12":
        return f"it applies nothing of a file with {len(strangers)} keys that it does not know"
    spellings = {key.spelling for module in modules for key in module.keys.values() if module.part == "denoiser"}
    if not program.mixes_layouts and {"kohya", "kohya-diffusers"} <= spellings:
        return "it stops at block names of two layouts in one file"
    if not any(_finds(program, module) for module in modules):
        return f"it knows no module spelled {shown(modules[0].name, limit=90)}"
    return None


def _knows(program: Program, key: Key) -> bool:
    return any(key.ending in rule.endings and re.fullmatch(rule.names, key.name) for rule in program.keys)


def _finds(program: Program, module: FileModule) -> bool:
    """Whether a program finds both halves of an adapter, and its core if it has one."""
    needed: tuple[Piece, Piece, Piece] = ("down", "up", "mid")
    keys = [module.keys.get(piece) for piece in needed]
    return all(key is None or _knows(program, key) for key in keys)


def _seen(program: Program, file: WeightsFile, modules: Sequence[FileModule]) -> dict[tuple[Part, str], _Seen]:
    """The modules that a program finds, with the pieces that it finds of them."""
    found = [_as_seen(program, module) for module in modules if _finds(program, module)]
    if program.whole_attention:
        found = [module for module in found if not _is_torn(module, found)]
    parts: tuple[Part, ...] = ("denoiser", "text_encoder_1", "text_encoder_2")
    said = {part: _commonest_alpha(found, part) for part in parts}
    return {
        (module.part, module.path): _Seen(
            module, _scale(program, module, commonest=said[module.part], has_header=bool(file.header))
        )
        for module in found
    }


def _as_seen(program: Program, module: FileModule) -> FileModule:
    known: dict[Piece, Key] = {piece: key for piece, key in module.keys.items() if _knows(program, key)}
    return replace(module, keys=known, pieces={piece: module.pieces[piece] for piece in known})


def _is_torn(module: FileModule, found: Sequence[FileModule]) -> bool:
    """Whether it is of a second text encoder's attention that lacks one of its four."""
    attention, _, leaf = module.path.rpartition(".")
    if module.part != "text_encoder_2" or not leaf.endswith("_proj"):
        return False
    there = {other.path for other in found if other.part == module.part}
    return not all(f"{attention}.{one}_proj" in there for one in ("q", "k", "v", "out"))


def _commonest_alpha(found: Sequence[FileModule], part: Part) -> float | None:
    alphas = Counter(module.alpha for module in found if module.part == part and "alpha" in module.pieces)
    return alphas.most_common(1)[0][0] if alphas else None


def _scale(program: Program, module: FileModule, *, commonest: float | None, has_header: bool) -> float:
    """alpha ÷ rank as a program has it."""
    if "alpha" in module.pieces or (program.alpha == "commonest" and commonest is not None):
        alpha = commonest if program.alpha == "commonest" else module.alpha
        return 1.0 if alpha is None else alpha / module.rank
    return module.scale if program.heeds_header and has_header else 1.0


def _differences(
    program: Program, modules: Sequence[FileModule], seen: dict[tuple[Part, str], _Seen]
) -> Iterator[tuple[str, float]]:
    """How far each layer's change is off, as a share of it; layers that are not read are left out."""
    doras = [module for module in modules if "magnitude" in module.pieces and (module.part, module.path) in seen]
    computed = {id(module) for module in doras[:: max(1, len(doras) // _DORA_LAYERS)]}
    for module in modules:
        one = seen.get((module.part, module.path))
        if one is None:
            continue
        if "magnitude" not in module.pieces:
            # Both are the same product of the same two matrices, times a number each.
            yield module.path, abs(one.scale - module.scale) / abs(module.scale) if module.scale else math.inf
        elif id(module) in computed:
            yield module.path, _dora_difference(program, module, one)


def _dora_difference(program: Program, module: FileModule, seen: _Seen) -> float:
    whole = module.adapter()
    weight = _stand_in(whole)
    wanted = dora_change(weight, whole)
    found = change_by(program.dora, weight, seen.module.adapter(scale=1.0), scale=seen.scale)
    return float(torch.linalg.vector_norm(found - wanted) / torch.linalg.vector_norm(wanted).clamp_min(1e-30))


def _stand_in(adapter: ModuleAdapter) -> Tensor:
    """Random weights whose rows or columns are as long as the magnitudes, as a base's nearly are."""
    weight = torch.randn(adapter.shape, generator=torch.Generator().manual_seed(0))
    if adapter.magnitude is None:
        return weight
    plain = replace(adapter, down=torch.zeros_like(adapter.down))
    return weight + dora_change(weight, plain)


def _reasons(
    program: Program, file: WeightsFile, modules: Sequence[FileModule], seen: dict[tuple[Part, str], _Seen]
) -> Iterator[str]:
    """What is read otherwise than the file has it, in words."""
    missed = [module for module in modules if (module.part, module.path) not in seen]
    if missed:
        first = shown(missed[0].name, limit=90)
        yield f"it reads {len(seen)} of {counted(len(modules), 'layer')} and passes over the rest, such as {first}"
    off = [module for module in modules if _is_scaled_otherwise(module, seen)]
    if off:
        how = "takes a part's commonest alpha for all" if program.alpha == "commonest" else "does not read their alpha"
        yield f"it {how}: {counted(len(off), 'layer')} scaled otherwise"
    magnitudes = [module for module in modules if "magnitude" in module.pieces]
    if magnitudes:
        reason = _about_magnitudes(program, magnitudes, seen)
        if reason is not None:
            yield reason
    thought = as_a1111_thinks(file.header)
    if modules and program.hides_by_header and thought not in ("SDXL", "unknown"):
        yield f"it takes the file for {thought} by its metadata and hides it while an SDXL base is loaded"


def _is_scaled_otherwise(module: FileModule, seen: dict[tuple[Part, str], _Seen]) -> bool:
    one = seen.get((module.part, module.path))
    return one is not None and abs(one.scale - module.scale) > _ALLOWED * abs(module.scale)


def _about_magnitudes(
    program: Program, magnitudes: Sequence[FileModule], seen: dict[tuple[Part, str], _Seen]
) -> str | None:
    found = [one.module for module in magnitudes if (one := seen.get((module.part, module.path))) is not None]
    if not found:
        return None
    if program.dora == "passed over" or not any("magnitude" in module.pieces for module in found):
        return "it passes over the DoRA's magnitudes and adds a plain LoRA"
    on_outputs = magnitudes[0].adapter().magnitude_axis == "output"
    is_scaled = any(abs(module.scale - 1) > _ALLOWED for module in found)
    match program.dora:
        case "base norms on outputs" if on_outputs:
            return "it divides a magnitude for each output by the base's norms, not the merged weight's"
        case "inputs only" | "inputs only, unscaled" if on_outputs:
            return "it takes a magnitude for each output for one of each input"
        case "inputs only, unscaled" if is_scaled:
            return "it puts alpha ÷ rank on a DoRA's result in place of its change"
        case _:
            return None


def _about_embeddings(program: Program, file: WeightsFile) -> Iterator[str]:
    found = embeddings_in(file.tensors)
    if not found:
        return
    if any(one.form == "bundle" for one in found) and program.bundles == "passed over":
        yield "it passes over the embeddings inside (bundle_emb.…): lorasmith convert --split writes them beside"
    alone = [one.form for one in found if one.form != "bundle" and one.form not in program.embeddings]
    if alone:
        yield f"it knows no embedding spelled {alone[0]}"
    elif program.pools_at == "highest id":
        yield "it pools prompts at the last new token where SDXL's configs name no end of text (eos_token_id 2)"
