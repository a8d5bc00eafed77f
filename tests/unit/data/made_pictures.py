"""Owns the pictures and colour profiles that the data tests make; every byte is made here, none is copied."""
# Pillow and littlecms are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from lorasmith.data.examples import Example, Role
from lorasmith.sizes import Size

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save(picture: Image.Image, path: Path, **options: Any) -> Path:
    """Write the picture and give the path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def plain(colour: tuple[int, ...], *, width: int = 8, height: int = 8, mode: str = "RGB") -> Image.Image:
    """A picture of one colour."""
    return Image.new(mode, (width, height), colour)


def halves(left: tuple[int, int, int], right: tuple[int, int, int], *, side: int = 32) -> Image.Image:
    """A square whose left and right halves differ."""
    picture = plain(left, width=side, height=side)
    picture.paste(right, (side // 2, 0, side, side))
    return picture


def gradient(width: int, height: int) -> Image.Image:
    """Red says the column, green the row (both up to 255), blue is 0."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


def noise(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """A picture that does not compress, so that cutting its file cuts its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(width: int, height: int, *, bits: int, colour_type: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG put together by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg_bytes(picture: Image.Image) -> bytes:
    """The picture as a JPEG of high quality."""
    written = BytesIO()
    picture.save(written, "JPEG", quality=95)
    return written.getvalue()


def red_and_green_swapped() -> bytes:
    """A colour profile that is sRGB but for its red and green primaries, which have changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def cyan_ink_is_red() -> bytes:
    """A CMYK profile of an imaginary press: white paper, cyan ink that prints sRGB red, all other inks black."""
    # Lab in 8 bits, as ICC.1 writes it for lut8: L × 2.55, a + 128, b + 128. sRGB red (D50) is about 54, 81, 70.
    white, red, black = bytes((255, 128, 128)), bytes((138, 209, 198)), bytes((0, 128, 128))
    corners = [white] + [red if ink == 0b1000 else black for ink in range(1, 16)]
    identity = bytes(range(256))
    one = struct.pack(">9i", *(65536 if at in (0, 4, 8) else 0 for at in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + one + identity * 4 + b"".join(corners) + identity * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table})


def grey_is_linear() -> bytes:
    """A grey profile whose values are linear light, so that the middle grey is far brighter than sRGB's."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(4) + struct.pack(">I", 0)})


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    tags = {**tags, b"wtpt": b"XYZ " + bytes(4) + d50, b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0"}
    tags[b"desc"] += bytes(79)
    body, index, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        index += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s12s4s", size, bytes(4), 0x02400000, b"prtr", space, connection, bytes(12), b"acsp")
    header += bytes(28) + d50 + bytes(48)
    return header + struct.pack(">I", len(tags)) + index + body


def example(
    name: str = "a.png", *, size: Size = Size(64, 64), role: Role = Role.INSTANCE, caption: str = "TOK"
) -> Example:
    """An example of which no file is needed."""
    return Example(name, Path("pictures") / name, caption, role, size, f"bytes of {role} {name}")
