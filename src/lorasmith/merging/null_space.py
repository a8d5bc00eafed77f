"""Owns merging without touching what a protected adapter answers to (NP-LoRA, arXiv 2511.11051); trains nothing."""

from lorasmith.formats.weights import ModuleAdapter
from lorasmith.merging.factors import row_space


def kept_out_of(module: ModuleAdapter, protected: ModuleAdapter, *, strength: float | None) -> ModuleAdapter:
    """`module` with less of what falls on the protected adapter's inputs: Δ·(I − μ/(1+μ)·V·Vᵀ), of the same rank.

    V is an orthonormal basis of the protected adapter's row space. With strength μ = 0 nothing changes; with None,
    which stands for infinity, nothing is added to any input that the protected adapter answers to.
    """
    basis = row_space(protected)
    share = 1.0 if strength is None else strength / (1 + strength)
    down = module.down.double()
    return ModuleAdapter((down - share * (down @ basis) @ basis.T).float(), module.up)
