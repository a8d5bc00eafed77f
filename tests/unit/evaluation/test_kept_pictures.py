"""Drawn pictures are kept by what they depend on, and by nothing else."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lorasmith.evaluation import drawing
from lorasmith.evaluation.drawing import Brush, Easel, PictureCache
from lorasmith.evaluation.examination import Shot
from lorasmith.events import ignore
from lorasmith.inference.draw import DrawRequest
from lorasmith.tokens.vocabulary import TokenVocabulary

WITH, ALONE = Shot("prompt", 0, "a TOK emoji", 7, 1.0), Shot("prompt", 0, "a dog emoji", 7, None)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[DrawRequest]:
    """What was drawn; each picture says by its colours what it was drawn from."""
    requests = list[DrawRequest]()

    def draw(pipeline: Any, wanted: Sequence[DrawRequest], **_: Any) -> list[Image.Image]:
        del pipeline
        requests.extend(wanted)
        return [
            Image.new("RGB", (8, 8), (one.seed % 256, len(one.prompt), int(10 * one.settings.scale))) for one in wanted
        ]

    monkeypatch.setattr(drawing, "draw", draw)
    return requests


def easel(
    folder: Path | None, *, fingerprint: str = "base", steps: int = 8, cache: PictureCache | None = None
) -> Easel:
    pipeline: Any = SimpleNamespace(unet=SimpleNamespace(dtype="float32"))
    return Easel(pipeline, fingerprint, cache or PictureCache(folder), Brush(steps, 4.0, 4), ignore)


def test_a_picture_is_drawn_once(drawn: list[DrawRequest], tmp_path: Path) -> None:
    first = easel(tmp_path).draw([WITH, ALONE], export="export")
    second = easel(tmp_path).draw([WITH, ALONE], export="export")
    assert len(drawn) == 2
    assert [one.tobytes() for one in first.by_shot.values()] == [one.tobytes() for one in second.by_shot.values()]


@pytest.mark.parametrize(
    "change",
    [{"export": "other"}, {"fingerprint": "other"}, {"steps": 9}, {"seed": 8}, {"scale": 0.5}, {"text": "a TOK"}],
)
def test_whatever_a_picture_depends_on_has_it_drawn_anew(
    change: dict[str, Any], drawn: list[DrawRequest], tmp_path: Path
) -> None:
    easel(tmp_path).draw([WITH], export="export")
    told: dict[str, Any] = {"seed": 7, "scale": 1.0, "text": "a TOK emoji", **change}
    shot = Shot("prompt", 0, told["text"], told["seed"], told["scale"])
    other = easel(tmp_path, fingerprint=told.get("fingerprint", "base"), steps=told.get("steps", 8))
    other.draw([shot], export=told.get("export", "export"))
    assert len(drawn) == 2


def test_the_base_s_pictures_serve_every_export(drawn: list[DrawRequest], tmp_path: Path) -> None:
    easel(tmp_path).draw([ALONE], export="one")
    easel(tmp_path).draw([ALONE], export="two")
    assert len(drawn) == 1


def test_one_picture_under_two_roles_is_drawn_once(drawn: list[DrawRequest]) -> None:
    other = Shot("class_word", 0, ALONE.text, ALONE.seed, None)
    found = easel(None).draw([ALONE, other])
    assert len(drawn) == 1
    assert len(found.by_shot) == 2


def test_token_abstractions_are_written_out_with_the_concept_and_left_alone_without(drawn: list[DrawRequest]) -> None:
    vocabulary = TokenVocabulary.of(["TOK"], per_abstraction=2)
    easel(None).draw([WITH, Shot("prompt", 0, "a TOK emoji", 7, None)], vocabulary=vocabulary)
    assert {one.prompt for one in drawn} == {"a <s0><s1> emoji", "a TOK emoji"}


def test_a_damaged_file_is_drawn_anew(drawn: list[DrawRequest], tmp_path: Path) -> None:
    easel(tmp_path).draw([WITH])
    (kept,) = tmp_path.rglob("*.png")
    kept.write_bytes(kept.read_bytes()[:20])
    again = easel(tmp_path).draw([WITH])
    assert len(drawn) == 2
    assert again.by_shot[WITH].size == (8, 8)


def test_a_full_disk_costs_the_keeping_only(
    drawn: list[DrawRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawing, "write_whole", full)
    cache = PictureCache(tmp_path)
    found = easel(None, cache=cache).draw([WITH, ALONE])
    assert len(found.by_shot) == len(drawn) == 2
    assert cache.drawn == 2
