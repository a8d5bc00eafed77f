"""The page on merges: what it shows, what it escapes, what it replaces."""

from pathlib import Path

import pytest
from PIL import Image

from lorasmith.errors import ConfigError
from lorasmith.merging.report import Candidate, MergeReport, PictureRow, render, write_report

HOSTILE = "<script>alert(1)</script>"


def page(**changed: object) -> MergeReport:
    """Two candidates, two prompts, a picture each."""
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    fields: dict[str, object] = {
        "title": "both",
        "parents": ["dog", HOSTILE],
        "candidates": [
            Candidate("base", "as it is", (1.0, 1.0), (0.0, 0.25)),
            Candidate("zip", "rank 8", (0.16, 0.22)),
        ],
        "rows": [
            PictureRow("a TOK in TOK2 style", [[red], [blue]], [[None], [True]]),
            PictureRow(HOSTILE, [[red], [red]]),
        ],
        "share_names": ["subject right", "both right"],
    }
    return MergeReport(**{**fields, **changed})  # pyright: ignore[reportArgumentType]


def test_every_candidate_prompt_and_number_is_there() -> None:
    html = render(page())
    assert all(
        text in html for text in ("a TOK in TOK2 style", "0.16", "0.22", "1.00", "25 %", "rank 8", "subject right")
    )
    assert html.count("<img") == 4
    assert html.count('class="right"') == 1


def test_names_and_prompts_are_shown_and_never_run() -> None:
    html = render(page(title=HOSTILE, notes=[HOSTILE], words=[HOSTILE]))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 5


def test_the_page_stands_alone() -> None:
    html = render(page())
    assert "http://" not in html.replace("data:image", "")
    assert "https://" not in html
    assert "default-src 'none'" in html


def test_what_was_not_measured_is_said_to_be() -> None:
    assert "not measured" in render(page(candidates=[Candidate("base"), Candidate("zip")], share_names=[]))


def test_a_page_of_ours_is_replaced_and_no_other_file(tmp_path: Path) -> None:
    own, foreign = tmp_path / "own.html", tmp_path / "foreign.html"
    write_report(page(), own)
    write_report(page(title="again"), own)
    assert "again" in own.read_text()
    foreign.write_text("<p>mine</p>")
    with pytest.raises(ConfigError, match="not a report of ours"):
        write_report(page(), foreign)
    assert foreign.read_text() == "<p>mine</p>"
