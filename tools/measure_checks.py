"""Measures how well `lorasmith check` finds defects that were planted, and writes the table into docs/checking.md.

`python tools/measure_checks.py` plants 20 of each defect beside 200 clean pictures of the emoji world and rewrites the
table between the marks. `python tools/measure_checks.py FOLDER` plants them in the photographs of a folder instead (of
different subjects, large and good ones) and only prints: photographs are not ours to ship. How defects are planted is
in `lorasmith.testing.planted_defects`.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from write_option_docs import BEGIN, DOCS, END

from lorasmith.checking.findings import TITLES, Kind
from lorasmith.config.train import TrainConfig
from lorasmith.runs.check import CheckWish, check
from lorasmith.testing.planted_defects import Corpus, Score, score
from lorasmith.testing.planted_folders import PHOTOGRAPH_RESOLUTION, SIDE, made_folder, photograph_folders

PAGE = DOCS / "checking.md"
NAME = "planted defects"
EACH, CLEAN = 20, 200
_LARGEST_SIDE = 800


def measured(corpora: Sequence[Corpus], resolution: int) -> list[Score]:
    """The score of each kind, over all folders."""
    found = [kinds_found(corpus.folder, resolution) for corpus in corpora]
    return score(corpora, found)


def kinds_found(folder: Path, resolution: int) -> dict[str, set[str]]:
    """The kinds that a check finds of each picture of a folder."""
    config = TrainConfig.model_validate({"data": {"instance_images": folder, "resolution": resolution}})
    report = check(config, CheckWish(keep_results=False))
    return {picture.id: {str(finding.kind) for finding in picture.findings} for picture in report.pictures}


def table(scores: Sequence[Score]) -> Iterator[str]:
    """The scores as a table."""
    yield "| finding | planted | found | recall | precision |"
    yield "|---|---:|---:|---:|---:|"
    for one in scores:
        title = TITLES[Kind(one.kind)]
        yield f"| {title} | {one.planted} | {one.found} | {one.recall:.3f} | {one.precision:.3f} |"


def photographs_in(folder: Path) -> list[Image.Image]:
    """The photographs of a folder and its sub-folders, reduced."""
    pictures = [Image.open(path).convert("RGB") for path in sorted(folder.rglob("*.jpg"))]
    for picture in pictures:
        picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    return pictures


def main(arguments: Sequence[str]) -> None:
    """Print the table; rewrite the page's when it is of our own pictures."""
    with tempfile.TemporaryDirectory() as place:
        if arguments:
            corpora = photograph_folders(Path(place), photographs_in(Path(arguments[0])), each=EACH)
            lines = list(table(measured(corpora, PHOTOGRAPH_RESOLUTION)))
        else:
            lines = list(table(measured([made_folder(Path(place) / "made", each=EACH, clean=CLEAN)], SIDE)))
    sys.stdout.write("\n".join(lines) + "\n")
    if not arguments:
        _rewrite(lines)


def _rewrite(lines: Sequence[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin = BEGIN.format(name=NAME)
    fresh = f"{begin}\n\n" + "\n".join(lines) + f"\n\n{END}"
    text, count = re.subn(f"{re.escape(begin)}.*?{re.escape(END)}", lambda _: fresh, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE} has {count} parts marked {NAME!r}; it needs one")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
