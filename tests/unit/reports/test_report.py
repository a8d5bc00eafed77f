import re
from pathlib import Path

import pytest
from PIL import Image

from lorasmith.atomic import write_json
from lorasmith.event_log import EventLog
from lorasmith.events import (
    ExportWritten,
    Notice,
    RunEnded,
    RunStarted,
    SamplesReady,
    StepDone,
    ValidationDone,
)
from lorasmith.reports.report import write_report
from lorasmith.reports.story import read_story
from lorasmith.reports.wording import bytes_words, duration_words
from lorasmith.run_folder import RunFolder

HOSTILE = '<img src=x onerror=alert(1)> & "TOK"'


def a_run(path: Path, *, steps: int = 6, done: bool = True, prompt: str = "a photo of TOK") -> RunFolder:
    run = RunFolder(path)
    log = EventLog(run, resumed_at=0)
    log.append(RunStarted(0, 6, 3, resumed=False))
    for step in range(1, steps + 1):
        rates = {"denoiser": 1e-4} | ({"new_tokens_1": 2e-4} if step <= 3 else {})
        log.append(StepDone(step, 0.5 / step, 0.5 / step, None, rates, {}, 2.0))
        if step % 3 == 0:
            log.append(ValidationDone(step, 0.3 - step / 100, {}))
            log.append(SamplesReady(step, (_picture(run, step, 0), _picture(run, step, 1)), (prompt, prompt)))
    write_json(run.plan_file, {"name": "red backpack", "steps": 6, "pivot_step": 3, "batch_size": 4, "phases": [
        {"first": 0, "end": 3, "name": "both", "rates": {"denoiser": 1.0, "new_tokens_1": 0.5}},
        {"first": 3, "end": 6, "name": "denoiser only", "rates": {"denoiser": 1.0}},
    ]})  # fmt: skip
    write_json(run.config_file, {"schedule": {"batch_size": 4}, "tokens": {"abstractions": ["TOK"]}})
    write_json(run.environment_file, {"python": "3.11.9", "origins": {"schedule.batch_size": "--schedule.batch-size"}})
    if done:
        run.export.mkdir()
        (run.export / "backpack.safetensors").write_bytes(b"0" * 1_500_000)
        log.append(ExportWritten(run.export / "backpack.safetensors", ("A1111", "Forge", "ComfyUI")))
        log.append(RunEnded(steps, "done"))
    return run


def _picture(run: RunFolder, step: int, number: int) -> Path:
    run.samples.mkdir(exist_ok=True)
    path = run.samples / f"{step}-{number}.png"
    Image.new("RGB", (64, 64), (step * 20, number * 90, 0)).save(path)
    return path


def page_of(run: RunFolder) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_the_page_shows_the_runs_numbers(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path))
    for expected in ("red backpack", "finished", "6 of 6", "0.27 → 0.24", "12 s", "1.5 MB", "A1111, Forge and ComfyUI",
                     "1 to 3", "4 to 6", "new tokens 1", "3.11.9", "--schedule.batch-size"):  # fmt: skip
        assert expected in page, expected


def test_every_chart_there_are_numbers_for_is_drawn_with_the_pivot(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path))
    assert re.findall(r'<svg class="chart"[^>]*aria-label="([^"]+)"', page) == [
        "Training loss", "Held-out loss, fixed noise", "Effective rate (d·lr under Prodigy)",
    ]  # fmt: skip
    assert page.count('class="marker-label"') == 3


def test_prodigys_estimate_is_drawn_only_where_it_says_more_than_the_rates(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    for distance, drawn in ((1e-4, False), (3e-4, True)):
        log = EventLog(run, resumed_at=0)
        for step in (1, 2):
            log.append(StepDone(step, 0.5, 0.5, None, {"denoiser": 1e-4}, {}, 1.0, {"denoiser": distance}))
        assert ("estimate d" in page_of(run)) is drawn


def test_the_rate_of_new_tokens_ends_at_the_pivot(tmp_path: Path) -> None:
    rates = read_story(a_run(tmp_path)).metrics.rates
    assert [point.step for point in rates["new_tokens_1"] if point.value == point.value] == [1, 2, 3]
    assert [point.step for point in rates["denoiser"] if point.value == point.value] == [1, 2, 3, 4, 5, 6]


def test_pictures_are_inside_the_page_in_the_order_of_steps(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path))
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == 4
    assert re.findall(r"<figcaption>step (\d+)", page) == ["3", "6", "3", "6"]
    assert page.count('class="prompt"') == 1


def test_nothing_is_fetched_and_no_script_runs(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path))
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert "<script" not in page
    assert "url(http" not in page


def test_prompts_notices_and_names_are_escaped(tmp_path: Path) -> None:
    run = a_run(tmp_path, prompt=HOSTILE, done=False)
    write_json(run.plan_file, {"name": HOSTILE, "base": HOSTILE})
    write_json(run.config_file, {"data": {"instance_prompt": HOSTILE}})
    EventLog(run, resumed_at=6).append(Notice(HOSTILE))
    page = page_of(run)
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt; &amp; &#34;TOK&#34;") >= 5


def test_an_unfinished_run_has_a_page_with_how_it_ended(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=4, done=False)
    EventLog(run, resumed_at=4).append(RunEnded(4, "failed", "the disk is full"))
    page = page_of(run)
    assert "unfinished" in page
    assert "4 of 6" in page
    assert "the disk is full" in page
    assert "Exports" not in page


def test_a_folder_without_anything_still_has_a_page(tmp_path: Path) -> None:
    page = page_of(RunFolder(tmp_path / "empty"))
    assert "empty" in page
    assert "<svg" not in page


def test_pictures_and_exports_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    (run.samples / "3-0.png").unlink()
    (run.samples / "6-0.png").write_bytes(b"no picture")
    (run.export / "backpack.safetensors").unlink()
    page = page_of(run)
    assert page.count("not there any more") == 2
    assert "missing" in page


def test_large_pictures_are_shrunk(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=3)
    small = len(page_of(run))
    Image.effect_noise((1024, 1024), 80).save(run.samples / "3-0.png")
    assert len(page_of(run)) < small + 200_000


def test_of_many_steps_the_first_and_the_last_are_among_those_shown(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=90)
    steps = [int(step) for step in re.findall(r"<figcaption>step (\d+)", page_of(run))]
    assert len(steps) == 16
    assert (steps[0], steps[7]) == (3, 90)


def test_class_images_have_their_own_line(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    EventLog(run, resumed_at=6).append(StepDone(7, 0.4, 0.3, 0.1, {}, {}, 1.0))
    assert "class images, smoothed" in page_of(run)


def test_a_moved_run_keeps_its_pictures(tmp_path: Path) -> None:
    run = a_run(tmp_path / "before")
    run.path.rename(tmp_path / "after")
    assert page_of(RunFolder(tmp_path / "after")).count("<img") == 4


@pytest.mark.parametrize(("size", "words"), [(17, "17 B"), (2048, "2.0 KB"), (1_320_000, "1.3 MB"), (186e6, "186 MB")])
def test_sizes_are_put_in_words(size: float, words: str) -> None:
    assert bytes_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (124, "2 min 4 s"), (3723, "1 h 2 min"), (float("nan"), "unknown")]
)
def test_durations_are_put_in_words(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
