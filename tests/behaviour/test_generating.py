import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lorasmith.atomic import write_json
from lorasmith.errors import ConfigError, DataError
from lorasmith.event_log import EventLog
from lorasmith.events import Event, Notice, RunStarted, StepDone, WorkDone
from lorasmith.run_folder import RunFolder
from lorasmith.runs.generate import GenerateRequest, generate
from lorasmith.sizes import Size
from lorasmith.testing import tiny_pipeline
from lorasmith.testing.random_export import random_export


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("generating")
    base = tiny_pipeline(folder / "tiny-base")
    run = RunFolder(folder / "run")
    random_export(run.export, base, abstractions={"TOK": ("<s0>", "<s1>")})
    write_json(run.config_file, {"model": {"base": str(base)}})
    return run


def request_for(source: Path, out: Path, prompt: str = "a photo of TOK") -> GenerateRequest:
    return GenerateRequest(source, prompt, count=2, seed=5, steps=2, out=out)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_pictures_with_and_without_the_concept_and_a_sheet_are_written(finished_run: RunFolder, tmp_path: Path) -> None:
    events = list[Event]()
    result = generate(request_for(finished_run.path, tmp_path / "out"), events.append)
    assert [path.name for path in (*result.pictures, *result.without, result.sheet)] == [
        "seed-5.png", "seed-6.png", "seed-5-without.png", "seed-6-without.png", "sheet.png",
    ]  # fmt: skip
    for with_concept, without in zip(result.pictures, result.without, strict=True):
        assert np.abs(pixels(with_concept) - pixels(without)).max() > 8
    assert np.abs(pixels(result.pictures[0]) - pixels(result.pictures[1])).max() > 8
    done = [(event.done, event.total) for event in events if isinstance(event, WorkDone)]
    assert done == [(2, 4), (4, 4)]
    assert not [event for event in events if isinstance(event, Notice)]


def test_the_same_command_draws_the_same_bytes(finished_run: RunFolder, tmp_path: Path) -> None:
    first, second = (generate(request_for(finished_run.path, tmp_path / name)) for name in ("a", "b"))
    assert [path.read_bytes() for path in first.pictures] == [path.read_bytes() for path in second.pictures]


def test_each_picture_carries_what_it_was_drawn_with(finished_run: RunFolder, tmp_path: Path) -> None:
    request = replace(request_for(finished_run.path, tmp_path / "out"), scale=0.8, negative_prompt="blurry", count=1)
    result = generate(request)
    text = Image.open(result.pictures[0]).info["parameters"]
    assert text.startswith("a photo of TOK\nNegative prompt: blurry\nSteps: 2, Sampler: Euler, CFG scale: 5, Seed: 5,")
    assert "Size: 64x64, Model: tiny-base, RNG: CPU, Lora scale: 0.8" in text
    assert "Lora scale" not in Image.open(result.without[0]).info["parameters"]
    assert str(tmp_path) not in text


def test_the_word_in_the_prompt_draws_the_new_tokens(finished_run: RunFolder, tmp_path: Path) -> None:
    """Without an adapter's effect (scale 0) only the new tokens can tell the pictures apart."""
    drawn = {
        prompt: generate(replace(request_for(finished_run.path, tmp_path / prompt, prompt), scale=0.0, count=1))
        for prompt in ("TOK dog", "TOKEN dog")
    }
    changed = {name: np.abs(pixels(r.pictures[0]) - pixels(r.without[0])).max() for name, r in drawn.items()}
    assert changed["TOK dog"] > 1
    assert changed["TOKEN dog"] <= 1


def test_the_exports_recommended_scale_is_the_default(finished_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished_run.path, run.path)
    manifest = run.export / "lorasmith.json"
    write_json(manifest, {**json.loads(manifest.read_text()), "recommended_scale": 0.5})
    result = generate(replace(request_for(run.path, tmp_path / "a"), count=1, side_by_side=False))
    assert "Lora scale: 0.5" in Image.open(result.pictures[0]).info["parameters"]
    assert result.without == ()


def test_a_prompt_that_does_not_name_the_concept_is_noticed_and_drawn(finished_run: RunFolder, tmp_path: Path) -> None:
    events = list[Event]()
    result = generate(request_for(finished_run.path, tmp_path / "out", "a dog"), events.append)
    assert "does not name TOK" in next(event.text for event in events if isinstance(event, Notice))
    assert len(result.pictures) == 2


def test_pictures_go_to_a_new_numbered_folder_of_the_run(finished_run: RunFolder) -> None:
    request = GenerateRequest(
        finished_run.path, "A photo of TOK, *on* the beach!", count=1, steps=1, side_by_side=False
    )
    folders = [generate(request).folder for _ in range(2)]
    assert [str(folder.relative_to(finished_run.generated)) for folder in folders] == [
        "0001-a-photo-of-tok-on-the-beach",
        "0002-a-photo-of-tok-on-the-beach",
    ]


def test_an_export_folder_alone_can_be_drawn_with(
    finished_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_run.export, tmp_path / "downloaded")
    base = str(finished_run.path.parent / "tiny-base")
    monkeypatch.chdir(tmp_path)
    request = GenerateRequest(tmp_path / "downloaded", "TOK", count=1, steps=1, size=Size(32, 64), base=base)
    result = generate(request)
    assert result.folder == Path("generated/0001-tok")
    assert Image.open(result.pictures[0]).size == (64, 32)
    assert "seed" not in "".join(entry.name for entry in (tmp_path / "downloaded").iterdir())


def test_an_export_inside_its_run_is_drawn_with_the_runs_base(finished_run: RunFolder, tmp_path: Path) -> None:
    result = generate(replace(request_for(finished_run.export, tmp_path / "out"), count=1, side_by_side=False))
    assert result.pictures[0].is_file()


def test_a_base_that_is_gone_is_named_with_the_way_out(finished_run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(finished_run.export, tmp_path / "downloaded")
    with pytest.raises(DataError, match=r"no base at 'tiny-base' .*downloaded.*--base"):
        generate(request_for(tmp_path / "downloaded", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_run_without_exports_says_how_to_get_them(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    log = EventLog(run, resumed_at=0)
    log.append(RunStarted(0, 100, 50, resumed=False))
    log.append(StepDone(12, 0.1, 0.1, None, {}, {}, 0.1))
    with pytest.raises(DataError, match=rf"no exports yet \(at step 12\).*train --resume {run.path}"):
        generate(request_for(run.path, tmp_path / "out"))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        generate(request_for(tmp_path / "missing", tmp_path / "out"))
    with pytest.raises(DataError, match="neither a run folder nor an export folder"):
        generate(request_for(tmp_path, tmp_path / "out"))


def test_older_pictures_are_never_overwritten(finished_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "seed-6.png").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"already holds seed-6\.png"):
        generate(request_for(finished_run.path, tmp_path))
    assert (tmp_path / "seed-6.png").read_bytes() == b"mine"


def test_everything_wrong_with_the_options_is_said_at_once(finished_run: RunFolder, tmp_path: Path) -> None:
    wrong = replace(
        request_for(finished_run.path, tmp_path / "out", " "),
        count=0, steps=0, seed=-1, guidance=float("nan"), scale=9.0, size=Size(60, 64),
    )  # fmt: skip
    with pytest.raises(ConfigError) as refused:
        generate(wrong)
    assert [problem.where for problem in refused.value.problems] == [
        "prompt", "count", "steps", "seed", "guidance", "scale", "size",
    ]  # fmt: skip
