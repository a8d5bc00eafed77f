"""Measures where lorasmith and the reference script differ, and writes both numbers into docs/.

`python tools/measure_differences.py` rewrites the table between the marks; what is measured, and how, is in
`tests/parity/both_numbers.py`, whose tests say when the page is out of date.
"""

import importlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from write_option_docs import BEGIN, DOCS, END

from lorasmith.testing import tiny_pipeline

PARITY = DOCS.parent / "tests" / "parity"
PAGE = DOCS / "differences-from-diffusers.md"
NAME = "both numbers"

sys.path.insert(0, str(PARITY))
both_numbers, measured = (importlib.import_module(name) for name in ("both_numbers", "measured"))


def table() -> Iterator[str]:
    """The table of both numbers, measured now on a base made for it."""
    with tempfile.TemporaryDirectory() as folder:
        base = tiny_pipeline(Path(folder) / "base")
        yield from both_numbers.HEADER
        for number, measure in enumerate(both_numbers.MEASURES):
            place = Path(folder) / str(number)
            place.mkdir()
            yield from both_numbers.lines(measured.Bench(base, place), measure)


def main() -> None:
    """Rewrite the page's table."""
    text = PAGE.read_text(encoding="utf-8")
    begin = BEGIN.format(name=NAME)
    fresh = f"{begin}\n\n" + "\n".join(table()) + f"\n\n{END}"
    text, count = re.subn(f"{re.escape(begin)}.*?{re.escape(END)}", lambda _: fresh, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE} has {count} parts marked {NAME!r}; it needs one")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
