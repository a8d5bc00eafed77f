"""`lorasmith caption` and `lorasmith mask`: what is there stays, what is done is kept, and the rest goes on later."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lorasmith.captioning.captioner import Frame, Seen
from lorasmith.captioning.words_to_masks import MaskRequest
from lorasmith.cli.app import main
from lorasmith.config.train import TrainConfig
from lorasmith.errors import DataError, StoppedError
from lorasmith.events import Event, Notice, WorkDone, ignore
from lorasmith.runs import caption
from lorasmith.runs.caption import CaptionRequest, caption_folder
from lorasmith.runs.masks import MaskFolderRequest, mask_folder
from lorasmith.runs.plan import plan_run
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.testing.onlookers import tiny_blip, tiny_clipseg


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "pictures"
    images.mkdir()
    for number in range(6):
        noise = np.random.RandomState(number).randint(0, 255, (24, 32, 3)).astype(np.uint8)
        Image.fromarray(noise).save(images / f"{number}.png")
    return images


def captions_in(folder: Path) -> dict[str, str]:
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    return {row["file_name"]: row["text"] for row in map(json.loads, lines)}


def request(folder: Path) -> CaptionRequest:
    return CaptionRequest(
        folder=folder, captioner="template", template="number {number}", frame=Frame("TOK, "), batch_size=2
    )


def test_blip_from_disk_captions_a_folder_with_the_token_in_front(folder: Path, tmp_path: Path) -> None:
    wanted = replace(request(folder), captioner="blip", source=str(tiny_blip(tmp_path / "blip")), template="")
    result = caption_folder(wanted, ignore)
    assert result.captions == captions_in(folder)
    assert len(set(result.captions.values())) > 1
    assert all(text.startswith("TOK, ") for text in result.captions.values())
    again = caption_folder(replace(wanted, batch_size=5, overwrite=True), ignore)
    assert again.captions == result.captions, "whatever pictures stand beside each other"


def test_captions_that_are_there_are_left_alone_unless_told(folder: Path) -> None:
    (folder / "1.txt").write_text("mine")
    (folder / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "yours"}\n')
    result = caption_folder(request(folder), ignore)
    assert captions_in(folder) == {"0.png": "yours"} | {f"{at}.png": f"TOK, number {at + 1}" for at in range(2, 6)}
    assert (folder / "1.txt").read_text() == "mine"
    assert result.kept == 2
    caption_folder(replace(request(folder), overwrite=True), ignore)
    assert captions_in(folder)["0.png"] == "TOK, number 1"
    assert (folder / "1.txt").read_text() == "TOK, number 2\n"


def test_a_stop_keeps_what_is_done_and_the_same_command_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, looked_at = StopSignal(), list[str]()
    describe = caption.Template.describe

    def counting(self: caption.Template, pictures: Sequence[Seen]) -> list[str]:
        looked_at.extend(one.name for one in pictures)
        return describe(self, pictures)

    monkeypatch.setattr(caption.Template, "describe", counting)

    def ask(event: Event) -> None:
        if isinstance(event, WorkDone) and event.done == 4:
            stop.ask()

    with pytest.raises(StoppedError, match="after 4 of 6") as stopped:
        caption_folder(request(folder), ask, stop)
    assert stopped.value.exit_code == 75
    assert captions_in(folder).keys() == {"0.png", "1.png", "2.png", "3.png"}
    events: list[Event] = []
    caption_folder(request(folder), events.append)
    assert captions_in(folder) == {f"{at}.png": f"TOK, number {at + 1}" for at in range(6)}
    assert looked_at == [str(at) for at in range(6)], "each picture once"
    assert events == [WorkDone("writing captions", 2, 2)]


def test_a_failure_in_the_middle_keeps_what_is_done(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe = caption.Template.describe

    def failing(self: caption.Template, pictures: Sequence[Seen]) -> list[str]:
        if pictures[0].name == "4":
            raise MemoryError
        return describe(self, pictures)

    monkeypatch.setattr(caption.Template, "describe", failing)
    with pytest.raises(MemoryError):
        caption_folder(request(folder), ignore)
    assert len(captions_in(folder)) == 4


def test_ctrl_c_at_the_command_line_leaves_with_75_and_whole_captions(folder: Path) -> None:
    slow = (
        "import time; from lorasmith.runs import caption as c; say = c.Template.describe\n"
        "c.Template.describe = lambda self, pictures: (time.sleep(0.3), say(self, pictures))[1]\n"
        "from lorasmith.cli.app import main\n"
        f"main(['caption', {str(folder)!r}, '--with', 'template', '--template', 'TOK {{number}}', '--batch-size', '1'])"
    )
    process = subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "metadata.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    done = captions_in(folder)
    assert 0 < len(done) < 6
    assert f"stopped after {len(done)} of 6" in said.decode()


def test_pictures_that_cannot_be_read_are_named_and_the_others_captioned(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    events: list[Event] = []
    result = caption_folder(request(folder), events.append)
    assert result.broken == ("2.png",)
    assert captions_in(folder).keys() == {f"{at}.png" for at in (0, 1, 3, 4, 5)}
    assert any(isinstance(event, Notice) and "2.png" in event.text for event in events)
    for picture in folder.glob("*.png"):
        picture.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DataError, match="nothing was captioned"):
        caption_folder(replace(request(folder), overwrite=True), ignore)


def test_the_commands_write_captions_and_masks_that_a_run_takes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_base: Path
) -> None:
    for arguments in (
        ["caption", str(folder), "--with", "blip", "--model", str(tiny_blip(tmp_path / "blip")), "--manner", "style"],
        ["mask", str(folder), "a dog", "--model", str(tiny_clipseg(tmp_path / "clipseg"))],
    ):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0, capsys.readouterr().err
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("0.png\t")
    assert all(line.endswith(", in the style of TOK") for line in said[:6])
    assert said[6:] == [str(folder / f"{at}-masklabel.png") for at in range(6)]
    config = TrainConfig.model_validate({"model": {"base": str(tiny_base)}, "data": {"instance_images": folder}})
    plan = plan_run(config)
    assert plan.instance_images == 6
    assert plan.masks_told.startswith("6 of 6 pictures")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--with", "template"], "nothing to write"),
        (["--with", "template", "--model", "x", "--template", "y"], "a template has no weights"),
        (["--template", "y"], "only a template is filled in"),
        (["--with", "template", "--template", "{x}"], "cannot be filled in"),
    ],
)
def test_options_that_have_no_effect_are_refused(
    folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["caption", str(folder), *words])
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def masks_wanted(folder: Path, tmp_path: Path) -> MaskFolderRequest:
    source = tmp_path / "clipseg"
    if not source.exists():
        tiny_clipseg(source)
    return MaskFolderRequest(folder, MaskRequest("a dog"), str(source))


def test_masks_that_are_there_are_left_alone_and_a_stop_keeps_those_that_are_drawn(
    folder: Path, tmp_path: Path
) -> None:
    wanted = masks_wanted(folder, tmp_path)
    own = Image.new("L", (32, 24), 255)
    own.save(folder / "1-masklabel.png")
    stop = StopSignal()
    stop.ask()
    with pytest.raises(StoppedError, match="after 1 of 5"):
        mask_folder(wanted, ignore, stop)
    assert (folder / "0-masklabel.png").exists()
    assert len(mask_folder(wanted, ignore)) == 4
    assert Image.open(folder / "1-masklabel.png").getextrema() == (255, 255)
    elsewhere = mask_folder(replace(wanted, out=tmp_path / "elsewhere"), ignore)
    assert [path.name for path in elsewhere] == [f"{at}.png" for at in range(6)]


def test_pictures_that_would_share_a_mask_are_refused(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24)).save(folder / "0.jpg")
    with pytest.raises(DataError, match=r"would share a mask: 0\.jpg, 0\.png"):
        mask_folder(masks_wanted(folder, tmp_path), ignore)
