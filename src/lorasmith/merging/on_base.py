# torch's modules are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Owns what merging does with a base's weights: a DoRA baked on them, changes put in, for good or a while."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.formats.dora import dora_change
from lorasmith.formats.weights import BakingLoss, ModuleAdapter, Part
from lorasmith.merging.factors import Cut, cut_dense, undivided
from lorasmith.merging.parents import Layer, Layers, Parent, every_layer, mapped

Networks = Mapping[Part, nn.Module]
_TIMES_THE_RANK, _AT_LEAST = 2, 32
"""The rank a DoRA is baked to, as in an export's baked file."""


def linear_in(networks: Networks, layer: Layer) -> nn.Linear:
    """The linear layer that an adapter belongs to; DataError when the base has none there, or of another size."""
    home = networks[layer.part]
    bare = layer.path.removeprefix("text_model.")
    places = (layer.path,) if layer.part == "denoiser" else (layer.path, bare)
    found = next((one for place in places if (one := _submodule(home, place)) is not None), None)
    if not isinstance(found, nn.Linear):
        raise _misfit(f"it has no linear layer {shown(layer.name)}")
    wanted, size = tuple(found.weight.shape), (len(layer.module.up), layer.module.down.shape[1])
    if wanted != size:
        raise _misfit(f"{layer.name} is {wanted[0]}×{wanted[1]} in it and {size[0]}×{size[1]} in the adapter")
    return found


def refuse_layers_unknown_to(networks: Networks, layers: Layers) -> None:
    """DataError for an adapter of a layer that the base does not have."""
    for layer in every_layer(layers):
        linear_in(networks, layer)


def baked(parent: Parent, networks: Networks, *, rank: int | None = None) -> tuple[Parent, dict[str, BakingLoss]]:
    """A DoRA as what it changes in the base's weights, cut to twice its rank (at least 32) or to `rank`; the losses.

    Its weight in the merge counts for the whole change, magnitudes and all, as ComfyUI's strength does.
    """
    losses: dict[str, BakingLoss] = {}

    def bake_layer(layer: Layer) -> ModuleAdapter:
        change = _change_on(networks, layer)
        change = change if change.is_cuda else change.cpu()  # torch decomposes nowhere else
        made = cut_dense(change, Cut(rank or max(_TIMES_THE_RANK * layer.module.rank, _AT_LEAST)))
        losses[layer.name] = made.loss
        return ModuleAdapter(made.adapter.down.cpu(), made.adapter.up.cpu())

    return parent.with_layers(mapped(parent.layers, bake_layer)), losses


def undivided_on(parent: Parent, networks: Networks) -> Parent:
    """A DoRA as what it changes in the base's weights, whole: for results that are dense before they are cut."""
    return parent.with_layers(mapped(parent.layers, lambda layer: undivided(_change_on(networks, layer).cpu())))


def put_in(networks: Networks, layers: Layers) -> None:
    """Add changes to the base's weights, summed in fp32 and rounded once to the weights' own precision."""
    for layer in every_layer(layers):
        weight = linear_in(networks, layer).weight
        change = layer.module.change().to(weight.device)
        weight.data = (weight.data.float() + change).to(weight.dtype)


@contextmanager
def with_layers(networks: Networks, layers: Layers) -> Generator[None]:
    """The base with changes put in inside the block, and with its own weights, to the bit, after it."""
    weights = [linear_in(networks, layer).weight for layer in every_layer(layers)]
    before = [weight.data for weight in weights]
    put_in(networks, layers)
    try:
        yield
    finally:
        for weight, own in zip(weights, before, strict=True):
            weight.data = own


def _change_on(networks: Networks, layer: Layer) -> Tensor:
    """What an adapter changes in its layer's weight [out, in], in fp32 where the weight is."""
    weight = linear_in(networks, layer).weight.detach().float()
    return dora_change(weight, layer.module)


def _submodule(home: nn.Module, path: str) -> nn.Module | None:
    try:
        return home.get_submodule(path)
    except AttributeError:
        return None


def _misfit(what: str) -> DataError:
    return DataError(
        f"the base is of another layout than the adapters: {what}",
        remedy="Name the base they were trained on (--base).",
    )
