"""Owns the model card: what hubs read in its front matter and people below it; takes every name as hostile text."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from huggingface_hub import ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from lorasmith.data.wording import shown
from lorasmith.export.adapter_files import adapter_files
from lorasmith.export.file_names import DIFFUSERS_FILE, beside, embeddings_files, kohya_file, stem_of, tame
from lorasmith.export.info import ExportInfo, vocabulary_of
from lorasmith.export.metadata import webui_vocabulary
from lorasmith.export.weights import AdapterWeights, NewTokenRows, PartAdapter
from lorasmith.tokens.vocabulary import TokenAbstraction, TokenVocabulary

_MARKUP = re.compile(r"([\\`*_\[\]!|~])")
_BLOCK_START = re.compile(r"^(\s*\d*)([-+#=.)])")
_LONGEST = 400


@dataclass(frozen=True)
class ShownPicture:
    """A picture beside the card: its file's name, and the prompt as users wrote it."""

    file: str
    prompt: str


@dataclass(frozen=True)
class _Concept:
    word: str
    tokens: tuple[str, ...]
    file: str
    look_alike: str

    @property
    def written_out(self) -> str:
        return "".join(self.tokens)


def model_card(
    info: ExportInfo, weights: AdapterWeights, *, rows: NewTokenRows, pictures: Sequence[ShownPicture] = ()
) -> str:
    """The card's text: YAML front matter, gallery, words to use, snippets for three programs, what was trained."""
    environment = _environment()
    context = _context(info, weights, rows)
    snippet = environment.get_template("diffusers_snippet.py.j2").render(context)
    return environment.get_template("model_card.md.j2").render(
        context,
        front_matter=_front_matter(info, weights, rows, pictures),
        pictures=pictures,
        snippet=snippet,
    )


def prose(text: object) -> str:
    """Text from users as harmless Markdown: no markup, no HTML, no links, one line."""
    escaped = _MARKUP.sub(r"\\\1", html.escape(_one_line(text), quote=False))
    escaped = _BLOCK_START.sub(r"\1\\\2", escaped)
    return escaped.replace("://", ":&#47;/").replace("www.", "www&#46;").replace("@", "&#64;")


def code(text: object) -> str:
    """Text from users as a code span, whatever backticks it holds."""
    plain = _one_line(text)
    ticks = "`" * (_longest_run(plain) + 1)
    return f"{ticks} {plain} {ticks}" if "`" in plain or not plain.strip() else f"{ticks}{plain}{ticks}"


