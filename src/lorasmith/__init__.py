"""lorasmith: a handful of pictures in, a LoRA for SDXL-class models out.

The library has the command line's words: `train(TrainConfig…)`, `generate(GenerateRequest…)`, `merge(MergeRequest…)`,
`convert(ConvertRequest…)`, `inspect(path)`. What stands behind a word is imported when it is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

# Types for editors stand in __init__.pyi: imports here would tie every module below to every one above.
_HOMES = {
    "TrainConfig": "lorasmith.config.train",
    "train": "lorasmith.runs.train",
    "resume": "lorasmith.runs.train",
    "GenerateRequest": "lorasmith.runs.generate_request",
    "generate": "lorasmith.runs.generate",
    "WeightedSource": "lorasmith.runs.merge_sources",
    "MergeRequest": "lorasmith.runs.merge_request",
    "merge": "lorasmith.runs.merge",
    "ConvertRequest": "lorasmith.runs.convert",
    "convert": "lorasmith.runs.convert",
    "inspect": "lorasmith.formats.inspection",
    "LorasmithError": "lorasmith.errors",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]  # __init__.pyi says them one by one


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lorasmith' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
