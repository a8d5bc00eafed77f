"""Owns the files for other programs: LoRA for diffusers and WebUIs, embeddings, model card; each read back."""

from lorasmith.adapters.shape import AdapterKind
from lorasmith.export.bake import bake
from lorasmith.export.from_peft import adapter_weights
from lorasmith.export.info import CardPicture, ExportInfo
from lorasmith.export.verify import FileReport, Verification, inspect_file, verify_exports
from lorasmith.export.weights import (
    AdapterWeights,
    BakedAdapters,
    ConceptRows,
    ModuleAdapter,
    NewTokenRows,
    Part,
    PartAdapter,
)
from lorasmith.export.write_all import ExportedFile, write_exports

__all__ = [
    "AdapterKind",
    "AdapterWeights",
    "BakedAdapters",
    "CardPicture",
    "ConceptRows",
    "ExportInfo",
    "ExportedFile",
    "FileReport",
    "ModuleAdapter",
    "NewTokenRows",
    "Part",
    "PartAdapter",
    "Verification",
    "adapter_weights",
    "bake",
    "inspect_file",
    "verify_exports",
    "write_exports",
]
