"""Owns how one file becomes one upright 8-bit sRGB picture; refuses whatever cannot be decoded whole.

A file's type is told from its content, never from its name. Nothing is guessed at: a truncated picture is refused
instead of being filled up with grey, and what a file declares is checked before memory is spent on it.
"""
# Pillow and littlecms are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import hashlib
import logging
import struct
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageColor, ImageFile, UnidentifiedImageError

from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.sizes import Size

_log = logging.getLogger(__name__)

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises on damaged files. Decoding 180,000 of them showed the first three; the others are documented.

KeyError and TypeError are left out on purpose: they would hide our own mistakes as damage.
"""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From EXIF orientation to the move that undoes it (TIFF 6.0, tag 274)."""

_SIGNATURES = (
    (b"\xff\xd8", 0, "a damaged JPEG picture"),
    (b"\x89PNG", 0, "a damaged PNG picture"),
    (b"WEBP", 8, "a damaged WebP picture"),
    (b"BM", 0, "a damaged BMP picture"),
    (b"GIF8", 0, "a GIF picture, which is not read"),
    (b"II*\x00", 0, "a TIFF picture, which is not read"),
    (b"MM\x00*", 0, "a TIFF picture, which is not read"),
    (b"ftypavif", 4, "an AVIF picture, which is not read"),
    (b"ftyphei", 4, "a HEIC picture, which is not read"),
    (b"ftypmif1", 4, "a HEIC picture, which is not read"),
    (b"\x00\x00\x00\x0cJXL", 0, "a JPEG XL picture, which is not read"),
    (b"%PDF", 0, "a PDF document, not a picture"),
    (b"PK\x03\x04", 0, "a ZIP archive, not a picture"),
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the picture itself (`git lfs pull` fetches it)"),
)
"""First bytes, where they stand, and what to tell a person about the file."""


def decode(path: Path, *, background: str, pixel_limit: int) -> Image.Image:
    """The picture in `path`: upright, 8-bit sRGB, its first frame, transparent parts over `background`.

    Raises DataError saying why it cannot be read, with `path` as the place.
    """
    colour = colour_of(background)
    data = _bytes_of(path)
    with _refusing_damage(path, data):
        opened = _opened(data, path=path, pixel_limit=pixel_limit)
        opened.load()
    _refuse_zero_filled_jpeg(data, path)
    return _over(colour, _upright(_in_srgb(opened), _orientation(opened)))


def alpha_of(path: Path, *, pixel_limit: int) -> Image.Image | None:
    """How opaque the picture in `path` is, upright and in 8 bits of grey; None where it cannot be transparent.

    Raises as `decode` does.
    """
    data = _bytes_of(path)
    with _refusing_damage(path, data):
        opened = _opened(data, path=path, pixel_limit=pixel_limit)
        opened.load()
    picture = _in_eight_bits(opened)
    if picture.mode not in ("LA", "RGBA"):
        return None
    return _upright(picture.getchannel("A"), _orientation(opened))


def probe(path: Path, *, pixel_limit: int) -> Size:
    """The upright size of the picture in `path`, which has been decoded once to the end; raises as `decode` does."""
    picture = decode(path, background="white", pixel_limit=pixel_limit)
    return Size(picture.height, picture.width)


def content_of(path: Path) -> str:
    """The SHA-256 of the file's bytes, in hex digits."""
    return hashlib.sha256(_bytes_of(path)).hexdigest()


def looks_like_a_picture(path: Path) -> bool:
    """Whether the file begins like one of the kinds that are read."""
    with path.open("rb") as file:
        start = file.read(16)
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM")) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")


def colour_of(background: str) -> tuple[int, int, int]:
    """The red, green and blue of a colour's name or `#rrggbb`; raises ConfigError for anything else."""
    try:
        red, green, blue, *_ = ImageColor.getrgb(background)
    except ValueError as error:
        raise ConfigError(
            f"{shown(background)!r} is not a colour",
            where="data.background",
            remedy="Give a name such as `white` or six digits such as `#f0f0f0`.",
        ) from error
    return red, green, blue


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refusal(f"the file cannot be opened: {error.strerror}", path) from error
    if not data:
        raise _refusal("the file is empty (0 bytes)", path, remedy="Copy it again from where it came.")
    return data


