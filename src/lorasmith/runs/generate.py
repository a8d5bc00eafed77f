"""Owns `lorasmith generate`: pictures with a concept, with LoRAs and embeddings by name, and without them."""

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from transformers import PreTrainedTokenizerBase

from lorasmith.config.base import ModelConfig
from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Emit, Notice, ignore
from lorasmith.inference.draw import DrawRequest, DrawSettings, native_size, read_literally
from lorasmith.inference.exports import vocabulary_of
from lorasmith.inference.pipeline import open_pipeline, text_reader
from lorasmith.inference.png import PictureParameters, save_png
from lorasmith.inference.prompt_language import plain_text, sections
from lorasmith.inference.samplers import default_sampler, find_sampler
from lorasmith.inference.weighted_prompts import read_weighted
from lorasmith.models.long_prompts import MOST_CHUNKS, long_prompt
from lorasmith.models.sdxl.text import check_clip_skip
from lorasmith.runs.addition_files import EmbeddingFile, LoraFile, read_lora
from lorasmith.runs.drawing import Drawing, Prompts
from lorasmith.runs.drawn_prompts import PromptWriter, files_of, own_tokens
from lorasmith.runs.export_source import ExportSource, find_export
from lorasmith.runs.generate_request import GenerateRequest, check_request
from lorasmith.runs.generated_files import Cell, Drawn, Grid, hashes, output_folder, refuse_taken, sheet
from lorasmith.runs.own_concept import OwnConcept, checkpoint_concept, exported_concept, is_own_file, steps_of
from lorasmith.tokens.attach import add_whole
from lorasmith.tokens.vocabulary import TokenVocabulary
from lorasmith.training.precision import resolve_device, resolve_precision

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

__all__ = ["GenerateRequest", "GenerateResult", "generate"]

_MANY_PIXELS = 512 * 512
"""From this size on pictures are drawn one at a time: memory, not speed, is what runs out."""


@dataclass(frozen=True)
class GenerateResult:
    """Files written: pictures with the concept, the same seeds without it (if asked for), and the sheet of all."""

    folder: Path
    pictures: tuple[Path, ...]
    without: tuple[Path, ...]
    sheet: Path


def generate(request: GenerateRequest, emit: Emit = ignore) -> GenerateResult:
    """Draw every prompt × seed × scale × checkpoint, and write the pictures with their parameters and a sheet.

    ConfigError for wrong options and for names that no file has, DataError or HubError for files that cannot be used.
    """
    check_request(request)
    request = _with_a_file_as_lora(request)
    source = find_export(request.source, base=request.base) if request.source else None
    grid = Grid(request, steps_of(source, request.checkpoint) if source else (None,))
    refuse_taken(grid)
    prompts, embeddings = _write_prompts(request, source, emit)
    drawing = _drawing(grid, source, prompts, embeddings, emit)
    _check_reading(drawing)
    concepts = _concepts(drawing)
    without = drawing.draw_base()
    pictures: dict[Cell, Image.Image] = {}
    for concept in concepts:
        pictures |= drawing.draw_with(concept)
    return _write(drawing, concepts, pictures, without)


def _with_a_file_as_lora(request: GenerateRequest) -> GenerateRequest:
    """A LoRA file in the place of a run is drawn with at full strength."""
    if request.source is None or not request.source.is_file():
        return request
    return replace(request, source=None, lora=(str(request.source), *request.lora))


def _write_prompts(
    request: GenerateRequest, source: ExportSource | None, emit: Emit
) -> tuple[Prompts, tuple[EmbeddingFile, ...]]:
    """The prompts written out, and the embeddings they name besides the concept's own."""
    loras, embeddings = files_of(request, source)
    vocabulary = vocabulary_of(source.manifest) if source else TokenVocabulary(())
    writer = PromptWriter(vocabulary, loras, embeddings, emit, request.prompt_syntax, own_tokens(source))
    writer.read_given(request.embedding)
    for path in request.lora_files():
        writer.read_bundle(path)
    prompts = Prompts(
        tuple(writer.write(prompt) for prompt in request.prompts), writer.write_negative(request.negative_prompt)
    )
    _notice_missing_words(vocabulary, prompts, emit)
    return prompts, writer.used


