"""Owns what measured numbers mean: from how many pixels on an edge is blurred, how much white is too much."""

from pathlib import Path

from lorasmith.checking.crops import Crop
from lorasmith.checking.examine import Examination
from lorasmith.checking.files import FileFacts, right_suffix
from lorasmith.checking.findings import Finding, Kind
from lorasmith.checking.measures import SHORT_SIDE, Measures
from lorasmith.data.wording import shown
from lorasmith.sizes import Size

SOFT_EDGE, VERY_SOFT_EDGE = 1.75, 2.75
"""Pixels of blur at a short side of `SHORT_SIDE`. Whole photographs have 0.3 to 0.9, a Gaussian blur of 2 makes 2."""
_AT_END = 0.335
"""Share of white and blown pixels from which on a picture may be over-exposed; whole photographs have less."""
_BLOWN, _BLOWN_OF_A_PHOTOGRAPH = 0.39, 0.042
"""At the end of the range, times the share of shades that are: strong colours of drawings look blown here and there."""
_FLAT_OF_A_DRAWING = 0.4
_PAPER, _BORDER_OF_PAPER = 0.4, 75.0
"""From which share of white on, and from which step at its border on, a picture is one on white paper."""
_ALL_WHITE = 0.985
_DARK = 90.0
_LEAST_DETAIL = 0.0008
_SMALL_EXTENT = 0.1
_MOSTLY_WHITE = 0.5
_ENLARGED_A_LITTLE, _ENLARGED_MUCH = 1.1, 2.0
_THIN = 20
_LOST_AREA, _LOST_SIGHT = 0.2, 0.25

_UPRIGHT = 1


def picture_findings(path: Path, seen: Examination, crop: Crop | None) -> list[Finding]:
    """Everything that is to be said of one picture by itself."""
    name = _on_name(path)
    if seen.size is None or seen.measures is None:
        reason = seen.refusal or "it cannot be read"
        return [*name, Finding(Kind.UNREADABLE, "leave_out", reason, seen.remedy or "Leave it out, or save it anew.")]
    of_file = [] if seen.facts is None else _on_file(path, seen.facts)
    if _is_thin(seen.size):
        reason = f"{seen.size} pixels are over {_THIN}:1, and such pictures are not trained on"
        return [*name, *of_file, Finding(Kind.THIN, "leave_out", reason, "Cut the part that is meant out of it.")]
    return [*name, *of_file, *_on_pixels(seen.measures), *_on_size(seen.size, seen.measures, crop)]


def face_findings(heights: tuple[float, ...], *, is_about_a_face: bool) -> list[Finding]:
    """What the faces in a picture of a person say; more than one blurs who is meant."""
    if len(heights) > 1:
        reason = f"{len(heights)} faces were found in it"
        return [Finding(Kind.SEVERAL_FACES, "look", reason, "Cut the others out of it, or leave it out.")]
    if not heights and is_about_a_face:
        reason = "no face was found in it; the detector may have missed one"
        return [Finding(Kind.NO_FACE, "note", reason, "See that the face can be seen in it.")]
    return []


def _on_name(path: Path) -> list[Finding]:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        reason = "its name is not UTF-8, so no caption and no record can name it"
        return [Finding(Kind.UNUSABLE_NAME, "leave_out", reason, "Rename the file.")]
    return []


def _is_thin(size: Size) -> bool:
    return max(size) > _THIN * min(size)


def _on_file(path: Path, facts: FileFacts) -> list[Finding]:
    found: list[Finding] = []
    suffix = right_suffix(path, facts.format)
    if suffix is not None:
        said = shown(path.suffix) or "no extension"
        reason = f"its bytes are {facts.format}, its name says {said}"
        remedy = f"Rename it to {suffix}; lorasmith reads it all the same, other programs may not."
        found.append(Finding(Kind.WRONG_EXTENSION, "note", reason, remedy))
    if facts.frames > 1:
        reason = f"it has {facts.frames} frames, and only the first is trained on"
        found.append(Finding(Kind.ANIMATED, "look", reason, "Save the frames that are meant as pictures."))
    if facts.clear > 0:
        reason = f"{facts.clear:.0%} of it is transparent, and data.background is put behind it"
        remedy = "Put a background behind it yourself; on one colour the model learns the colour as well."
        found.append(Finding(Kind.TRANSPARENT, "note", reason, remedy))
    return [*found, *_on_notes(facts)]