def fenced(text: str, language: str = "") -> str:
    """Text as a code block that its own backticks do not end."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _environment() -> Environment:
    environment = Environment(  # Markdown, not HTML: each value is escaped by the filter for where it stands
        loader=PackageLoader("lorasmith.export", "templates"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(prose=prose, code=code, fenced=fenced, literal=_literal, python=repr)
    return environment


def _literal(text: object) -> str:
    """Text from users as a Python string."""
    return repr(_one_line(text))


def _one_line(text: object) -> str:
    """Text from users without control characters, and not long."""
    return shown(str(text), limit=_LONGEST)


def _context(info: ExportInfo, weights: AdapterWeights, rows: NewTokenRows) -> dict[str, Any]:
    """What both templates know; prompts in code blocks are cleaned here, all else by the filters where it stands."""
    files = embeddings_files(info.name, [concept.abstraction for concept in rows.concepts])
    concepts = [
        _Concept(concept.abstraction, concept.tokens, file, concept.look_alike)
        for concept, file in zip(rows.concepts, files, strict=True)
    ]
    example = info.instance_prompt or " ".join(
        ["a photo of", *(concept.word for concept in concepts)][: 1 + len(files)]
    )
    kohya = kohya_file(info.name) if weights.baked is None else beside(info.name, "baked")
    lora_tag = f" <lora:{stem_of(kohya)}:{info.recommended_scale:g}>"
    comfy = TokenVocabulary(
        tuple(
            TokenAbstraction(concept.word, (f"embedding:{stem_of(concept.file)}",), concept.look_alike)
            for concept in concepts
        )
    )
    return {
        "info": info,
        "title": tame(info.name),
        "concepts": concepts,
        "has_adapter": bool(weights.parts),
        "is_dora": weights.kind == "dora",
        "baked": weights.baked,
        "unbaked_file": kohya_file(info.name),
        "roles": _roles(info, weights),
        "diffusers_file": DIFFUSERS_FILE,
        "kohya_file": kohya,
        "diffusers_prompt": vocabulary_of(rows).expand(example),
        "webui_prompt": _one_line(webui_vocabulary(info, rows).expand(example)) + (lora_tag if weights.parts else ""),
        "comfy_prompt": _one_line(comfy.expand(example)),
        "facts": _facts(info, weights),
    }


def _front_matter(
    info: ExportInfo, weights: AdapterWeights, rows: NewTokenRows, pictures: Sequence[ShownPicture]
) -> str:
    """What the hub reads, through its own library."""
    words = vocabulary_of(rows)
    widget = [
        {"text": _one_line(words.expand(picture.prompt)), "output": {"url": picture.file}} for picture in pictures
    ]
    kind = ["dora"] if weights.kind == "dora" else []
    base: dict[str, Any] = {"base_model": info.hub_base, "base_model_relation": "adapter"} if info.hub_base else {}
    data: Any = ModelCardData(
        license=info.license or _license_of(info.base_name),
        library_name="diffusers",
        tags=[
            *("text-to-image", "stable-diffusion-xl", "stable-diffusion-xl-diffusers", "diffusers", "lora"),
            *kind,
            *("template:sd-lora", "diffusers-training"),
        ],
        instance_prompt=_one_line(words.expand(info.instance_prompt)) or None,
        widget=widget or None,
        **base,
    )
    return cast(str, data.to_yaml())


def _license_of(base: str) -> str:
    """SDXL's licence for what says it is SDXL; hubs want a word, and `other` where we do not know it."""
    name = base.lower()
    return "openrail++" if "stable-diffusion-xl" in name or "sdxl" in name else "other"


@dataclass(frozen=True)
class _Role:
    """A block that is exported alone, and its files for diffusers and for the others."""

    name: str
    block: str
    diffusers_file: str
    webui_file: str


def _roles(info: ExportInfo, weights: AdapterWeights) -> list[_Role]:
    """The blocks that are exported alone; of a DoRA the baked file is the one to load elsewhere."""
    files = adapter_files(info, weights)
    return [
        _Role(
            role,
            block,
            next(file.name for file in files if file.role == role and file.spelling == "diffusers"),
            [file.name for file in files if file.role == role and file.spelling == "kohya"][-1],
        )
        for role, block in weights.roles.items()
    ]


def _size(adapter: PartAdapter) -> str:
    """Rank and alpha; every rank where blocks have their own."""
    ranks = sorted({module.rank for module in adapter.modules.values()})
    if len(ranks) > 1:
        return f"ranks {', '.join(map(str, ranks))}, alpha ÷ rank {adapter.scale:g}"
    return f"rank {adapter.rank}, alpha {adapter.alpha:g}"


def _facts(info: ExportInfo, weights: AdapterWeights) -> Mapping[str, str]:
    """What was trained, in numbers."""
    adapters = {
        f"Adapter of the {part.replace('_', ' ')}": f"{'DoRA' if adapter.kind == 'dora' else 'LoRA'}, "
        f"{_size(adapter)}, {len(adapter.modules)} layers"
        for part, adapter in weights.parts.items()
    }
    rates = {f"Rate of the {part.replace('_', ' ')}": f"{rate:g}" for part, rate in info.rates.items()}
    facts: dict[str, object] = {
        "Base": info.base_name,
        "Pictures": info.pictures or None,
        "Class images": info.class_images or None,
        "Resolution": info.resolution,
        "Merged by": info.merged_by or None,
        "Steps": None if info.merged_by else info.steps,
        "New tokens trained until step": info.pivot_step,
        "Batch": None if info.merged_by else info.batch_size * info.accumulation,
        "Optimizer": info.optimizer or None,
        **adapters,
        **rates,
        "Prediction": info.prediction_type,
        "Seed": info.seed,
        "Clip skip": info.text.clip_skip or None,
        "Long prompts": "read in chunks" if info.text.long_prompts == "chunks" else None,
        **info.settings,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
