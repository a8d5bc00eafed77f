"""Owns folders with defects planted in them on purpose, and how many of them a check found; knows no check.

What is planted is the defect, not the number that a check measures: a picture is blurred, not given soft edges.
"""
# Pillow is typed in part only.
# pyright: reportUnknownMemberType=false

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFilter

Levels = NDArray[np.float64]


@dataclass
class Corpus:
    """A folder, the defects planted in it by the picture's id, and the pictures of which either may be found."""

    folder: Path
    planted: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    twins: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Score:
    """How well one kind of defect is found."""

    kind: str
    planted: int
    found: int
    wrong: int

    @property
    def recall(self) -> float:
        """Share of the planted defects that were found."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """Share of what was found that had been planted."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else 1.0


def plant(folder: Path, sources: Sequence[Image.Image], plan: Sequence[str | None], *, seed: int = 0) -> Corpus:
    """Write each source with the defect of the same place in `plan` (None: as it is), each with a caption of its own.

    `DEFECTS` names what can be planted. Twins, as for copies, are written beside their source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(folder)
    for number, (source, defect) in enumerate(zip(sources, plan, strict=True)):
        rng = random.Random(f"{seed}/{number}")
        _write(corpus, f"{number:05d}", source.convert("RGB"), defect, rng)
    return corpus


def score(planted: Iterable[Corpus], found: Iterable[Mapping[str, Iterable[str]]]) -> list[Score]:
    """Each kind's score over several folders; `found` has the kinds found of each picture, a folder each.

    Kinds that were never planted are counted too: all that is found of them is wrong.
    """
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in DEFECTS.values()}
    for corpus, kinds in zip(planted, found, strict=True):
        _count(corpus, kinds, counts)
    return [Score(kind, count["planted"], count["found"], count["wrong"]) for kind, count in sorted(counts.items())]


def _count(corpus: Corpus, found: Mapping[str, Iterable[str]], counts: dict[str, Counter[str]]) -> None:
    pairs = {(name, kind) for name, kinds in corpus.planted.items() for kind in kinds}
    said = {(name, kind) for name, kinds in found.items() for kind in kinds}
    # Of twins either may be named: which is the better one is not what is asked here.
    said = {(corpus.twins.get(name, name) if kind in _OF_TWINS else name, kind) for name, kind in said}
    for _, kind in pairs:
        counts[kind]["planted"] += 1
    for name, kind in said:
        counts.setdefault(kind, Counter())["found" if (name, kind) in pairs else "wrong"] += 1


DEFECTS: Mapping[str, str] = {
    "blurred": "blurred",
    "moved": "blurred",
    "overexposed": "overexposed",
    "underexposed": "underexposed",
    "flat": "low_detail",
    "small": "small",
    "far_away": "small_subject",
    "off_centre": "cut_off",
    "thin": "thin",
    "cut_short": "unreadable",
    "other_bytes": "unreadable",
    "bomb": "unreadable",
    "wrong_extension": "wrong_extension",
    "turned": "turned",
    "transparent": "transparent",
    "for_print": "colour_profile",
    "animated": "animated",
    "located": "location",
    "copied": "copy",
    "nearly_copied": "near_duplicate",
    "uncaptioned": "no_caption",
    "empty_caption": "empty_caption",
    "same_caption": "same_caption",
    "tokenless": "no_token",
    "swallowed_token": "token_inside_word",
    "small_letters": "token_in_other_case",
    "wordy": "long_caption",
    "not_utf8": "caption_trouble",
}
"""What can be planted, and the kind of finding that it is to be found as."""

_OF_TWINS = frozenset({"copy", "near_duplicate"})


def _write(corpus: Corpus, name: str, source: Image.Image, defect: str | None, rng: random.Random) -> None:
    if defect is not None and defect in _ON_PIXELS:
        source = _ON_PIXELS[defect](source, rng)
    path = corpus.folder / f"{name}.png"
    if defect is not None and defect in _ON_FILES:
        path = _ON_FILES[defect](path, source, rng)
    elif rng.random() < 0.5:
        path = _saved(path.with_suffix(".jpg"), source, quality=rng.randint(88, 97))
    else:
        source.save(path)
    if defect is not None and defect in _ON_CAPTIONS:
        _ON_CAPTIONS[defect](path, rng)
    else:
        path.with_suffix(".txt").write_text(f"a photo of TOK number {name}\n")
    if defect is not None:
        corpus.planted[path.name] = {DEFECTS[defect]}
    if defect in ("copied", "nearly_copied"):
        _add_twin(corpus, path, source, defect, rng)


def _add_twin(corpus: Corpus, path: Path, source: Image.Image, defect: str, rng: random.Random) -> None:
    twin = path.with_name(f"{path.stem}b.jpg")
    if defect == "copied":
        twin = Path(shutil.copy(path, twin.with_suffix(path.suffix)))
    else:
        _saved(twin, _ALMOST[rng.randrange(len(_ALMOST))](source, rng), quality=rng.randint(80, 92))
    twin.with_suffix(".txt").write_text(f"a photo of TOK number {path.stem} again\n")
    corpus.twins[twin.name] = path.name


def _saved(path: Path, picture: Image.Image, *, quality: int = 92) -> Path:
    picture.save(path, "JPEG", quality=quality)
    return path


def _at_512(pixels: float, picture: Image.Image) -> float:
    """So many pixels of a picture with a short side of 512, in this picture's; small pictures are taken as they are."""
    return pixels * max(1.0, min(picture.size) / 512)