def _notice_missing_words(vocabulary: TokenVocabulary, prompts: Prompts, emit: Emit) -> None:
    missing = [prompt for prompt in prompts.positive if not vocabulary.is_mentioned_in(prompt.written_out)]
    if vocabulary.abstractions and missing:
        words = " nor ".join(one.word for one in vocabulary.abstractions)
        emit(Notice(f"The prompt does not name {words}, so the concept may not show; put {words} where it belongs."))


def _drawing(
    grid: Grid, source: ExportSource | None, prompts: Prompts, embeddings: tuple[EmbeddingFile, ...], emit: Emit
) -> Drawing:
    request = grid.request
    pipeline = _open(request, source)
    area = math.prod(request.size or native_size(pipeline))
    return Drawing(
        pipeline,
        grid,
        source,
        prompts,
        _settings(request, source, pipeline),
        read_literally if request.prompt_syntax == "plain" else read_weighted,
        _read_loras(request, source, prompts, layers_per_block=_layers_per_block(pipeline)),
        embeddings,
        request.batch_size or (1 if area >= _MANY_PIXELS else 4),
        emit,
    )


def _open(request: GenerateRequest, source: ExportSource | None) -> "StableDiffusionXLPipeline":
    device = resolve_device(request.device, where="device")
    base = source.model if source else ModelConfig(base=request.base or "embedded")
    try:
        return open_pipeline(base, device=device, dtype=resolve_precision("auto", device).dtype)
    except DataError as missing:
        if request.base is not None or source is None:
            raise
        raise DataError(
            f"the base the concept was trained on cannot be opened: {missing.problems[0].what}",
            where=str(source.export),
            remedy="Name it with --base: `embedded`, a folder in the diffusers layout, a .safetensors checkpoint, "
            "or a hub id.",
        ) from missing


def _settings(
    request: GenerateRequest, source: ExportSource | None, pipeline: "StableDiffusionXLPipeline"
) -> DrawSettings:
    scheduler: Any = pipeline.scheduler
    usual = default_sampler(scheduler.config)
    return DrawSettings(
        request.steps,
        request.guidance,
        size=request.size,
        text=request.reading(source.manifest if source else None),
        sampler=find_sampler(request.sampler or usual.sampler.name, request.schedule),
    )


def _read_loras(
    request: GenerateRequest, source: ExportSource | None, prompts: Prompts, *, layers_per_block: int
) -> dict[Path, LoraFile]:
    """Every LoRA that was given or is named in a prompt, but the run's own."""
    named = dict.fromkeys([*request.lora_files(), *(path for prompt in prompts.positive for path in prompt.loras)])
    others = [path for path in named if source is None or not is_own_file(source, path)]
    return {path: read_lora(path, layers_per_block=layers_per_block) for path in others}


def _layers_per_block(pipeline: "StableDiffusionXLPipeline") -> int:
    """SDXL's kohya names count ResNets."""
    said: Any = pipeline.unet.config["layers_per_block"]
    return said if isinstance(said, int) else 2


def _check_reading(drawing: Drawing) -> None:
    """Refuse what the text encoders cannot read, and say what of the prompts they will leave out."""
    reading = drawing.settings.text
    check_clip_skip(reading.clip_skip, text_reader(drawing.pipeline, reading).layers, where="clip_skip")
    tokenizer = _with_new_tokens(drawing)
    for prompt in drawing.prompts.all:
        literal = drawing.grid.request.prompt_syntax == "plain"
        parts = [prompt.written_out] if literal else [plain_text([part]) for part in sections(prompt.written_out)]
        long = [found for part in parts if (found := long_prompt(tokenizer, part)) is not None]
        if reading.long_prompts == "chunks":
            _refuse_books(sum(one.chunks for one in long) + len(parts) - len(long))
        for one in long if reading.long_prompts == "cut" else ():
            unread = f'{counted(one.unread, "token")} of the prompt are not read: "{shown(one.unread_text)}"'
            drawing.emit(Notice(f"The last {unread}; --long-prompts chunks reads them."))


def _with_new_tokens(drawing: Drawing) -> PreTrainedTokenizerBase:
    """A tokenizer that counts as the one that will read, which has the concept's new tokens only while it draws."""
    tokenizer = copy.deepcopy(drawing.pipeline.tokenizer)
    own = [token for tokens in own_tokens(drawing.source).values() for token in tokens]
    named = [token for file in drawing.embeddings for token in file.rows.tokens]
    add_whole(tokenizer, list(dict.fromkeys([*own, *named])))
    return tokenizer


