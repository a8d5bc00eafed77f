"""Owns what a generation writes: names, parameters and the sheet of all; draws nothing."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from lorasmith.atomic import naming_write_failures
from lorasmith.errors import ConfigError
from lorasmith.inference.grids import SheetRow, contact_sheet
from lorasmith.run_folder import RunFolder
from lorasmith.runs.generate_request import GenerateRequest


@dataclass(frozen=True)
class Cell:
    """One picture's place in the grid: the prompt's number, the checkpoint (None: the export), the scale, the seed."""

    prompt: int
    checkpoint: int | None
    scale: float | None
    seed: int

    @property
    def base(self) -> "Cell":
        """The base's picture beside it, which knows no checkpoint and no scale."""
        return Cell(self.prompt, None, None, self.seed)


@dataclass(frozen=True)
class Grid:
    """Everything that is drawn: every prompt × checkpoint × scale × seed."""

    request: GenerateRequest
    checkpoints: tuple[int | None, ...] = (None,)

    def cells(self, checkpoint: int | None) -> list[Cell]:
        """The pictures of one checkpoint; those of one prompt and scale beside one another."""
        return [
            Cell(prompt, checkpoint, scale, seed)
            for prompt in range(len(self.request.prompts))
            for scale in self.request.scales
            for seed in self.request.seeds
        ]

    @property
    def base_cells(self) -> list[Cell]:
        """The base's own pictures, if they are wanted."""
        wanted = self.request.side_by_side
        return list(dict.fromkeys(cell.base for cell in self.cells(None))) if wanted else []

    def name(self, cell: Cell) -> str:
        """A picture's file name, which says what differs from picture to picture."""
        return f"{self._beginning(cell)}{self._step_and_scale(cell)}.png"

    def base_name(self, cell: Cell) -> str:
        """The base's picture's."""
        return f"{self._beginning(cell)}-without.png"

    def names(self) -> list[str]:
        """All file names."""
        drawn = [self.name(cell) for checkpoint in self.checkpoints for cell in self.cells(checkpoint)]
        return [*drawn, *map(self.base_name, self.base_cells), "sheet.png"]

    def _beginning(self, cell: Cell) -> str:
        prompt = f"prompt-{cell.prompt + 1}-" if len(self.request.prompts) > 1 else ""
        return f"{prompt}seed-{cell.seed}"

    def _step_and_scale(self, cell: Cell) -> str:
        step = (
            f"-{'final' if cell.checkpoint is None else f'step-{cell.checkpoint}'}" if len(self.checkpoints) > 1 else ""
        )
        scale = f"-scale-{cell.scale:g}" if len(self.request.scales) > 1 and cell.scale is not None else ""
        return step + scale


@dataclass(frozen=True)
class Drawn:
    """All pictures by their place, and what the concept and its scale are called on the sheet."""

    pictures: Mapping[Cell, Image.Image]
    without: Mapping[Cell, Image.Image]
    words: str
    scale_of: Callable[[Cell], float | None]
    """The scale to be shown; None where LoRAs are drawn with at strengths of their own."""


def sheet(grid: Grid, drawn: Drawn) -> Image.Image:
    """One picture of all: seeds from left to right, or scales or checkpoints where one seed is drawn."""
    request = grid.request
    title = request.prompt if len(request.prompts) == 1 else ""
    if len(request.seeds) > 1 or (len(request.scales) == 1 and len(grid.checkpoints) == 1):
        return contact_sheet(
            _rows_by_seed(grid, drawn), title=title, column_labels=[f"seed {seed}" for seed in request.seeds]
        )
    return _one_seed(grid, drawn, title)


def _rows_by_seed(grid: Grid, drawn: Drawn) -> list[SheetRow]:
    rows: list[SheetRow] = []
    seeds = grid.request.seeds
    for prompt in range(len(grid.request.prompts)):
        for checkpoint in grid.checkpoints:
            for scale in grid.request.scales:
                cells = [Cell(prompt, checkpoint, scale, seed) for seed in seeds]
                rows.append(SheetRow(_row_label(grid, drawn, cells[0]), [drawn.pictures[cell] for cell in cells]))
        if drawn.without:
            rows.append(SheetRow("without", [drawn.without[Cell(prompt, None, None, seed)] for seed in seeds]))
    return rows


