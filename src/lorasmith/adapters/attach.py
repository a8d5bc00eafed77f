# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# peft is only partly typed.
"""Owns putting peft adapters on the parts of a base and naming their parameters; knows no optimizer."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lorasmith import rng
from lorasmith.adapters.shape import AdapterShape, adapted_ranks, rank_patterns


def attach_adapter(part: nn.Module, shape: AdapterShape, *, seed: int, name: str) -> dict[str, nn.Parameter]:
    """Put a fresh adapter on a part and return its fp32 parameters by name.

    The down-weights start normal with standard deviation 1/rank and the up-weights at zero, as in the reference, so
    that an untrained adapter changes nothing. Drawn from (seed, part): the same run starts the same way everywhere.
    """
    linears = (path for path, module in part.named_modules() if isinstance(module, nn.Linear))
    config = _peft_config(shape, adapted_ranks(linears, shape, name=name))
    with rng.scoped_seed(seed, "adapter", name):
        inject_adapter_in_model(config, part)
    parameters = adapter_parameters(part)
    for parameter in parameters.values():
        # bf16 masters lose small updates; peft creates them in the base's dtype (diffusers' script trains those).
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return parameters


def adapter_parameters(part: nn.Module) -> dict[str, nn.Parameter]:
    """The adapter's parameters of a part, by name, in the part's own order."""
    return {name: parameter for name, parameter in part.named_parameters() if "lora_" in name}


def up_weights(parameters: Mapping[str, nn.Parameter]) -> list[nn.Parameter]:
    """The up-weights among an adapter's parameters: zero until something has trained."""
    return [parameter for name, parameter in parameters.items() if ".lora_B." in name]


@contextmanager
def adapters_off(part: nn.Module) -> Generator[None]:
    """The base alone inside the block.

    peft's own switch would also say which parameters want gradients, in the middle of a step; that is the phase's.
    """
    layers = [module for module in part.modules() if isinstance(module, BaseTunerLayer)]
    were_off = [layer._disable_adapters for layer in layers]  # pyright: ignore[reportPrivateUsage]
    for layer in layers:
        layer._disable_adapters = True  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        for layer, was_off in zip(layers, were_off, strict=True):
            layer._disable_adapters = was_off  # pyright: ignore[reportPrivateUsage]


def set_dropout_active(part: nn.Module, *, active: bool) -> None:
    """Switch the adapters' dropout on for a training pass, or off; the frozen part stays as it is used."""
    for module in part.modules():
        if isinstance(module, LoraLayer):
            module.train(active)  # LoRA asks the dropout for its mode, DoRA asks the layer


def _peft_config(shape: AdapterShape, ranks: Mapping[str, int]) -> LoraConfig:
    """The layers by name, so that exactly those get an adapter; alpha follows each block's rank."""
    patterns = rank_patterns(ranks, usual=shape.rank)
    return LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,  # pyright: ignore[reportArgumentType]  # peft takes fractions as well
        rank_pattern=patterns,
        alpha_pattern={block: shape.alpha * rank / shape.rank for block, rank in patterns.items()},  # pyright: ignore[reportArgumentType]
        lora_dropout=shape.dropout,
        target_modules=list(ranks),
        init_lora_weights="gaussian",
        use_dora=shape.kind == "dora",
    )