def _blurred(picture: Image.Image, rng: random.Random) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(_at_512(rng.uniform(2.3, 5.0), picture)))


def _moved(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The camera moved along a row or a column while the shutter was open."""
    length = round(_at_512(rng.uniform(10, 18), picture))
    axis = rng.randrange(2)
    values = np.asarray(picture, dtype=np.float64)
    widths = [(length // 2, length - 1 - length // 2) if one == axis else (0, 0) for one in range(3)]
    sums = np.cumsum(np.pad(values, widths, mode="edge"), axis=axis)
    sums = np.insert(sums, 0, 0, axis=axis)
    count = values.shape[axis]
    upper, lower = (np.take(sums, range(start, start + count), axis=axis) for start in (length, 0))
    return _picture((upper - lower) / length)


def _overexposed(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Twice the light again and again, until most of what had shades has lost them in at least two channels."""
    shades = _shades(picture)
    wanted = rng.uniform(0.5, 0.8)
    for stops in np.arange(1.0, 12.0, 0.25):
        bright = _exposed(picture, float(stops))
        lost = np.sort(np.asarray(bright), axis=2)[:, :, 1] >= 253
        if np.mean(lost[shades]) >= wanted:
            return bright
    raise ValueError("the picture is black")


def _shades(picture: Image.Image) -> NDArray[np.bool_]:
    """Where a pixel differs from the one beside it, and white paper does not."""
    levels = np.asarray(picture.convert("L"), dtype=np.float64)
    differences = np.abs(np.diff(levels, axis=1, append=levels[:, -1:]))
    return (differences > 2) & (levels < 245)


def _underexposed(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Half the light again and again, until hardly a pixel is brighter than a quarter."""
    wanted = rng.uniform(40, 75)
    for stops in np.arange(-1.0, -12.0, -0.25):
        dark = _exposed(picture, float(stops))
        if np.quantile(np.asarray(dark).max(axis=2), 0.995) <= wanted:
            return dark
    raise ValueError("the picture stays bright")


def _exposed(picture: Image.Image, stops: float) -> Image.Image:
    """More or less light, as a camera does it: before the curve of sRGB (IEC 61966-2-1), cut at white."""
    values = np.asarray(picture, dtype=np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    lit = np.clip(linear * 2**stops, 0, 1)
    return _picture(255 * np.where(lit <= 0.0031308, lit * 12.92, 1.055 * lit ** (1 / 2.4) - 0.055))


def _flat(picture: Image.Image, rng: random.Random) -> Image.Image:
    """A wall, a sky or soft clouds where the picture was."""
    if rng.random() < 0.3:
        return Image.new("RGB", picture.size, tuple(rng.randrange(40, 220) for _ in range(3)))
    cells = rng.choice((2, 3, 4))
    levels = np.random.default_rng(rng.randrange(2**32)).uniform(60, 200, (cells, cells, 3))
    return _picture(levels).resize(picture.size, Image.Resampling.BICUBIC)


def _small(picture: Image.Image, rng: random.Random) -> Image.Image:
    scale = rng.uniform(0.25, 0.45) * _side_trained_at(picture) / min(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _side_trained_at(picture: Image.Image) -> int:
    """256 or 512: corpora of small and of real pictures are checked for these."""
    return 256 if min(picture.size) < 512 else 512


def _far_away(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture itself, small, somewhere on a plain ground."""
    side = rng.uniform(0.12, 0.22)
    small = picture.resize((round(picture.width * side), round(picture.height * side)), Image.Resampling.LANCZOS)
    ground = Image.new("RGB", picture.size, tuple(rng.randrange(90, 250) for _ in range(3)))
    place = (rng.randrange(ground.width - small.width), rng.randrange(ground.height - small.height))
    ground.paste(small, place)
    return ground


def _off_centre(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture at one end of a long one that is plain otherwise."""
    long = Image.new("RGB", (round(picture.width * 2.4), picture.height), tuple(rng.randrange(90, 250) for _ in "rgb"))
    long.paste(picture, (rng.choice((0, long.width - picture.width)), 0))
    return long.transpose(Image.Transpose.ROTATE_90) if rng.random() < 0.3 else long


def _thin(picture: Image.Image, rng: random.Random) -> Image.Image:
    return picture.crop((0, 0, picture.width, max(1, picture.width // rng.randint(22, 30))))


_ON_PIXELS: Mapping[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "blurred": _blurred, "moved": _moved, "overexposed": _overexposed, "underexposed": _underexposed, "flat": _flat,
    "small": _small, "far_away": _far_away, "off_centre": _off_centre, "thin": _thin,
}  # fmt: skip


def _picture(levels: Levels) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(levels, 0, 255)).astype(np.uint8))


def _cut_short(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    content = BytesIO()
    format = rng.choice(("JPEG", "PNG", "WEBP"))
    picture.save(content, format)
    data = content.getvalue()
    path = path.with_suffix({"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}[format])
    path.write_bytes(data[: int(len(data) * rng.uniform(0.1, 0.9))])
    return path


def _other_bytes(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    gif = BytesIO()
    picture.save(gif, "GIF")
    choices = (b"", b"<!doctype html><title>Not found</title>", bytes(5000), rng.randbytes(4000), gif.getvalue())
    path.write_bytes(choices[rng.randrange(len(choices))])
    return path


def _bomb(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    """A picture of a few bytes that declares hundreds of millions of pixels."""
    content = BytesIO()
    picture.resize((8, 8)).save(content, "BMP")
    data = bytearray(content.getvalue())
    side = rng.randint(12_000, 40_000)
    data[18:26] = side.to_bytes(4, "little") * 2
    path = path.with_suffix(".bmp")
    path.write_bytes(bytes(data))
    return path


def _wrong_extension(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    suffix, format = rng.choice(((".png", "JPEG"), (".jpg", "PNG"), (".png", "WEBP"), (".webp", "JPEG")))
    path = path.with_suffix(suffix)
    picture.save(path, format)
    return path


def _turned(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = rng.randint(2, 8)
    path = path.with_suffix(".jpg")
    picture.save(path, exif=exif, quality=95)
    return path


def _transparent(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    clear = picture.convert("RGBA")
    side = round(min(picture.size) * rng.uniform(0.1, 0.2))
    clear.paste((0, 0, 0, 0), (0, 0, side, side))
    clear.save(path)
    return path


def _for_print(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    path = path.with_suffix(".jpg")
    picture.convert("CMYK").save(path, quality=rng.randint(92, 97))
    return path


def _animated(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    path = path.with_suffix(rng.choice((".webp", ".png")))
    picture.save(path, save_all=True, append_images=[picture.rotate(180)], duration=100)
    return path


def _located(path: Path, picture: Image.Image, rng: random.Random) -> Path:
    exif = Image.Exif()
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef] = "N"
    place[ExifTags.GPS.GPSLatitude] = (float(rng.randint(1, 80)), 30.0, 0.0)
    path = path.with_suffix(".jpg")
    picture.save(path, exif=exif, quality=95)
    return path


_ON_FILES: Mapping[str, Callable[[Path, Image.Image, random.Random], Path]] = {
    "cut_short": _cut_short, "other_bytes": _other_bytes, "bomb": _bomb, "wrong_extension": _wrong_extension,
    "turned": _turned, "transparent": _transparent, "for_print": _for_print, "animated": _animated,
    "located": _located,
}  # fmt: skip


def _smaller(picture: Image.Image, rng: random.Random) -> Image.Image:
    scale = max(rng.uniform(0.7, 0.95), _side_trained_at(picture) / min(picture.size))
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _cut_a_little(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Up to a tenth cut away around it, and back to its size."""
    width, height = (round(side * rng.uniform(0.9, 0.96)) for side in picture.size)
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height)).resize(picture.size, Image.Resampling.LANCZOS)


def _another_light(picture: Image.Image, rng: random.Random) -> Image.Image:
    return _exposed(picture, rng.choice((-0.4, -0.25, 0.25, 0.4)))


def _mirrored(picture: Image.Image, rng: random.Random) -> Image.Image:
    del rng
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


_ALMOST = (_smaller, _cut_a_little, _another_light, _mirrored)


def _uncaptioned(path: Path, rng: random.Random) -> None:
    del path, rng


def _empty(path: Path, rng: random.Random) -> None:
    path.with_suffix(".txt").write_text(rng.choice(("", "\n", "   \n")))


def _same(path: Path, rng: random.Random) -> None:
    del rng
    path.with_suffix(".txt").write_text("a photo of TOK\n")


def _tokenless(path: Path, rng: random.Random) -> None:
    path.with_suffix(".txt").write_text(f"{rng.choice(('a photo of it', 'the thing'))}, number {path.stem}\n")


def _swallowed_token(path: Path, rng: random.Random) -> None:
    word = rng.choice(("TOKEN", "TOKs", "aTOK", "tokyo"))
    path.with_suffix(".txt").write_text(f"a photo of {word} number {path.stem}\n")


def _small_letters(path: Path, rng: random.Random) -> None:
    path.with_suffix(".txt").write_text(f"a photo of {rng.choice(('tok', 'Tok'))} number {path.stem}\n")


def _wordy(path: Path, rng: random.Random) -> None:
    words = " ".join(rng.choice(("red", "green", "small", "large", "old", "new")) for _ in range(rng.randint(75, 140)))
    path.with_suffix(".txt").write_text(f"a photo of TOK number {path.stem}, {words}\n")


def _not_utf8(path: Path, rng: random.Random) -> None:
    path.with_suffix(".txt").write_bytes(
        f"a photo of TOK number {path.stem} ".encode() + rng.choice((b"\xe9", b"\xff"))
    )


_ON_CAPTIONS: Mapping[str, Callable[[Path, random.Random], None]] = {
    "uncaptioned": _uncaptioned, "empty_caption": _empty, "same_caption": _same, "tokenless": _tokenless,
    "swallowed_token": _swallowed_token, "small_letters": _small_letters, "wordy": _wordy, "not_utf8": _not_utf8,
}  # fmt: skip
