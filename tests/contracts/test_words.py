"""One word for a thing: the words that `docs/glossary.md` refuses are in no name and no docstring of `src`."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lorasmith"
GLOSSARY = ROOT / "docs" / "glossary.md"

Words = tuple[str, ...]

# Names that hold a refused word and mean something else by it, each with the files it may stand in.
ALLOWED_NAMES: Mapping[str, Words] = {
    "model_config": ("config/section.py", "export_manifest.py", "hub/outbox.py"),  # pydantic's
    "model": ("config/train.py", "models/sdxl/components.py", "runs/export_source.py", "inference/"),  # the section
    "ModelConfig": ("config/base.py",),
    "_model": ("runs/export_source.py",),
    "_model_of_run": ("runs/export_source.py",),
    "model_card": ("run_folder.py", "export/model_card.py"),  # the hub's word
    "write_model_index": ("testing/pipeline_files.py",),  # diffusers' model_index.json
    "_model_spec": ("export/metadata.py",),  # the modelspec standard
    "with_text_model": ("formats/module_names.py",),  # transformers' module name
    "network": ("base_builder/", "export/from_peft.py", "inference/", "testing/"),  # any of a pipeline's networks
    "_Network": ("testing/random_weights.py",),
    "placeholder": ("config/flags.py",),  # of a flag's value in its usage line
    "save": ("base_builder/patch_basis.py",),
    "save_tokenizer": ("base_builder/vocabulary.py",),  # transformers' word for writing one
    "_SAVE_EVERY_SECONDS": ("base_builder/",),
    "save_png": ("inference/png.py",),
    "handler": ("runs/stop_signal.py",),  # the operating system's word
}

# Phrases of docstrings that mean something else; they are taken out before the rest is read.
ALLOWED_PHRASES: Mapping[str, Words] = {
    "model card": ("",),
    "CLIPTextModel": ("formats/module_names.py",),
    "nothing to save": ("",),
    "in common": ("",),
    "the hub or the network": ("errors.py",),
    "network": ("errors.py", "base_builder/", "export/metadata.py", "testing/", "models/"),
    "networks": ("errors.py", "base_builder/", "export/metadata.py", "testing/", "models/"),
    "transformer": ("formats/module_names.py", "config/adapter.py"),
    "flag and placeholder": ("config/flags.py",),
    "save": ("base_builder/",),
}


@dataclass(frozen=True)
class Finding:
    """A refused word, where it stands and in which name or docstring."""

    place: str
    line: int
    term: str
    text: str

    def __str__(self) -> str:
        """For the failure's message."""
        return f"src/lorasmith/{self.place}:{self.line}: {self.term!r} in {self.text!r}"


@cache
def refused_terms() -> frozenset[Words]:
    """The third column of the glossary's table, and the words its last paragraphs refuse, each as a tuple of words."""
    table, _, below = GLOSSARY.read_text(encoding="utf-8").partition("Also refused")
    rows = [line.split("|")[3] for line in table.splitlines() if line.startswith("|") and not line.startswith("|---")]
    terms = [term.strip() for row in rows[1:] for term in row.split(",")]
    terms += re.findall(r"`([a-z]+)`", below.partition("\n\n")[0])
    return frozenset(tuple(term.split()) for term in terms if term != "–")


def findings_in(text: str, place: str) -> Iterator[Finding]:
    """Every refused word in the names and docstrings of one module."""
    for node in ast.walk(ast.parse(text)):
        for name in _names_given(node):
            for term in _terms_in(_words(name)):
                if not _is_allowed(name, place, ALLOWED_NAMES):
                    yield Finding(place, getattr(node, "lineno", 1), term, name)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            docstring = ast.get_docstring(node) or ""
            for term in _terms_in(_words(_without_allowed_phrases(docstring, place))):
                yield Finding(place, getattr(node, "lineno", 1), term, docstring.partition("\n")[0])


def _names_given(node: ast.AST) -> Iterator[str]:
    """Names that this node chooses; names it only uses may be other people's."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
            yield name
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case _:
            return


def _words(text: str) -> list[str]:
    """`OneValue_perFlag` → one, value, per, flag."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)]


def _terms_in(words: list[str]) -> Iterator[str]:
    for term in refused_terms():
        if any(tuple(words[start : start + len(term)]) == term for start in range(len(words))):
            yield " ".join(term)


def _is_allowed(text: str, place: str, allowed: Mapping[str, Words]) -> bool:
    return any(place.startswith(prefix) for prefix in allowed.get(text, ()))


def _without_allowed_phrases(docstring: str, place: str) -> str:
    docstring = re.sub(r"`[^`]*`", "", docstring)  # quotes what others call a thing
    for phrase in sorted(ALLOWED_PHRASES, key=len, reverse=True):
        if _is_allowed(phrase, place, ALLOWED_PHRASES):
            docstring = re.sub(rf"\b{phrase}\b", "", docstring, flags=re.IGNORECASE)
    return docstring


def test_source_uses_one_word_for_a_thing() -> None:
    found = [
        str(finding)
        for path in sorted(SOURCE.rglob("*.py"))
        for finding in findings_in(path.read_text(encoding="utf-8"), path.relative_to(SOURCE).as_posix())
    ]
    assert not found, "\n".join(found)


def test_no_module_is_named_by_what_it_is_not() -> None:
    parts = {part.removesuffix(".py") for path in SOURCE.rglob("*.py") for part in path.relative_to(SOURCE).parts}
    named = {part: list(_terms_in(_words(part))) for part in parts - {"model_card"}}
    assert {part: terms for part, terms in named.items() if terms} == {}


@pytest.mark.parametrize(
    "module",
    [
        "def load(train_images: int) -> None: ...",
        "class TokenManager: ...",
        "pivot_halfway = True",
        "model_pred = denoiser(noisy)",
        "self.te = encoder",
        'def note() -> None:\n    """Write the trigger word down."""',
    ],
)
def test_a_refused_word_is_found(module: str) -> None:
    assert list(findings_in(module, "training/made_up.py"))


@pytest.mark.parametrize(
    "module",
    ["items = batch.items()", "import torch.utils.data", "prediction = transformer(latents)", '"""The model card."""'],
)
def test_other_peoples_names_and_other_meanings_pass(module: str) -> None:
    assert not list(findings_in(module, "training/made_up.py"))
