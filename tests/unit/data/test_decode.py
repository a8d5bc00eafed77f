"""Every kind of picture comes out upright, in sRGB, with the pixels a person would see; damaged ones are refused."""

import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_pictures import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    cyan_ink_is_red,
    gradient,
    grey_is_linear,
    halves,
    jpeg_bytes,
    noise,
    plain,
    png,
    png_chunk,
    red_and_green_swapped,
    save,
)
from PIL import Image, ImageFile

from lorasmith.data.decode import content_of, decode, probe
from lorasmith.errors import ConfigError, DataError
from lorasmith.sizes import Size

LIMIT = 1_000_000


def decoded(path: Path, background: str = "white") -> np.ndarray:
    picture = decode(path, background=background, pixel_limit=LIMIT)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def reason(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        decode(path, background="white", pixel_limit=LIMIT)
    assert path.name in str(refused.value), "the message names the file"
    return refused.value.problems[0].what


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.jpg"])
def test_each_kind_keeps_its_pixels(tmp_path: Path, name: str) -> None:
    path = save(halves(RED, BLUE), tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    difference = np.abs(decoded(path) - np.asarray(halves(RED, BLUE)).astype(int))
    away_from_the_edge = np.r_[0:12, 20:32]  # where JPEG, which halves the resolution of colours, is exact
    assert difference[:, away_from_the_edge].max() <= (3 if name == "a.jpg" else 0)


def test_the_kind_is_told_from_content_not_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    save(plain(GREEN), tmp_path / "a.png").rename(path)
    assert decoded(path)[0, 0].tolist() == list(GREEN)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_every_exif_orientation_comes_out_upright(tmp_path: Path, name: str, orientation: int) -> None:
    upright = Image.new("RGB", (32, 16), WHITE)
    upright.paste(RED, (0, 0, 8, 8))
    upright.paste(BLUE, (24, 0, 32, 8))
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"a.jpg": {"quality": 95, "subsampling": 0}, "a.webp": {"lossless": True}}.get(name, {})
    path = save(stored, tmp_path / name, exif=exif, **options)
    pixels = decoded(path)
    assert pixels.shape == (16, 32, 3)
    assert np.abs(pixels[3, 3] - RED).max() <= 4
    assert np.abs(pixels[3, 28] - BLUE).max() <= 4
    assert probe(path, pixel_limit=LIMIT) == Size(height=16, width=32)


def test_an_orientation_that_does_not_exist_changes_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert decoded(save(gradient(8, 4), tmp_path / "a.png", exif=exif)).shape == (4, 8, 3)


def test_transparent_parts_show_the_background(tmp_path: Path) -> None:
    picture = plain((255, 0, 0, 255), mode="RGBA")
    picture.putpixel((0, 0), (255, 0, 0, 0))
    picture.putpixel((1, 0), (255, 0, 0, 128))
    pixels = decoded(save(picture, tmp_path / "a.png"), background="#0000ff")
    assert pixels[0, 0].tolist() == [0, 0, 255]
    assert np.abs(pixels[0, 1] - (128, 0, 127)).max() <= 1
    assert pixels[0, 2].tolist() == [255, 0, 0]


def test_transparent_grey_shows_the_background(tmp_path: Path) -> None:
    picture = plain((100, 255), mode="LA")
    picture.putpixel((0, 0), (100, 0))
    pixels = decoded(save(picture, tmp_path / "a.png"), background="red")
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[1, 1].tolist() == [100, 100, 100]


def test_a_palette_keeps_its_colours_and_its_transparent_entry(tmp_path: Path) -> None:
    picture = halves(RED, GREEN).quantize(2)
    clear = picture.getpixel((0, 0))
    path = save(picture, tmp_path / "a.png", transparency=clear)
    pixels = decoded(path, background="white")
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 31].tolist() == [0, 255, 0]
    assert decoded(save(picture, tmp_path / "opaque.png"))[0, 0].tolist() == [255, 0, 0]