def _refuse_books(chunks: int) -> None:
    if chunks > MOST_CHUNKS:
        raise ConfigError(
            f"the prompt makes {chunks} chunks of 75 tokens, and {MOST_CHUNKS} are the most", where="prompt",
            remedy="Say it in fewer words.",
        )  # fmt: skip


def _concepts(drawing: Drawing) -> list[OwnConcept | None]:
    """The run's own concept at each checkpoint; one None without a run."""
    if drawing.source is None:
        return [None]
    exported = exported_concept(drawing.source, layers_per_block=_layers_per_block(drawing.pipeline))
    run = drawing.source.run
    return [
        exported if step is None or run is None else checkpoint_concept(run, step, exported.rows.tokens)
        for step in drawing.grid.checkpoints
    ]


def _write(
    drawing: Drawing,
    concepts: Iterable[OwnConcept | None],
    pictures: Mapping[Cell, Image.Image],
    without: Mapping[Cell, Image.Image],
) -> GenerateResult:
    folder = output_folder(drawing.grid.request, drawing.source.run if drawing.source else None)
    by_step = {concept.step if concept else None: concept for concept in concepts}
    said = {cell: _said(drawing, by_step[cell.checkpoint], cell) for cell in pictures}
    names = {cell: folder / drawing.grid.name(cell) for cell in pictures}
    base_names = {cell: folder / drawing.grid.base_name(cell) for cell in without}
    for cell, picture in pictures.items():
        save_png(picture, names[cell], _parameters(drawing, cell, said[cell]))
    for cell, picture in without.items():
        save_png(picture, base_names[cell], _parameters(drawing, cell, {"RNG": "CPU"}))
    first = next(iter(pictures))
    drawn = Drawn(pictures, without, _concept_words(drawing), lambda cell: _scale_shown(drawing, cell))
    save_png(sheet(drawing.grid, drawn), folder / "sheet.png", _parameters(drawing, first, said[first]))
    return GenerateResult(folder, tuple(names.values()), tuple(base_names.values()), folder / "sheet.png")


def _said(drawing: Drawing, concept: OwnConcept | None, cell: Cell) -> dict[str, str]:
    """What a picture's parameters say of its LoRAs and embeddings."""
    own = drawing.own_strength(cell)
    loras = [(concept.lora.name, concept.lora.short_hash)] if concept and concept.lora else []
    loras += [(drawing.loras[path].name, drawing.loras[path].short_hash) for path in drawing.strengths(cell)]
    written = [drawing.prompts.positive[cell.prompt].written_out, drawing.prompts.negative.written_out]
    embeddings = [
        (file.name, file.short_hash)
        for file in drawing.embeddings
        if any(file.rows.tokens[0] in text for text in written)
    ]
    embeddings += concept.embeddings if concept else ()
    more = {
        "RNG": "CPU",
        "Lora scale": "" if own is None else f"{own.denoiser:g}",
        "Lora step": "" if concept is None or concept.step is None else str(concept.step),
        "Lora hashes": hashes(loras),
        "TI hashes": hashes(embeddings),
    }
    return {name: value for name, value in more.items() if value}


def _parameters(drawing: Drawing, cell: Cell, more: Mapping[str, str]) -> PictureParameters:
    """The prompt is the one that was typed: other programs know the word, not our new tokens."""
    typed = drawing.prompts.positive[cell.prompt].typed
    request = DrawRequest(typed, cell.seed, drawing.prompts.negative.typed, drawing.settings)
    base = drawing.source.model.base if drawing.source else drawing.grid.request.base or "embedded"
    size = drawing.grid.request.size or native_size(drawing.pipeline)
    return PictureParameters(typed, request, size, Path(base).name, more)


def _concept_words(drawing: Drawing) -> str:
    """What the sheet calls what was added to the base."""
    abstractions = list(drawing.source.manifest.abstractions) if drawing.source else []
    names = [file.name for file in (*drawing.loras.values(), *drawing.embeddings)]
    return " and ".join([*abstractions, *(shown(name, limit=40) for name in names)]) or "the concept"


def _scale_shown(drawing: Drawing, cell: Cell) -> float | None:
    own = drawing.own_strength(cell)
    return cell.scale if own is None else own.denoiser
