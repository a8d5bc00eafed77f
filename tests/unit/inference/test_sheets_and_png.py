from pathlib import Path

import pytest
from PIL import Image, ImageFont

from lorasmith import __version__
from lorasmith.inference.draw import DrawRequest, DrawSettings
from lorasmith.inference.grids import SheetRow, contact_sheet, fit_line
from lorasmith.inference.png import PictureParameters, save_png
from lorasmith.sizes import Size


def plain(colour: str, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, colour)


def parameters(prompt: str, negative: str = "") -> PictureParameters:
    request = DrawRequest("written out", 7, negative, DrawSettings(steps=20, guidance=4.0))
    return PictureParameters(prompt, request, Size(64, 96), "tiny", {"Lora scale": "0.8"})


def test_parameters_are_written_as_a1111_reads_them(tmp_path: Path) -> None:
    save_png(plain("red"), tmp_path / "a.png", parameters("a photo of TOK", "blurry"))
    assert Image.open(tmp_path / "a.png").info["parameters"] == (
        "a photo of TOK\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: Euler, CFG scale: 4, Seed: 7, Size: 96x64, Model: tiny, Lora scale: 0.8, "
        f"Version: lorasmith {__version__}"
    )


def test_a_prompt_cannot_forge_parameters_and_any_letters_survive(tmp_path: Path) -> None:
    save_png(plain("red"), tmp_path / "a.png", parameters("猫 TOK\nSteps: 1, Seed: 99", ""))
    first, second = Image.open(tmp_path / "a.png").info["parameters"].split("\n")
    assert first == "猫 TOK Steps: 1, Seed: 99"
    assert second.startswith("Steps: 20")


def test_values_with_commas_are_quoted() -> None:
    request = DrawRequest("x", 0)
    text = PictureParameters("x", request, Size(64, 64), 'my, "base"').as_text()
    assert r'Model: "my, \"base\"", Version' in text


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_png(plain("red"), tmp_path / "a.png", parameters("x"))

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        save_png(plain("blue"), tmp_path / "a.png", parameters("x"))
    assert Image.open(tmp_path / "a.png").getpixel((0, 0)) == (255, 0, 0)


def colours_of(sheet: Image.Image) -> set[object]:
    return set(sheet.get_flattened_data())


def test_a_sheet_shows_every_picture_enlarged_in_its_row_and_column() -> None:
    rows = [SheetRow("with", [plain("red"), plain("blue")]), SheetRow("without", [plain("lime"), plain("yellow")])]
    sheet = contact_sheet(rows, title="a photo of TOK", column_labels=["seed 0", "seed 1"])
    places = {
        colour: next((x, y) for y in range(sheet.height) for x in range(sheet.width) if sheet.getpixel((x, y)) == value)
        for colour, value in {
            "red": (255, 0, 0),
            "blue": (0, 0, 255),
            "lime": (0, 255, 0),
            "yellow": (255, 255, 0),
        }.items()
    }
    assert places["blue"][0] - places["red"][0] >= 192
    assert places["lime"][1] - places["red"][1] >= 192
    assert places["red"][1] == places["blue"][1]
    assert places["red"][0] == places["lime"][0]


def test_title_and_labels_are_drawn() -> None:
    rows = [SheetRow("", [plain("red")])]
    bare = contact_sheet(rows)
    assert len(colours_of(bare)) == 2
    for sheet in (
        contact_sheet(rows, title="TOK"),
        contact_sheet(rows, column_labels=["seed 0"]),
        contact_sheet([SheetRow("with", [plain("red")])]),
    ):
        assert len(colours_of(sheet)) > 2


def test_pictures_of_different_shapes_keep_their_own() -> None:
    sheet = contact_sheet([SheetRow("", [plain("red", (1024, 512)), plain("blue", (512, 1024))])])
    red = [p for p in sheet.get_flattened_data() if p == (255, 0, 0)]
    assert len(red) == 512 * 256


def test_a_sheet_without_pictures_is_still_a_picture() -> None:
    assert contact_sheet([], title="nothing").width > 100


def test_long_or_hostile_text_becomes_one_line_that_fits() -> None:
    font = ImageFont.load_default(14)
    line = fit_line("a photo\n\x1b[31mof " + "TOK " * 200, 300, font)
    assert font.getlength(line) <= 300
    assert line.endswith("…")
    assert line.isprintable()
    assert fit_line("short", 300, font) == "short"