def _row_label(grid: Grid, drawn: Drawn, cell: Cell) -> str:
    """What sets a row apart: the prompt where there are several, else what is drawn with; the step; the scale."""
    prompts, scale = grid.request.prompts, drawn.scale_of(cell)
    what = prompts[cell.prompt] if len(prompts) > 1 else f"with {drawn.words}"
    return f"{what}{_step_said(grid, cell.checkpoint)}{'' if scale is None else f', scale {scale:g}'}"


def _one_seed(grid: Grid, drawn: Drawn, title: str) -> Image.Image:
    """The base first, then scales (checkpoints under one another), or checkpoints."""
    rows: list[SheetRow] = []
    for cells in _cells_of_one_seed(grid):
        base = [drawn.without[cells[0].base]] if drawn.without else []
        prompts = grid.request.prompts
        what = prompts[cells[0].prompt] if len(prompts) > 1 else f"seed {cells[0].seed}"
        step = _step_said(grid, cells[0].checkpoint) if len(grid.request.scales) > 1 else ""
        rows.append(SheetRow(f"{what}{step}", [*base, *(drawn.pictures[cell] for cell in cells)]))
    labels = [*(["without"] if drawn.without else []), *map(partial(_column_label, grid), _cells_of_one_seed(grid)[0])]
    return contact_sheet(rows, title=title, column_labels=labels)


def _cells_of_one_seed(grid: Grid) -> list[list[Cell]]:
    """Rows of the cells of a grid with one seed."""
    prompts, seed, scales = range(len(grid.request.prompts)), grid.request.seeds[0], grid.request.scales
    by_scale = [
        [Cell(prompt, step, scale, seed) for scale in scales] for prompt in prompts for step in grid.checkpoints
    ]
    if all(len(row) > 1 for row in by_scale):
        return by_scale
    return [[Cell(prompt, step, scale, seed) for step in grid.checkpoints for scale in scales] for prompt in prompts]


def _column_label(grid: Grid, cell: Cell) -> str:
    if len(grid.request.scales) > 1:
        return f"scale {cell.scale:g}"
    return _step_said(grid, cell.checkpoint).removeprefix(", ")


def _step_said(grid: Grid, checkpoint: int | None) -> str:
    if len(grid.checkpoints) == 1 and checkpoint is None:
        return ""
    return ", final" if checkpoint is None else f", step {checkpoint}"


def refuse_taken(grid: Grid) -> None:
    """Refuse, before any work, a folder that already holds pictures of ours."""
    out = grid.request.out
    taken = [name for name in grid.names() if out is not None and (out / name).exists()]
    if taken:
        raise ConfigError(
            f"{out} already holds {taken[0]}", where="out", remedy="Choose another folder for the pictures."
        )


def output_folder(request: GenerateRequest, run: RunFolder | None) -> Path:
    """The folder that was named, else a new numbered one such as `generated/0003-a-photo-of-tok`."""
    home = run.generated if run else Path("generated")
    folder = request.out or home / _numbered_name(home, request.prompt)
    with naming_write_failures(folder):
        folder.mkdir(parents=True, exist_ok=request.out is not None)
    return folder


def _numbered_name(home: Path, prompt: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", prompt[:200].lower()).strip("-")[:40].rstrip("-")
    names = [entry.name for entry in home.iterdir()] if home.is_dir() else []
    taken = [int(name[:4]) for name in names if re.match(r"[0-9]{4}", name)]
    return "-".join(filter(None, (f"{max(taken, default=0) + 1:04d}", words)))


def hashes(names: Sequence[tuple[str, str]]) -> str:
    """`y2k: 0123456789ab, wolf: …` as A1111 writes names and hashes; marks that part them are left out of names."""
    return ", ".join(f"{re.sub('[:,]', '', name)}: {short}" for name, short in dict(names).items() if short)
