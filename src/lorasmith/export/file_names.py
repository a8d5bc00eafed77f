"""Owns what exported files are called: tame names that every program, shell and file system takes."""

import re
from collections.abc import Sequence

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
CARD_FILE = "README.md"
_LONGEST = 80


def tame(text: str) -> str:
    """The text as a file stem of `[A-Za-z0-9._-]`, never empty, hidden or long; it is what users type in a WebUI."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:_LONGEST].strip("-.")
    return stem or "lora"


def kohya_file(name: str) -> str:
    """The WebUI file's name; never that of the diffusers file."""
    file = f"{tame(name)}.safetensors"
    return file if file.lower() != DIFFUSERS_FILE else f"{tame(name)}-webui.safetensors"


def beside(name: str, *words: str) -> str:
    """The name of a file beside the WebUI file, such as `{name}_style_baked.safetensors`."""
    return f"{'_'.join((tame(name), *words))}.safetensors"


def embeddings_files(name: str, abstractions: Sequence[str]) -> tuple[str, ...]:
    """`{name}_emb.safetensors`, or `{name}_{abstraction}_emb.safetensors` for several: one a concept, all different."""
    if len(abstractions) == 1:
        return (f"{tame(name)}_emb.safetensors",)
    stems: list[str] = []
    for abstraction in abstractions:
        stem = f"{tame(name)}_{tame(abstraction)}"
        taken = [other.lower() for other in stems]  # some file systems do not tell case apart
        copies = (stem, *(f"{stem}-{number}" for number in range(2, len(abstractions) + 2)))
        stems.append(next(copy for copy in copies if copy.lower() not in taken))
    return tuple(f"{stem}_emb.safetensors" for stem in stems)


def stem_of(file: str) -> str:
    """A file's name without its suffix: what WebUIs call it."""
    return file.removesuffix(".safetensors")