def test_a_single_transparent_colour_of_an_rgb_png_shows_the_background(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = (b"\0" + bytes(RED) + bytes(GREEN)) * 2
    clear = png_chunk(b"tRNS", struct.pack(">HHH", *RED))
    path.write_bytes(png(2, 2, bits=8, colour_type=2, rows=rows, extra=clear))
    assert decoded(path, background="black")[0].tolist() == [[0, 0, 0], [0, 255, 0]]


def test_black_and_white_pictures_are_black_and_white(tmp_path: Path) -> None:
    pixels = decoded(save(halves((0, 0, 0), WHITE).convert("1"), tmp_path / "a.png"))
    assert (pixels[0, 0].tolist(), pixels[0, 31].tolist()) == ([0, 0, 0], [255, 255, 255])


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path)
    assert decoded(path)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_transparent_value_of_sixteen_bit_grey_shows_the_background(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = b"\0" + struct.pack(">HH", 4096, 4097)
    path.write_bytes(png(2, 1, bits=16, colour_type=0, rows=rows, extra=png_chunk(b"tRNS", struct.pack(">H", 4096))))
    assert decoded(path, background="red")[0].tolist() == [[255, 0, 0], [16, 16, 16]]


def test_sixteen_bit_colour_keeps_its_upper_eight_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, bits=16, colour_type=2, rows=b"\0" + struct.pack(">HHH", 0x8000, 0xFFFF, 0x0100)))
    assert decoded(path)[0, 0].tolist() == [128, 255, 1]


