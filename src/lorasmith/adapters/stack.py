# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# peft is only partly typed.
"""Owns several finished adapters on one part at once, each at a strength of its own; trains nothing, reads no file."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from lorasmith.adapters.shape import rank_patterns
from lorasmith.errors import DataError


class LowRankChange(Protocol):
    """One layer's adapter with its scale folded in: `down` [rank, in], `up` [out, rank] and, for DoRA, `magnitude`."""

    @property
    def down(self) -> Tensor: ...
    @property
    def up(self) -> Tensor: ...
    @property
    def magnitude(self) -> Tensor | None: ...


def stack_adapter(part: nn.Module, changes: Mapping[str, LowRankChange], *, adapter: str) -> None:
    """Put a finished adapter on a part beside those that are there, at strength 1.

    DataError, with the part as it was, when it names a layer the part has not, or one of another size.
    """
    placed = {_path_in(part, path): change for path, change in changes.items()}
    for path, change in placed.items():
        _refuse_other_size(part.get_submodule(path), change, path)
    for with_magnitude in (False, True):
        chosen = {path: one for path, one in placed.items() if (one.magnitude is not None) is with_magnitude}
        if chosen:
            _inject(part, chosen, adapter=f"{adapter}{_DORA}" if with_magnitude else adapter)


def set_strengths(part: nn.Module, strengths: Mapping[str, float]) -> None:
    """Let the named adapters act, each at its strength, and no others."""
    for layer in _layers(part):
        active = [name for name in layer.lora_A if strengths.get(name.removesuffix(_DORA))]
        layer.set_adapter(active)
        for name in active:
            layer.set_scale(name, strengths[name.removesuffix(_DORA)])
        layer.requires_grad_(requires_grad=False)


def unstack_adapters(part: nn.Module) -> None:
    """Take all adapters off a part; it is then to the bit as it was."""
    if _layers(part):
        recurse_remove_peft_layers(part)
    _forget_settings(part)


_DORA = "-dora"


def _inject(part: nn.Module, changes: Mapping[str, LowRankChange], *, adapter: str) -> None:
    ranks = {path: len(change.down) for path, change in changes.items()}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    patterns = rank_patterns(ranks, usual=usual)
    config = LoraConfig(
        r=usual,
        lora_alpha=usual,
        rank_pattern=patterns,
        alpha_pattern=patterns,
        target_modules=list(ranks),
        use_dora=adapter.endswith(_DORA),
    )
    # The layers know their adapters; peft would warn of each that its settings of an earlier one are still there.
    _forget_settings(part)
    inject_adapter_in_model(config, part, adapter_name=adapter)
    for path, change in changes.items():
        layer: Any = part.get_submodule(path)
        _fill(layer.lora_A[adapter].weight, change.down)
        _fill(layer.lora_B[adapter].weight, change.up)
        if change.magnitude is not None:
            _fill(layer.lora_magnitude_vector[adapter].weight, change.magnitude)


def _forget_settings(part: nn.Module) -> None:
    if hasattr(part, "peft_config"):
        del part.peft_config


def _fill(parameter: nn.Parameter, values: Tensor) -> None:
    parameter.data = values.detach().reshape(parameter.shape).to(parameter.device, parameter.dtype)


def _path_in(part: nn.Module, path: str) -> str:
    """Where a layer is in the part: transformers 5 took `text_model.` away from one of SDXL's text encoders."""
    short = path.removeprefix("text_model.")
    for candidate in (path, short, f"text_model.{short}"):
        try:
            part.get_submodule(candidate)
        except AttributeError:
            continue
        return candidate
    raise DataError(f"it has an adapter for {path}, and the base has no such layer")


def _refuse_other_size(module: nn.Module, change: LowRankChange, path: str) -> None:
    base: Any = module.get_base_layer() if isinstance(module, LoraLayer) else module
    if not isinstance(base, nn.Linear | nn.Conv2d):
        raise DataError(f"it has an adapter for {path}, which is no layer that takes one")
    wanted = (base.weight.shape[0], base.weight.shape[1])
    found = (change.up.shape[0], change.down.shape[1])
    if found != wanted:
        raise DataError(
            f"its adapter for {path} is for {found[1]}→{found[0]}, and the base's layer is {wanted[1]}→{wanted[0]}"
        )


def _layers(part: nn.Module) -> list[Any]:
    return [module for module in part.modules() if isinstance(module, LoraLayer)]
