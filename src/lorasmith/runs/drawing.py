"""Owns drawing a grid of pictures with one pipeline: which LoRAs act on which picture, and how strongly."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from lorasmith.errors import DataError
from lorasmith.events import Emit, WorkDone
from lorasmith.inference.additions import NewRows, Strength, let_act, with_adapters, with_new_tokens
from lorasmith.inference.draw import DrawRequest, DrawSettings, ReadPrompt, draw
from lorasmith.runs.addition_files import EmbeddingFile, LoraFile
from lorasmith.runs.drawn_prompts import DrawnPrompt
from lorasmith.runs.export_source import ExportSource
from lorasmith.runs.generated_files import Cell, Grid
from lorasmith.runs.own_concept import OwnConcept, is_own_file

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

_OWN = "the run's own"
"""What the run's own adapter is called in the pipeline."""


@dataclass(frozen=True)
class Prompts:
    """All prompts written out, and the negative one."""

    positive: tuple[DrawnPrompt, ...]
    negative: DrawnPrompt

    @property
    def all(self) -> tuple[DrawnPrompt, ...]:
        """Every prompt, the negative one last."""
        return (*self.positive, self.negative)


@dataclass(frozen=True)
class Drawing:
    """Everything that the pictures of one call share."""

    pipeline: "StableDiffusionXLPipeline"
    grid: Grid
    source: ExportSource | None
    prompts: Prompts
    settings: DrawSettings
    read: ReadPrompt
    loras: Mapping[Path, LoraFile]
    embeddings: tuple[EmbeddingFile, ...]
    batch_size: int
    emit: Emit
    drawn: list[int] = field(default_factory=list[int])

    def draw_base(self) -> dict[Cell, Image.Image]:
        """The base alone. It comes first, untouched: a scale of 0 would not undo a DoRA."""
        cells = self.grid.base_cells
        negative = self.prompts.negative.plain
        return self._draw(cells, [self._request(cell, self._prompt(cell).plain, negative) for cell in cells])

    def draw_with(self, concept: OwnConcept | None) -> dict[Cell, Image.Image]:
        """Every picture of one checkpoint, or of the export, or of no run at all."""
        cells = self.grid.cells(concept.step if concept else None)
        negative = self.prompts.negative.written_out
        found: dict[Cell, Image.Image] = {}
        with self._added(concept):
            for strengths, alike in groupby(cells, key=self._named_strengths):
                let_act(self.pipeline, strengths)
                group = list(alike)
                requests = [self._request(cell, self._prompt(cell).written_out, negative) for cell in group]
                found |= self._draw(group, requests)
        return found

    def own_strength(self, cell: Cell) -> Strength | None:
        """How strongly the run's own adapter acts: as the prompt says where it names it; None without one."""
        if self.source is None or self.source.manifest.lora is None:
            return None
        named = [one for path, one in self._prompt(cell).loras.items() if is_own_file(self.source, path)]
        if named:
            return _times(named[-1], 1.0 if cell.scale is None else cell.scale)
        scale = self.source.manifest.recommended_scale if cell.scale is None else cell.scale
        return Strength(scale, scale)

    def strengths(self, cell: Cell) -> dict[Path, Strength]:
        """How strongly every other LoRA acts; where there is no adapter of a run's own, the scale is theirs."""
        named = {**self.grid.request.lora_files(), **self._prompt(cell).loras}
        own = self.own_strength(cell)
        factor = 1.0 if own is not None or cell.scale is None else cell.scale
        return {path: _times(one, factor) for path, one in named.items() if path in self.loras}

    def _named_strengths(self, cell: Cell) -> dict[str, Strength]:
        own = self.own_strength(cell)
        others = {self._key(path): one for path, one in self.strengths(cell).items()}
        return others if own is None else {_OWN: own, **others}

    def _draw(self, cells: Sequence[Cell], requests: Sequence[DrawRequest]) -> dict[Cell, Image.Image]:
        before = sum(self.drawn)

        def tell(done: int) -> None:
            self.emit(WorkDone("drawing pictures", before + done, len(self.grid.names()) - 1))

        pictures = draw(self.pipeline, requests, batch_size=self.batch_size, read=self.read, on_picture=tell)
        self.drawn.append(len(pictures))
        return dict(zip(cells, pictures, strict=True))

    def _request(self, cell: Cell, prompt: str, negative: str) -> DrawRequest:
        return DrawRequest(prompt, cell.seed, negative, self.settings)

    def _prompt(self, cell: Cell) -> DrawnPrompt:
        return self.prompts.positive[cell.prompt]

    def _key(self, path: Path) -> str:
        """A LoRA's name in the pipeline, where dots part names."""
        return f"{list(self.loras).index(path) + 1} ({path.stem.replace('.', '_')})"

    @contextmanager
    def _added(self, concept: OwnConcept | None) -> Generator[None]:
        files = {self._key(path): file for path, file in self.loras.items()}
        if concept is not None and concept.lora is not None:
            files[_OWN] = concept.lora
        rows = [*([concept.rows] if concept else []), *(file.rows for file in self.embeddings)]
        changes = {key: file.changes for key, file in files.items()}
        with with_new_tokens(self.pipeline, _joined(rows)), with_adapters(self.pipeline, changes):
            yield


def _times(strength: Strength, factor: float) -> Strength:
    return Strength(strength.denoiser * factor, strength.text_encoders * factor)


def _joined(rows: Sequence[NewRows]) -> NewRows:
    some = [one for one in rows if one.tokens]
    if not some:
        return NewRows((), torch.empty(0), torch.empty(0))
    widths = {(one.first.shape[1], one.second.shape[1]) for one in some}
    if len(widths) > 1:
        raise DataError(f"the embeddings have rows of different widths: {sorted(widths)}", remedy="Name one base's.")
    return NewRows(
        tuple(token for one in some for token in one.tokens),
        torch.cat([one.first for one in some]),
        torch.cat([one.second for one in some]),
    )
