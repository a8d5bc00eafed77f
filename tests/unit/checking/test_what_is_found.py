"""What single pictures, captions and folders are found to be; each with the sibling that is fine."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lorasmith.checking.duplicates import groups_of, near_duplicates
from lorasmith.checking.findings import Kind
from lorasmith.checking.measures import measure
from lorasmith.checking.page import render
from lorasmith.checking.report import CheckReport, PictureReport, as_data, json_schema, read_left_out
from lorasmith.checking.sameness import SAME_BACKGROUND, SAME_POSE, sameness_of
from lorasmith.checking.sharpness import edge_width
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.runs.check import CheckWish, check, write_report
from lorasmith.testing import pictures
from lorasmith.testing.planted_folders import photograph
from lorasmith.world import REGIMES, find_concept, shipped_sprites, training_set
from lorasmith.world import render as drawn

Checked = Callable[..., CheckReport]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures with captions."""
    captions = [f"a photo of TOK in {colour}" for colour in ("red", "green", "blue", "white")]
    pictures(tmp_path / "pictures", 4, captions=captions)
    return tmp_path / "pictures"


@pytest.fixture
def checked(folder: Path) -> Checked:
    """The folder's report; options of `data` by name."""

    def look(wish: CheckWish | None = None, **data: object) -> CheckReport:
        config = {"data": {"instance_images": folder, "resolution": 64, **data}}
        return check(TrainConfig.model_validate(config), wish or CheckWish(keep_results=False))

    return look


def kinds(picture: PictureReport) -> set[Kind]:
    return {finding.kind for finding in picture.findings}


def test_pictures_with_captions_and_nothing_wrong_are_kept(checked: Checked) -> None:
    report = checked()
    assert [picture.verdict for picture in report.pictures] == ["keep"] * 4
    assert report.left_out == ()


def test_the_width_of_edges_grows_with_the_blur_and_does_not_mind_what_is_drawn() -> None:
    drawing = Image.new("L", (256, 256), 30)
    drawing.paste(200, (60, 60, 190, 190))
    grain = photograph(drawing.convert("RGB"), seed=1).convert("L")
    for picture in (drawing, grain):
        widths = [
            edge_width(np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32)) or 0.0
            for blur in (0, 1, 2, 3)
        ]
        assert widths == sorted(widths)
        assert 0 < widths[0] < 1
        assert widths[2] == pytest.approx(2, abs=0.5)


def test_a_picture_without_edges_has_no_width_of_them() -> None:
    assert measure(Image.new("RGB", (64, 64), "gray")).edge_width is None


def test_a_mirrored_picture_and_one_in_another_light_are_near_duplicates_and_a_third_is_none() -> None:
    concept = find_concept("teddy-bear")
    first, second = (
        drawn(example.scene, shipped_sprites(), side=128) for example in training_set(concept, count=2, seed=0)
    )
    mirrored = first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    darker = first.point([round(level * 0.85) for level in range(256)] * 3)
    pairs = near_duplicates([measure(one).thumb for one in (first, mirrored, second, darker)])
    assert {(pair.first, pair.second) for pair in pairs} >= {(0, 1), (0, 3)}
    assert {pair.is_mirrored for pair in pairs if (pair.first, pair.second) == (0, 1)} == {True}
    assert groups_of(pairs) == [(0, 1, 3)]


@pytest.mark.parametrize("regime", REGIMES)
def test_one_background_and_one_pose_are_told_from_several(regime: str) -> None:
    for name in ("teddy-bear", "parrot"):
        scenes = [one.scene for one in training_set(find_concept(name), count=8, seed=1, regime=regime)]  # pyright: ignore[reportArgumentType]
        sameness = sameness_of([measure(drawn(scene, shipped_sprites(), side=128)) for scene in scenes])
        assert sameness is not None
        assert (sameness.background < SAME_BACKGROUND) == (regime in ("same-background", "near-duplicates"))
        assert (sameness.outlines > SAME_POSE) == (regime in ("same-pose", "near-duplicates"))


def test_a_caption_without_a_picture_is_named(folder: Path, checked: Checked) -> None:
    (folder / "lost.txt").write_text("a photo of TOK")
    (finding,) = checked().findings
    assert finding.kind == Kind.ORPHAN_CAPTION
    assert finding.names == ("lost.txt",)


def test_the_unread_words_of_a_long_caption_are_shown_unless_they_are_read(folder: Path, checked: Checked) -> None:
    (folder / "picture-000.txt").write_text("a photo of TOK " + "very " * 80 + "purple")
    (finding,) = checked().pictures[0].findings
    assert finding.kind == Kind.LONG_CAPTION
    assert "purple" in finding.reason
    config = {"data": {"instance_images": folder, "resolution": 64}, "text": {"long_prompts": "chunks"}}
    report = check(TrainConfig.model_validate(config), CheckWish(keep_results=False))
    assert report.pictures[0].verdict == "keep"


def test_a_folder_without_captions_is_told_once_and_only_without_a_prompt(tmp_path: Path) -> None:
    pictures(tmp_path / "bare", 3)

    def found(prompt: str | None) -> list[Kind]:
        data = {"instance_images": tmp_path / "bare", "resolution": 64, "instance_prompt": prompt}
        report = check(TrainConfig.model_validate({"data": data}), CheckWish(keep_results=False))
        assert not any(kinds(picture) & {Kind.NO_CAPTION} for picture in report.pictures)
        return [finding.kind for finding in report.findings]

    assert found(None) == [Kind.NO_CAPTION]
    assert found("a photo of TOK") == []


