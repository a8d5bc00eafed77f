"""Owns `lorasmith inspect`: says what LoRA and embeddings files are, in lines or as JSON; changes none of them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorasmith.cli.talk import give, give_exactly
from lorasmith.data.wording import counted, shown

if TYPE_CHECKING:
    from lorasmith.formats.inspection import BlockFacts, Inspection

_WIDEST_BAR = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_METADATA = 40
_FORMATS = {
    "diffusers": "diffusers (peft's keys)",
    "diffusers-old": "diffusers, as before 2024",
    "peft": "peft",
    "kohya": "kohya (block numbers of SDXL's original code)",
    "kohya-diffusers": "kohya (diffusers' block names)",
    "comfyui": "ComfyUI",
    "lycoris": "LyCORIS (diffusers' block names)",
    "cog": "cog-sdxl",
    "embeddings": "embeddings",
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(inspect)


def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="LoRA or embeddings files of any program.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what LoRA and embeddings files are: format, base, rank, strength of each block, tokens, problems."""
    # Lazy, because torch takes seconds and --help must not wait for it.
    from lorasmith.formats.inspection import inspect as look

    found = [look(path) for path in files]
    if as_json:
        give_exactly(json.dumps([one.as_json() for one in found], indent=2))
        return
    for number, one in enumerate(found):
        for line in (*([""] if number else []), *_lines(one)):
            give(line)


def _lines(found: "Inspection") -> Iterator[str]:
    yield shown(found.path)
    yield f"  format    {', '.join(_what(found))}"
    yield f"  base      {found.family.name}: {shown(found.family.told_by)}"
    if found.blocks:
        yield f"  in A1111  {found.a1111_thinks}"
    yield from _block_lines(found.blocks)
    for one in found.embeddings:
        name = shown(one.name) if one.name else "embedding"
        norms = " and ".join(f"{norm:.2f}" for norm in one.row_norms)
        yield f"  {name}: {counted(one.tokens, 'token')}, rows of {one.widths[0]} and {one.widths[1]}, norms {norms}"
    yield from (f"  token     {shown(word)} is {shown(tokens)}" for word, tokens in found.tokens.items())
    yield from _metadata_lines(found)
    yield from (f"  {'BROKEN' if found.broken else 'problem'}   {problem}" for problem in found.problems)
    if not found.problems:
        yield "  problems  none"


def _what(found: "Inspection") -> Iterator[str]:
    yield "no LoRA or embedding of SDXL" if found.format is None else _FORMATS[found.format]
    if found.kind is not None:
        axis = {"output": "a magnitude for each output", "input": "a magnitude for each input", None: ""}
        yield "LoRA" if found.kind == "lora" else f"DoRA with {axis[found.magnitude_axis]}"
    if found.precisions:
        yield " and ".join(found.precisions)


def _block_lines(blocks: "Sequence[BlockFacts]") -> Iterator[str]:
    """A table with a bar for each block's norm."""
    if not blocks:
        return
    rows = [
        (
            f"{one.part} {one.block}",
            str(one.layers),
            " ".join(map(str, one.ranks)),
            " ".join("-" if alpha is None else f"{alpha:g}" for alpha in one.alphas),
            f"{one.norm:.3g}",
        )
        for one in blocks
    ]
    heads = ("block", "layers", "rank", "alpha", "norm")
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    largest = max(one.norm for one in blocks)
    for row, norm in ((heads, None), *zip(rows, (one.norm for one in blocks), strict=True)):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield f"  {'  '.join(cells)}  {'' if norm is None else _bar(norm / largest if largest else 0)}".rstrip()


def _bar(share: float) -> str:
    """A share of the widest bar, in eighths of a character; nothing for what is no number."""
    eighths = round(share * _WIDEST_BAR * 8) if share == share else 0  # NaN is not itself
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _metadata_lines(found: "Inspection") -> Iterator[str]:
    entries = sorted(found.metadata.items())
    for name, value in entries[:_MOST_METADATA]:
        yield f"  metadata  {shown(name, limit=60)} = {shown(value, limit=100)}"
    if len(entries) > _MOST_METADATA:
        yield f"  metadata  and {len(entries) - _MOST_METADATA} more (--json has them all)"
