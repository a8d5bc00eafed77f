"""Owns nothing: names what is exported, which lives in `lorasmith.formats.weights`."""

from lorasmith.formats.weights import (
    AdapterWeights,
    BakedAdapters,
    BakingLoss,
    ConceptRows,
    ModuleAdapter,
    NewTokenRows,
    Part,
    PartAdapter,
    refuse_unexportable,
)

__all__ = [
    "AdapterWeights",
    "BakedAdapters",
    "BakingLoss",
    "ConceptRows",
    "ModuleAdapter",
    "NewTokenRows",
    "Part",
    "PartAdapter",
    "refuse_unexportable",
]
