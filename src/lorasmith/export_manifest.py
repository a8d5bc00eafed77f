"""Owns `lorasmith.json`, which says how an export's files belong together; refuses paths out of its folder."""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lorasmith.atomic import write_json
from lorasmith.errors import DataError

FILE_NAME: Final = "lorasmith.json"


def _plain_file_name(name: str) -> str:
    """Refuse anything but a bare safetensors name: the manifest of a downloaded export is a stranger's word."""
    if name != Path(name).name or "\\" in name or not name.endswith(".safetensors"):
        raise ValueError(f"{name!r} is not the bare name of a safetensors file")
    return name


def _name_to_share(name: str) -> str:
    """Refuse what no export shares: hidden files, paths, and kinds of files that an export does not write."""
    if not re.fullmatch(r"README\.md|(?!\.)[^/\\\0]+\.safetensors|image_\d+\.(?:png|jpe?g|webp)", name):
        raise ValueError(f"{name!r} is not the name of a file that an export shares")
    return name


def _one_word(word: str) -> str:
    if not word.isprintable() or not word or any(character.isspace() for character in word):
        raise ValueError(f"{word!r} is not one printable word without white space")
    return word


def _printable(words: str) -> str:
    if not words.isprintable():
        raise ValueError(f"{words!r} is not printable")
    return words


FileName = Annotated[str, AfterValidator(_plain_file_name)]
SharedName = Annotated[str, AfterValidator(_name_to_share)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Word = Annotated[str, AfterValidator(_one_word)]


class ConceptFile(BaseModel):
    """The new tokens one token abstraction becomes, and the file with their rows in `clip_l` and `clip_g`."""

    model_config = ConfigDict(frozen=True)

    tokens: Annotated[tuple[Word, ...], Field(min_length=1)]
    file: FileName
    look_alike: Annotated[str, AfterValidator(_printable), Field(max_length=200)] = ""
    """Words the base knows, put behind the new tokens in every prompt, as in training."""


class ExportManifest(BaseModel):
    """What an export folder holds, as `lorasmith generate` reads it. Keys it does not know are left alone."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    version: Literal[1] = 1
    """Version of this contract."""

    base: str
    """`embedded`, a hub id, or only the name of a local folder: an export is uploaded, so it holds no local paths."""

    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    lora: FileName | None = "pytorch_lora_weights.safetensors"
    """The adapter in diffusers' format; None when only new tokens were trained."""

    abstractions: dict[Word, ConceptFile] = Field(default_factory=dict[str, ConceptFile])
    """Each token abstraction and its new tokens; empty when none were trained."""

    clip_skip: Annotated[int, Field(ge=0, le=30)] = 0
    """`text.clip_skip` of the training: pictures are to be drawn with it."""

    long_prompts: Literal["cut", "chunks"] = "cut"
    """`text.long_prompts` of the training."""

    recommended_scale: Annotated[float, Field(gt=0, le=2)] = 1.0
    """Adapter scale to draw with when the user names none."""

    files: dict[SharedName, Hash] = Field(default_factory=dict[str, str])
    """Every file that is shared and the sha256 it was written with; this manifest goes with them."""

    @model_validator(mode="after")
    def no_token_is_named_twice(self) -> Self:
        """Two abstractions never share a new token."""
        tokens = [token for concept in self.abstractions.values() for token in concept.tokens]
        if len(set(tokens)) != len(tokens):
            raise ValueError(f"a new token is named twice: {', '.join(tokens)}")
        return self


def write_manifest(export_folder: Path, manifest: ExportManifest) -> Path:
    """Write the manifest beside the files it names; its path."""
    path = export_folder / FILE_NAME
    write_json(path, manifest.model_dump(mode="json"))
    return path


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_export_folder(folder: Path) -> bool:
    """Whether a manifest is there."""
    return (folder / FILE_NAME).is_file()


def read_manifest(export_folder: Path) -> ExportManifest:
    """The manifest, checked, with each file it names in place; DataError otherwise."""
    path = export_folder / FILE_NAME
    try:
        manifest = ExportManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"there is no export in {export_folder}: it has no {FILE_NAME}",
            remedy="Name a finished run or its export folder; `lorasmith train --resume` finishes a run.",
        ) from None
    except ValidationError as invalid:
        problem = invalid.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise DataError(
            f"{path} is not a manifest lorasmith can read: {place or 'the file'}: {problem['msg']}",
            remedy="Export again, or use the lorasmith that wrote it.",
        ) from invalid
    _refuse_missing(export_folder, manifest)
    return manifest


def _refuse_missing(export_folder: Path, manifest: ExportManifest) -> None:
    named = [concept.file for concept in manifest.abstractions.values()] + ([manifest.lora] if manifest.lora else [])
    missing = [name for name in named if not (export_folder / name).is_file()]
    if missing:
        raise DataError(
            f"the export in {export_folder} lacks {', '.join(missing)}, which its {FILE_NAME} names",
            remedy="Copy the whole export folder.",
        )
