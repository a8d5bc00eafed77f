"""The report shows every number with what it means; words from files cannot do anything in it."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from lorasmith.errors import ConfigError
from lorasmith.evaluation.intervals import Estimate
from lorasmith.evaluation.report import render, write_report
from lorasmith.evaluation.scores import EXPLAINED, Evaluation, PictureRow, Score, across_concepts, as_records

Make = Callable[..., Evaluation]
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_each_score_comes_with_its_meaning_its_interval_and_the_base_s(evaluation: Make) -> None:
    page = render([evaluation()])
    assert EXPLAINED["joint"].meaning.split(":")[0] in page
    for said in ("0.62", "0.50 to 0.73", "base 0.02", "true pictures 1.00", "50 pictures of 25 prompts"):
        assert said in page
    assert "Leakage" not in page


def test_hostile_words_stay_words(evaluation: Make) -> None:
    picture = Image.new("RGB", (8, 8))
    row = PictureRow(HOSTILE, picture, [picture], [picture], [True])
    page = render(
        [
            evaluation(
                name=HOSTILE, concept=HOSTILE, base=HOSTILE, read_by=HOSTILE, notes=[HOSTILE], rows=[row],
                factors=[(HOSTILE, Estimate(0.5, None, None, 1))],
                scores=[Score("joint", Estimate(0.5, None, None, 1), HOSTILE)],
            )
        ]
    )  # fmt: skip
    tags = Tags(page).found
    assert not [tag for tag, _ in tags if tag in ("script", "iframe", "link")]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert all((attributes["src"] or "").startswith("data:image/") for tag, attributes in tags if tag == "img")
    assert "default-src 'none'" in page


def test_pictures_stand_beside_the_truth_and_the_base_s_with_their_verdict(evaluation: Make) -> None:
    pictures = [attributes for tag, attributes in Tags(render([evaluation()])).found if tag == "img"]
    assert len(pictures) == 4
    truth, base, right, wrong = pictures
    assert truth["src"] == right["src"]
    assert base["src"] == wrong["src"]
    assert (right["class"], wrong["class"]) == ("right", "wrong")
    assert truth.get("class") is None


def test_several_exports_stand_side_by_side(evaluation: Make) -> None:
    other = evaluation(name="dog-run", scores=[Score("joint", Estimate(0.41, None, None, 25), "25 pictures")])
    page = render([evaluation(), other])
    assert page.count("<th>dog-run (1)</th>") == page.count("<th>dog-run (2)</th>") == 2
    assert "0.62" in page
    assert "0.41" in page
    assert "not measured" in page
    assert page.count("a TOK emoji</p>") == 1


def test_a_page_of_ours_is_replaced_and_another_file_is_not(evaluation: Make, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    write_report([evaluation()], path)
    write_report([evaluation(name="second")], path)
    assert "second" in path.read_text(encoding="utf-8")
    foreign = tmp_path / "index.html"
    foreign.write_text("<html>mine</html>")
    with pytest.raises(ConfigError, match=r"index\.html is not a report of ours"):
        write_report([evaluation()], foreign)
    assert foreign.read_text() == "<html>mine</html>"


def test_json_holds_every_number_and_no_nan(evaluation: Make) -> None:
    broken = Score("variety", Estimate(float("nan"), None, None, 0), "nothing")
    made = evaluation()
    record = as_records([evaluation(scores=[*made.scores, broken])])
    told = json.loads(json.dumps(record, allow_nan=False))
    assert told["version"] == 1
    (one,) = told["evaluations"]
    assert one["scores"]["joint"] == {
        "value": 0.62, "low": 0.5, "high": 0.73, "groups": 25, "base": 0.02, "ceiling": 1.0, "better": "higher",
        "measured_on": "50 pictures of 25 prompts", "meaning": EXPLAINED["joint"].meaning,
    }  # fmt: skip
    assert one["scores"]["variety"]["value"] is None
    assert one["curve"][0] == {
        "scale": 0.4, "joint": 0.2, "fidelity": None, "prompt_following": None, "class_word_identity": None,
        "likeness": None, "change": None,
    }  # fmt: skip
    assert one["factors"]["background"]["value"] == 0.9
    assert "rows" not in one


def test_several_concepts_have_a_mean_whose_groups_are_concepts(evaluation: Make) -> None:
    def of(concept: str, value: float) -> Evaluation:
        return evaluation(concept=concept, scores=[Score("joint", Estimate(value, None, None, 25), "25 pictures")])

    evaluations = [of("dog", 0.2), of("dog", 0.4), of("robot", 0.6), of("octopus", 0.8)]
    found = across_concepts(evaluations)["joint"]
    assert (found.value, found.groups) == (0.5, 3)
    assert as_records(evaluations)["across_concepts"]["joint"]["groups"] == 3
    page = render(evaluations)
    assert "all concepts" in page
    assert "mean over 3 concepts" in page
    assert across_concepts(evaluations[:2]) == {}
    assert "all concepts" not in render(evaluations[:2])


def test_every_score_is_explained_in_a_sentence() -> None:
    for explained in EXPLAINED.values():
        assert re.fullmatch(r"[A-Z1].+\.", explained.meaning)


def test_a_score_is_found_by_name_and_what_is_missing_says_what_there_is(evaluation: Make) -> None:
    assert evaluation().value("joint") == 0.62
    assert evaluation().find("leakage") is None
    with pytest.raises(KeyError, match="there are joint, class_word_drift"):
        evaluation().value("leakage")