def test_of_copies_one_is_kept(folder: Path, checked: Checked) -> None:
    (folder / "again.png").write_bytes((folder / "picture-001.png").read_bytes())
    (folder / "again.txt").write_text("a photo of TOK again")
    report = checked()
    assert report.duplicates == (("again.png", "picture-001.png"),)
    assert report.left_out == ("picture-001.png",)


def test_the_best_of_near_duplicates_is_kept(folder: Path, checked: Checked) -> None:
    best = photograph(Image.open(folder / "picture-002.png").resize((128, 128)), seed=3)
    best.save(folder / "large.png")
    best.resize((64, 64), Image.Resampling.LANCZOS).save(folder / "less.png")
    (group,) = checked(instance_prompt="a TOK").duplicates
    assert group[0] == "large.png"
    assert "less.png" in group


def test_what_the_crop_leaves_out_is_told_and_buckets_keep_it(folder: Path, checked: Checked) -> None:
    wide = Image.new("RGB", (160, 64), "beige")
    wide.paste(Image.open(folder / "picture-001.png"), (0, 0))
    wide.save(folder / "picture-001.png")
    assert kinds(checked().pictures[1]) == {Kind.CUT_OFF}
    with_buckets = checked(buckets=True)
    assert kinds(with_buckets.pictures[1]) == set()
    assert len(with_buckets.buckets) == 2


def test_pictures_are_judged_at_the_resolution_that_was_said(checked: Checked) -> None:
    assert {kind for picture in checked(resolution=256).pictures for kind in kinds(picture)} == {Kind.SMALL}


def test_without_a_detector_the_report_says_that_nobody_looked_for_faces(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorasmith.checking.faces.import_module", _nothing_installed)
    report = checked(CheckWish(concept="face", keep_results=False))
    assert "lorasmith[faces]" in report.notices[0]
    assert {one.standing for one in report.advice if one.topic == "Framing"} == {"unknown"}


def _nothing_installed(name: str) -> object:
    raise ImportError(name)


class ThreeFaces:
    """A detector that sees three faces everywhere."""

    name = "three"

    def heights(self, picture: Image.Image) -> tuple[float, ...]:
        del picture
        return (0.5, 0.2, 0.1)


def test_several_faces_are_found_where_a_detector_sees_them(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorasmith.runs.check.face_detector", lambda weights: ThreeFaces())  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    report = checked(CheckWish(concept="face", keep_results=False))
    assert all(kinds(picture) == {Kind.SEVERAL_FACES} for picture in report.pictures)
    assert [picture.faces for picture in report.pictures] == [3] * 4
    assert not checked().pictures[0].findings, "an object is not searched for faces"


def test_opencv_sees_no_face_in_plain_shapes(checked: Checked) -> None:
    pytest.importorskip("cv2")
    report = checked(CheckWish(concept="face", keep_results=False))
    assert report.notices == ()
    assert all(kinds(picture) == {Kind.NO_FACE} for picture in report.pictures)


def test_hostile_names_and_captions_are_harmless_in_the_page_and_exact_in_the_json(
    folder: Path, checked: Checked, tmp_path: Path
) -> None:
    data = (folder / "picture-000.png").read_bytes()
    names = ["<script>alert(1)<!--.png", "\x1b[31mred.png", "a\u202egnp.exe.png", "n" * 240 + ".png", "\n.png"]
    for name in names:
        (folder / name).write_bytes(data)
    not_utf8 = os.fsdecode(b"\xff\xfe.png")
    (folder / not_utf8).write_bytes(data)
    (folder / "picture-001.txt").write_text("TOK <img src=x onerror=alert(1)> \x1b[0m")
    report = checked()
    page = render(report, folder, pixel_limit=64_000_000)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert not {"\x1b", "\u202e"} & set(page)
    assert {one["id"] for one in json.loads(json.dumps(as_data(report)))["pictures"]} >= {*names, not_utf8}
    assert not_utf8 in report.left_out


def test_the_page_fetches_nothing_and_runs_nothing(folder: Path, checked: Checked) -> None:
    page = render(checked(), folder, pixel_limit=64_000_000)
    assert "default-src 'none'" in page
    assert not [word for word in ("<script", "http://", "https://", "onclick", "@import") if word in page]
    assert page.count("data:image/png;base64,") >= 4


def test_no_file_of_the_users_is_written_over(folder: Path, checked: Checked, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    config = TrainConfig.model_validate({"data": {"instance_images": folder}})
    with pytest.raises(ConfigError, match="no report of a check"):
        write_report(checked(), mine, config)
    assert mine.read_text() == "<p>mine</p>"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    written = write_report(checked(), tmp_path / "report.html", config)
    write_report(checked(), written.page, config)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_json_has_a_schema_that_names_all_it_holds(checked: Checked) -> None:
    schema = json_schema()
    assert set(as_data(checked())) - {"left_out"} == set(schema["properties"])


def test_a_report_says_what_to_leave_out_and_other_files_are_refused(
    folder: Path, checked: Checked, tmp_path: Path
) -> None:
    (folder / "picture-003.png").write_bytes(b"")
    written = write_report(
        checked(), tmp_path / "report.html", TrainConfig.model_validate({"data": {"instance_images": folder}})
    )
    assert read_left_out(written.data) == ("picture-003.png",)
    (tmp_path / "other.json").write_text('{"format": "something"}')
    with pytest.raises(DataError, match="is not a report"):
        read_left_out(tmp_path / "other.json")