def _opened(data: bytes, *, path: Path, pixel_limit: int) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns of bombs above a limit of its own; ours is checked right below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            opened = Image.open(BytesIO(data), formats=_FORMATS)
        except Image.DecompressionBombError as error:
            raise _too_large("more pixels than Pillow opens", path, pixel_limit) from error
    if opened.width * opened.height > pixel_limit:
        raise _too_large(f"{opened.width}×{opened.height} pixels", path, pixel_limit)
    if not opened.width * opened.height:
        raise _refusal("the picture has no pixels", path)
    return opened


def _too_large(declared: str, path: Path, pixel_limit: int) -> DataError:
    return _refusal(
        f"the picture declares {declared}, over the limit of {pixel_limit:,} pixels",
        path,
        remedy="Make it smaller, or raise data.pixel_limit if you trust the file.",
    )


@contextmanager
def _refusing_damage(path: Path, data: bytes) -> Generator[None]:
    """Turn Pillow's many ways of saying "damaged" into one refusal; never let it fill up what is missing."""
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    except UnidentifiedImageError as error:
        raise _refusal(_what_it_is(data), path, remedy="Save it as JPEG, PNG, WebP or BMP.") from error
    except _DAMAGE as error:
        raise _refusal(_damage(error), path, remedy="Copy it again from where it came, or save it anew.") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _damage(error: Exception) -> str:
    said = shown(str(error))
    if "truncated" in said.lower() or isinstance(error, EOFError):
        return "the picture is cut off: its end is missing"
    return f"the picture is damaged: {said or type(error).__name__}"


def _what_it_is(data: bytes) -> str:
    for signature, offset, name in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            return name
    if not data.strip(b"\0"):
        return "nothing but zero bytes, not a picture"
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a picture (a download went wrong)"
    return "text, not a picture" if _is_text(data[:512]) else "not a picture of a known kind"


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)


def _refuse_zero_filled_jpeg(data: bytes, path: Path) -> None:
    """A broken download of full length ends in zeros; libjpeg paints these grey without a word."""
    if data.startswith(b"\xff\xd8") and data.endswith(bytes(16)) and not _has_end_of_image(data):
        raise _refusal("the picture is cut off: zeros stand where its end should be", path)


def _has_end_of_image(data: bytes) -> bool:
    """Whether the end marker (FF D9) stands behind the first scan; thumbnails before it have one of their own."""
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return b"\xff\xd9" in data[position:]


def _orientation(opened: Image.Image) -> int:
    try:
        said: object = opened.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        said = None  # A damaged EXIF block says nothing about the pixels, which have been decoded whole.
    return said if isinstance(said, int) else 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    move = _UPRIGHT.get(orientation)
    return picture if move is None else picture.transpose(move)


def _over(colour: tuple[int, int, int], picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGBA", picture.size, (*colour, 255))
    return Image.alpha_composite(ground, picture).convert("RGB")


def _in_srgb(opened: Image.Image) -> Image.Image:
    """RGB, or RGBA where anything is transparent, 8 bits each, in sRGB."""
    picture = _in_eight_bits(opened)
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    opaque = picture.convert("L" if picture.mode == "LA" else "RGB") if alpha is not None else picture
    colours = _through_profile(opaque, opened.info.get("icc_profile"))
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def _in_eight_bits(opened: Image.Image) -> Image.Image:
    """One of the modes L, LA, RGB, RGBA, CMYK."""
    if opened.mode.startswith("I"):
        return _from_sixteen_bits(opened)
    if opened.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and "transparency" not in opened.info:
        return opened
    if opened.has_transparency_data:
        return opened.convert("RGBA")
    return opened.convert("L" if opened.mode == "1" else "RGB")


def _from_sixteen_bits(opened: Image.Image) -> Image.Image:
    """Pillow's own conversion clips 16-bit grey at 255, which leaves nearly all of it white; this one scales."""
    values = np.asarray(opened).astype(np.int64).clip(0, 65535)
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    clear = opened.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _through_profile(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The RGB picture in sRGB, following its embedded profile where it has a usable one."""
    if profile:
        try:
            return _converted(picture, ImageCms.ImageCmsProfile(BytesIO(profile)))
        except (ImageCms.PyCMSError, OSError) as error:
            # Also a whole profile of another colour space than the picture's, which littlecms will not convert from.
            _log.info("an embedded colour profile cannot be used and is ignored: %s", shown(str(error)))
    return picture.convert("RGB")


def _converted(picture: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        picture,
        source,
        _srgb(),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None, "a new picture is asked for, so one comes back"
    return converted


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _refusal(reason: str, path: Path, *, remedy: str | None = None) -> DataError:
    return DataError(reason, where=shown(path, limit=300), remedy=remedy)