def test_sixteen_bit_colour_with_alpha_shows_the_background(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = b"\0" + struct.pack(">HHHHHHHH", 65535, 0, 0, 65535, 65535, 0, 0, 0)
    path.write_bytes(png(2, 1, bits=16, colour_type=6, rows=rows))
    assert decoded(path, background="blue")[0].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_cmyk_without_a_profile_is_not_inverted(tmp_path: Path) -> None:
    no_ink, cyan, black = (0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)
    for name, inks, expected in (("w.jpg", no_ink, WHITE), ("c.jpg", cyan, (0, 255, 255)), ("k.jpg", black, (0, 0, 0))):
        path = save(plain(inks, mode="CMYK"), tmp_path / name, quality=95)
        assert np.abs(decoded(path)[4, 4] - expected).max() <= 3


def test_cmyk_follows_its_profile(tmp_path: Path) -> None:
    picture = plain((255, 0, 0, 0), mode="CMYK", width=32, height=32)
    picture.paste((0, 0, 0, 0), (16, 0, 32, 32))
    pixels = decoded(save(picture, tmp_path / "a.jpg", quality=95, icc_profile=cyan_ink_is_red()))
    assert pixels[4, 4, 0] > 240
    assert pixels[4, 4, 1:].max() < 40, "cyan ink prints red on this press, whatever its name says"
    assert pixels[4, 28].min() >= 250, "paper stays white"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_an_rgb_profile_is_followed_into_srgb(tmp_path: Path, name: str) -> None:
    options = {"a.jpg": {"quality": 95}, "a.webp": {"lossless": True}}.get(name, {})
    path = save(plain(RED, width=16, height=16), tmp_path / name, icc_profile=red_and_green_swapped(), **options)
    assert np.abs(decoded(path)[8, 8] - GREEN).max() <= 6


def test_a_profile_is_followed_below_transparency_and_in_palettes(tmp_path: Path) -> None:
    picture = plain((255, 0, 0, 255), mode="RGBA")
    picture.putpixel((0, 0), (255, 0, 0, 0))
    pixels = decoded(save(picture, tmp_path / "a.png", icc_profile=red_and_green_swapped()), background="red")
    assert pixels[0, 0].tolist() == [255, 0, 0], "the background is sRGB already"
    assert np.abs(pixels[4, 4] - GREEN).max() <= 2
    palette = save(plain(RED).quantize(2), tmp_path / "p.png", icc_profile=red_and_green_swapped())
    assert np.abs(decoded(palette)[4, 4] - GREEN).max() <= 2


def test_a_grey_profile_is_followed(tmp_path: Path) -> None:
    picture = Image.new("L", (8, 8), 128)
    linear = decoded(save(picture, tmp_path / "a.png", icc_profile=grey_is_linear()))[0, 0]
    assert np.abs(linear - 188).max() <= 2, "half of the light is 188 in sRGB (IEC 61966-2-1)"
    assert decoded(save(picture, tmp_path / "b.png"))[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize("profile", [b"not a profile at all", grey_is_linear(), cyan_ink_is_red()])
def test_a_profile_that_is_damaged_or_of_another_colour_space_is_ignored(tmp_path: Path, profile: bytes) -> None:
    assert decoded(save(plain(RED), tmp_path / "a.png", icc_profile=profile))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_of_an_animated_picture_the_first_frame_is_taken(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name == "a.webp" else {}
    path = save(plain(RED), tmp_path / name, save_all=True, append_images=[plain(BLUE)], **options)
    assert decoded(path)[4, 4].tolist() == [255, 0, 0]


def test_of_a_phones_jpeg_with_several_pictures_the_first_is_taken(tmp_path: Path) -> None:
    first, second = plain(RED, width=16, height=16), plain(BLUE, width=16, height=16)
    written = BytesIO()
    first.save(written, "MPO", save_all=True, append_images=[second])
    path = tmp_path / "a.jpg"
    path.write_bytes(written.getvalue())
    assert np.abs(decoded(path)[8, 8] - RED).max() <= 3


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp"])
def test_a_truncated_picture_is_refused_not_filled_up(tmp_path: Path, name: str, kept: float) -> None:
    path = save(noise(64, 64), tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert "cut off" in reason(path) or "damaged" in reason(path)


def test_a_truncated_picture_is_refused_even_when_another_library_made_pillow_lenient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes(noise(64, 64))[:2000])
    assert reason(path) == "the picture is cut off: its end is missing"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True, "and Pillow is left as it was"


def test_a_jpeg_of_full_length_that_ends_in_zeros_is_refused(tmp_path: Path) -> None:
    data = jpeg_bytes(noise(64, 64))
    path = tmp_path / "a.jpg"
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert "zeros stand where its end should be" in reason(path)


def test_zeros_behind_a_whole_jpeg_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes(plain(RED)) + bytes(64))
    assert np.abs(decoded(path)[4, 4] - RED).max() <= 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"A red backpack on a beach.\n", "text, not a picture"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "a web page, not a picture (a download went wrong)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (bytes(100), "nothing but zero bytes"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, which is not read"),
        (b"GIF89a\x01\0\x01\0\0\0\0", "a GIF picture, which is not read"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\xff\xd8 and no more", "a damaged JPEG"),
        (b"\x01\x02\x03\x04\x05\x90", "not a picture of a known kind"),
    ],
)
def test_what_is_not_a_picture_is_called_what_it_is(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert reason(path).startswith(expected)


@pytest.mark.parametrize(("kind", "expected"), [("GIF", "a GIF picture, which"), ("TIFF", "a TIFF picture, which")])
def test_whole_pictures_of_other_kinds_are_refused_by_name(tmp_path: Path, kind: str, expected: str) -> None:
    path = tmp_path / "a.jpg"
    plain(RED).save(path, kind)
    assert reason(path).startswith(expected)


def test_a_huge_declared_size_is_refused_before_memory_is_spent(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(60_000, 60_000, bits=8, colour_type=2, rows=b""))
    assert "over the limit of 1,000,000 pixels" in reason(path)
    path.write_bytes(png(1_001, 1_000, bits=8, colour_type=2, rows=b""))
    assert "declares 1001×1000 pixels" in reason(path)
    with pytest.raises(DataError, match=r"raise data\.pixel_limit"):
        probe(path, pixel_limit=LIMIT)


def test_the_pixel_limit_can_be_raised_and_itself_fits(tmp_path: Path) -> None:
    path = save(plain(RED, width=100, height=10), tmp_path / "a.png")
    assert probe(path, pixel_limit=1_000) == Size(height=10, width=100)
    with pytest.raises(DataError):
        probe(path, pixel_limit=999)


def test_a_missing_file_is_refused_with_the_systems_reason(tmp_path: Path) -> None:
    assert "No such file" in reason(tmp_path / "a.png")


def test_a_file_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb.jpg"
    path.write_bytes(b"text")
    with pytest.raises(DataError) as refused:
        probe(path, pixel_limit=LIMIT)
    assert "\x1b" not in str(refused.value)
    assert "a?[2Jb.jpg" in str(refused.value)


def test_a_background_that_is_no_colour_is_refused(tmp_path: Path) -> None:
    path = save(plain(RED), tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"'whit' is not a colour \(data\.background\)"):
        decode(path, background="whit", pixel_limit=LIMIT)


def test_content_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert content_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_the_answer_is_a_picture_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]))
    written = BytesIO()
    noise(16, 16).save(written, kind)
    changed = bytearray(written.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, min(len(changed), 200) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.jpg"
    path.write_bytes(changed[: data.draw(st.integers(0, len(changed)))])
    with suppress(DataError):
        assert decode(path, background="white", pixel_limit=LIMIT).mode == "RGB"
