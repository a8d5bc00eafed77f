"""Owns contact sheets: rows of pictures with a title and labels; any text becomes one plain line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from lorasmith.sizes import Size

_BACKGROUND: Final = (246, 245, 242)
_TITLE: Final = (28, 27, 26)
_LABEL: Final = (110, 106, 100)
_MARGIN: Final = 24
_GAP: Final = 10
_LINE: Final = 26
_LEAST_CELL: Final = 192
"""Shortest side a picture is shown at, in pixels; smaller ones (a 64 px base's) are enlarged."""
_LARGEST_CELL: Final = 512


@dataclass(frozen=True)
class SheetRow:
    """One line of a sheet: its label and its pictures from left to right."""

    label: str
    pictures: Sequence[Image.Image]


def contact_sheet(rows: Sequence[SheetRow], *, title: str = "", column_labels: Sequence[str] = ()) -> Image.Image:
    """All rows under one another in one RGB picture, cells as large as the largest picture (192 to 512 px a side)."""
    cell = _cell_size([picture for row in rows for picture in row.pictures])
    columns = max((len(row.pictures) for row in rows), default=0)
    head = _LINE * (bool(title) + bool(column_labels)) + _GAP * bool(title)
    row_height = _LINE + cell.height + _GAP
    width = 2 * _MARGIN + max(columns, 1) * (cell.width + _GAP) - _GAP
    sheet = Image.new("RGB", (width, 2 * _MARGIN + head + len(rows) * row_height - _GAP), _BACKGROUND)
    _write_head(sheet, title, column_labels, cell)
    for index, row in enumerate(rows):
        _place_row(sheet, row, top=_MARGIN + head + index * row_height, cell=cell)
    return sheet


def fit_line(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text as one printable line, shortened with an ellipsis to `width` pixels."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"


def _write_head(sheet: Image.Image, title: str, column_labels: Sequence[str], cell: Size) -> None:
    canvas, top = ImageDraw.Draw(sheet), _MARGIN
    if title:
        font = _font(18)
        canvas.text((_MARGIN, top), fit_line(title, sheet.width - 2 * _MARGIN, font), fill=_TITLE, font=font)
        top += _LINE + _GAP
    for index, label in enumerate(column_labels):
        left = _MARGIN + index * (cell.width + _GAP)
        canvas.text((left, top), fit_line(label, cell.width, _font(14)), fill=_LABEL, font=_font(14))


def _place_row(sheet: Image.Image, row: SheetRow, *, top: int, cell: Size) -> None:
    font = _font(14)
    label = fit_line(row.label, sheet.width - 2 * _MARGIN, font)
    ImageDraw.Draw(sheet).text((_MARGIN, top), label, fill=_LABEL, font=font)
    for index, picture in enumerate(row.pictures):
        shown = _fitted(picture, cell)
        left = _MARGIN + index * (cell.width + _GAP) + (cell.width - shown.width) // 2
        sheet.paste(shown, (left, top + _LINE + (cell.height - shown.height) // 2))


def _fitted(picture: Image.Image, cell: Size) -> Image.Image:
    ratio = min(cell.width / picture.width, cell.height / picture.height)
    shape = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    return picture.convert("RGB").resize(shape, Image.Resampling.LANCZOS)


def _cell_size(pictures: Sequence[Image.Image]) -> Size:
    """The largest height and width among the pictures, brought between the least and the largest cell."""
    if not pictures:
        return Size(_LEAST_CELL, _LEAST_CELL)
    largest = Size(max(picture.height for picture in pictures), max(picture.width for picture in pictures))
    ratio = min(max(1.0, _LEAST_CELL / min(largest)), _LARGEST_CELL / max(largest))
    return Size(round(largest.height * ratio), round(largest.width * ratio))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