def _on_notes(facts: FileFacts) -> list[Finding]:
    found: list[Finding] = []
    if facts.orientation != _UPRIGHT:
        reason = f"its EXIF orientation is {facts.orientation}; it is trained on upright, as viewers show it"
        found.append(Finding(Kind.TURNED, "note", reason, "See that the picture here stands as it should."))
    if facts.mode == "CMYK" or facts.profile:
        space = "CMYK, as for print" if facts.mode == "CMYK" else f"the profile {shown(facts.profile or '')!r}"
        reason = f"its colours are in {space}; they are converted to sRGB"
        found.append(Finding(Kind.COLOUR_PROFILE, "note", reason, "See that its colours are right here."))
    if facts.has_location:
        reason = "its EXIF data says where it was taken"
        remedy = "No export holds it; take it out before you share the pictures themselves."
        found.append(Finding(Kind.LOCATION, "note", reason, remedy))
    return found


def _on_pixels(measures: Measures) -> list[Finding]:
    # A small thing on a coloured ground has too few shades to tell its light by.
    is_far_away = 0 < measures.extent < _SMALL_EXTENT and measures.white < _MOSTLY_WHITE
    light = _on_darkness(measures) or ([] if is_far_away else _on_brightness(measures))
    if light:
        return light
    soft = _on_sharpness(measures)
    if soft:
        return soft
    if measures.edge_width is None and measures.detail < _LEAST_DETAIL:
        reason = f"{measures.detail:.2%} of it differs from what is beside it"
        return [Finding(Kind.LOW_DETAIL, "leave_out", reason, "Leave it out: there is nothing in it to learn.")]
    return _on_extent(measures)


def _on_extent(measures: Measures) -> list[Finding]:
    if measures.extent >= _SMALL_EXTENT:
        return []
    reason = f"all there is to see takes {measures.extent:.0%} of the picture"
    return [Finding(Kind.SMALL_SUBJECT, "look", reason, "Cut closer: most of its pixels teach nothing.")]


def _on_brightness(measures: Measures) -> list[Finding]:
    on_paper = measures.white > _PAPER and measures.border > _BORDER_OF_PAPER
    least = _BLOWN if on_paper or measures.flat > _FLAT_OF_A_DRAWING else _BLOWN_OF_A_PHOTOGRAPH
    is_blown = measures.at_end > _AT_END and measures.at_end * measures.blown > least
    if is_blown or measures.white > _ALL_WHITE:
        reason = f"{measures.at_end:.0%} of it is white or has lost its shades to white"
        return [Finding(Kind.OVEREXPOSED, "look", reason, "Take one that is less bright; what is lost stays lost.")]
    return []


def _on_darkness(measures: Measures) -> list[Finding]:
    if measures.brightest < _DARK:
        reason = f"of 255 levels of brightness it uses {measures.brightest:.0f}"
        return [Finding(Kind.UNDEREXPOSED, "look", reason, "Brighten it, or take another one.")]
    return []


def _on_sharpness(measures: Measures) -> list[Finding]:
    width = measures.edge_width
    if width is None or width < SOFT_EDGE:
        return []
    reason = f"its sharpest edges are blurred over {width:.1f} pixels (at {SHORT_SIDE} pixels; sharp ones have under 1)"
    remedy = "Leave it out: a few sharp pictures teach more than many soft ones."
    return [Finding(Kind.BLURRED, "leave_out" if width >= VERY_SOFT_EDGE else "look", reason, remedy)]


def _on_size(size: Size, measures: Measures, crop: Crop | None) -> list[Finding]:
    if crop is None:
        return []
    return [*_on_enlarging(size, crop), *_on_what_is_lost(measures, crop)]


def _on_enlarging(size: Size, crop: Crop) -> list[Finding]:
    factor = crop.enlarged
    if factor <= _ENLARGED_A_LITTLE:
        return []
    reason = f"{size} pixels are enlarged {factor:.1f} times to be trained at {crop.target}"
    remedy = "Take a larger original, or train at a lower data.resolution; do not enlarge it by hand."
    return [Finding(Kind.SMALL, "leave_out" if factor > _ENLARGED_MUCH else "look", reason, remedy)]


def _on_what_is_lost(measures: Measures, crop: Crop) -> list[Finding]:
    seen = crop.share_seen(measures.outlines)
    if crop.lost < _LOST_AREA or 1 - seen < _LOST_SIGHT:
        return []
    reason = f"the crop to {crop.target} leaves out {crop.lost:.0%} of it, with {1 - seen:.0%} of what is to see"
    remedy = "Set data.buckets, which keeps shapes, or cut it yourself."
    return [Finding(Kind.CUT_OFF, "look", reason, remedy)]
