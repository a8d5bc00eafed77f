"""Puts the tables of an experiments folder between the marks of docs/experiments.md."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from lorasmith.errors import ConfigError, DataError
from lorasmith.runs.experiment_tables import as_markdown, tables_of
from lorasmith.runs.proxies import agreements
from lorasmith.runs.proxies import as_markdown as proxies_as_markdown
from lorasmith.runs.regret import as_markdown as regret_as_markdown
from lorasmith.runs.regret import regrets

REGRET = {
    "regret": ("checkpoints", "checkpoints-by-pictures"),  # what the rules for checkpoints were first settled on
    "regret elsewhere": ("checkpoints-elsewhere",),  # what judges them
    "regret of hot runs": ("checkpoints-hot",),
}
"""The experiments that each table of regret is of."""
PAGE = Path(__file__).parents[1] / "docs" / "experiments.md"


def filled(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks of `name`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in page or end not in page:
        raise SystemExit(f"the page has no marks for {name}")
    pattern = re.escape(begin) + r".*?" + re.escape(end)
    return re.sub(pattern, lambda _: f"{begin}\n{text.strip()}\n{end}", page, flags=re.DOTALL)


def main(folder: Path) -> None:
    """Write all kinds of tables; regret and proxies are left as they are where there are no trials for them."""
    tables = [table for table in tables_of(folder) if not table.plan.name.startswith("checkpoints")]
    page = filled(PAGE.read_text(encoding="utf-8"), "tables", "\n".join(as_markdown(one) for one in tables))
    texts: dict[str, Callable[[], str]] = {
        name: lambda of=of: regret_as_markdown(regrets(folder, experiments=of), score="joint")
        for name, of in REGRET.items()
    }
    texts["proxies"] = lambda: proxies_as_markdown(agreements(folder))
    for name, text in texts.items():
        try:
            page = filled(page, name, text())
        except (ConfigError, DataError) as none:
            sys.stderr.write(f"{none}\n")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
