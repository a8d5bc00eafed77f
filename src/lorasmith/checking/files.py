"""Owns what a picture's file says besides its pixels: format, camera's notes, colours, frames; changes no file."""
# Pillow and littlecms are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
}
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError, struct.error, zlib.error)
"""What Pillow raises on damaged notes of a picture whose pixels are whole."""
_RATHER_CLEAR = 250


@dataclass(frozen=True)
class FileFacts:
    """What a readable picture's file says of itself."""

    format: str
    mode: str
    frames: int
    orientation: int
    """1 is upright (TIFF 6.0, tag 274)."""
    profile: str | None
    """Its colour profile, by name, unless it is sRGB or grey."""
    clear: float
    """Share of its pixels that are not opaque."""
    has_location: bool


def read_facts(path: Path) -> FileFacts | None:
    """What the file says besides its pixels; None when it is nothing that is read. Decode it first, to be safe."""
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with warnings.catch_warnings(), Image.open(path, formats=list(_SUFFIXES)) as opened:
            warnings.simplefilter("ignore")
            return _facts(opened)
    except _DAMAGE:
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def right_suffix(path: Path, format: str) -> str | None:
    """The suffix that the format goes by, if the file has that of another one."""
    usual = _SUFFIXES.get(format, ())
    return None if not usual or path.suffix.lower() in usual else usual[0]


def _facts(opened: Image.Image) -> FileFacts:
    # A JPEG with a second picture in it (a phone's depth map) opens as MPO.
    format = "JPEG" if opened.format == "MPO" else opened.format or ""
    return FileFacts(
        format=format,
        mode=opened.mode,
        frames=int(getattr(opened, "n_frames", 1)) if format != "JPEG" else 1,
        orientation=_orientation(opened),
        profile=_profile(opened),
        has_location=_has_location(opened),
        clear=_clear(opened),
    )


def _orientation(opened: Image.Image) -> int:
    try:
        said: object = opened.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return 1
    return said if isinstance(said, int) and 1 <= said <= 8 else 1


def _has_location(opened: Image.Image) -> bool:
    try:
        place = opened.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    except _DAMAGE:
        return False
    return ExifTags.GPS.GPSLatitude in place


def _profile(opened: Image.Image) -> str | None:
    profile: object = opened.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile or opened.mode in ("L", "LA", "1"):
        return None
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, *_DAMAGE):
        return "damaged"
    return None if "srgb" in name.lower() else name or "unnamed"


def _clear(opened: Image.Image) -> float:
    if not opened.has_transparency_data:
        return 0.0
    opened.load()
    alpha = np.asarray(opened.convert("RGBA").getchannel("A"))
    return float(np.mean(alpha < _RATHER_CLEAR))
