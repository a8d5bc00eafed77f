"""A push brings the hub to hold what an export shares, and nothing else; whatever goes wrong, the next completes it."""

import json
import socket
import traceback
from pathlib import Path

import pytest
from huggingface_hub import constants
from made_runs import SHARED, finished_run, shared_bytes

from lorasmith.errors import BusyError, ConfigError, DataError, HubError, StoppedError
from lorasmith.events import Event, PushDone, WorkDone
from lorasmith.hub import client
from lorasmith.run_folder import RunFolder
from lorasmith.runs.push import Wish, push
from lorasmith.testing.fake_hub import TOKEN, FakeHub, FakeRepository, Mishap, Stage

LARGE = 4


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run called dog."""
    return finished_run(tmp_path / "dog run")


def arrived(hub: FakeHub, repo: str = "tester/dog") -> dict[str, bytes]:
    """What the repository holds, without what the hub itself puts there."""
    files = dict(hub.repositories[repo].files)
    files.pop(".gitattributes")
    return files


def test_exports_card_and_pictures_arrive_and_nothing_else_does(hub: FakeHub, run: RunFolder) -> None:
    said: list[Event] = []
    result = push(run.path, emit=said.append)
    assert arrived(hub) == shared_bytes(run)
    assert set(hub.stored.values()) == {content for name, content in shared_bytes(run).items() if "." in name[:-3]
                                        and not name.endswith((".md", ".json"))}  # fmt: skip
    assert len(hub.repositories["tester/dog"].commits) == 1, "all files are one commit"
    assert (result.repo, result.url) == ("tester/dog", f"{hub.url}/tester/dog")
    assert set(result.sent) == {*SHARED, "lorasmith.json"}
    assert not run.outbox_file.exists()
    works = [event for event in said if isinstance(event, WorkDone)]
    assert [(event.done, event.total) for event in works] == [(done, 6) for done in range(7)]
    assert [event for event in said if isinstance(event, PushDone)] == [PushDone("tester/dog", result.url, 6, 0)]


def test_the_login_goes_to_the_hub_and_not_to_its_storage(hub: FakeHub, run: RunFolder) -> None:
    push(run.path)
    logins = {request.stage: request.authorization for request in hub.requests}
    assert logins.pop("store") is None
    assert set(logins.values()) == {f"Bearer {TOKEN}"}


def test_pushing_twice_sends_nothing_the_second_time(hub: FakeHub, run: RunFolder) -> None:
    push(run.path)
    before = hub.counts()
    result = push(run.path)
    after = hub.counts()
    assert (result.sent, len(result.already_there)) == ((), 6)
    assert [after[stage] - before[stage] for stage in ("preupload", "batch", "store", "commit")] == [0, 0, 0, 0]
    assert len(hub.repositories["tester/dog"].commits) == 1


def test_an_edited_card_is_sent_alone(hub: FakeHub, run: RunFolder) -> None:
    push(run.path)
    run.model_card.write_text(run.model_card.read_text() + "\nBy hand.\n")
    assert push(run.path).sent == ("README.md",)
    assert hub.repositories["tester/dog"].commits[1:] == [("README.md",)]
    assert arrived(hub) == shared_bytes(run)


def test_what_others_put_into_the_repository_stays(hub: FakeHub, run: RunFolder) -> None:
    hub.repositories["tester/dog"] = FakeRepository(False, {".gitattributes": b"", "LICENSE": b"theirs"})
    push(run.path)
    assert arrived(hub) == {**shared_bytes(run), "LICENSE": b"theirs"}


@pytest.mark.parametrize(
    ("wish", "options", "repo"),
    [
        (Wish(), {}, "tester/dog"),
        (Wish(), {"repo": "hound"}, "tester/hound"),
        (Wish(), {"repo": "guild/hound"}, "guild/hound"),
        (Wish("wolf"), {"repo": "guild/hound"}, "tester/wolf"),
    ],
)
def test_the_repository_is_the_one_wished_for_else_the_runs_else_the_exports_name(
    hub: FakeHub, tmp_path: Path, wish: Wish, options: dict[str, str], repo: str
) -> None:
    assert push(finished_run(tmp_path / "run", **options).path, wish).repo == repo
    assert list(hub.repositories) == [repo]
    assert hub.repositories[repo].private is False


@pytest.mark.parametrize(("wish", "options"), [(Wish(private=True), {}), (Wish(), {"private": True})])
def test_a_private_repository_is_made_private(
    hub: FakeHub, tmp_path: Path, wish: Wish, options: dict[str, bool]
) -> None:
    run = finished_run(tmp_path / "run", **options)
    push(run.path, wish)
    assert hub.repositories["tester/dog"].private is True
    push(run.path, wish)


def test_what_should_be_private_is_not_put_into_a_public_repository(hub: FakeHub, run: RunFolder) -> None:
    hub.repositories["tester/dog"] = FakeRepository(False, {".gitattributes": b""})
    with pytest.raises(HubError, match="it is public"):
        push(run.path, Wish(private=True))
    assert (hub.stored, arrived(hub)) == ({}, {})


TROUBLES: list[tuple[Stage, Mishap, str]] = [
    ("whoami", 401, "does not accept the login"),
    ("whoami", 500, "trouble of its own"),
    ("create", 403, "may not write to tester/dog"),
    ("create", "drop", "could not be reached"),
    ("paths", 503, "trouble of its own"),
    ("paths", "page", "the upload failed"),
    ("card", 502, "trouble of its own"),
    ("preupload", 404, "does not find tester/dog"),
    ("preupload", 429, "too many requests"),
    ("batch", 403, "may not write"),
    ("batch", 413, r"refused it \(413\)"),
    ("store", 403, "may not write"),
    ("store", 503, "trouble of its own"),
    ("store", "drop", "could not be reached"),
    ("commit", 409, "changed by somebody else"),
    ("commit", 500, "trouble of its own"),
    ("commit", "drop", "could not be reached"),
    ("commit", "echo", r"refused it \(400\)"),
]


@pytest.mark.parametrize(("stage", "mishap", "why"), TROUBLES, ids=lambda value: str(value))
def test_an_upload_that_fails_leaves_an_outbox_and_the_next_completes_it(
    hub: FakeHub, run: RunFolder, capfd: pytest.CaptureFixture[str], stage: Stage, mishap: Mishap, why: str
) -> None:
    hub.fail(stage, mishap, after=1 if stage in ("store", "preupload") else 0)
    with pytest.raises(HubError, match=why) as caught:
        push(run.path)
    assert f"`lorasmith push '{run.path}'` completes it" in str(caught.value)
    outbox = json.loads(run.outbox_file.read_text())
    waiting = {entry["name"]: (entry["size"], entry["sha256"]) for entry in outbox["files"]}
    assert set(waiting) == {*SHARED, "lorasmith.json"}
    assert waiting["dog.safetensors"][0] == len(SHARED["dog.safetensors"])
    assert outbox["repo"] in ("dog", "tester/dog")
    assert outbox["reason"] in str(caught.value)
    streams = capfd.readouterr()
    told = "".join(traceback.format_exception(caught.value)) + run.outbox_file.read_text() + streams.out + streams.err
    assert TOKEN not in told
    assert "X-Amz-Signature" not in told, "an address that is signed for a while is a secret too"

    hub.recover()
    push(run.path)
    assert arrived(hub) == shared_bytes(run)
    assert not run.outbox_file.exists()
    stored = [request.line for request in hub.requests if request.stage == "store"]
    assert stage == "store" or len(stored) == len(set(stored)) == LARGE, "nothing is sent a second time"


@pytest.mark.parametrize(
    ("stage", "mishap"),
    [("whoami", 503), ("create", 500), ("paths", "drop"), ("preupload", 429), ("store", 500), ("commit", 503),
     ("commit", 409), ("commit", "lost")],
)  # fmt: skip
def test_a_trouble_that_passes_is_not_noticed(hub: FakeHub, run: RunFolder, stage: Stage, mishap: Mishap) -> None:
    hub.fail(stage, mishap, times=1)
    push(run.path)
    assert arrived(hub) == shared_bytes(run)
    assert len(hub.repositories["tester/dog"].commits) == 1


def test_a_login_that_is_refused_is_not_tried_again(hub: FakeHub, run: RunFolder) -> None:
    hub.fail("whoami", 401)
    with pytest.raises(HubError):
        push(run.path)
    assert hub.counts() == {"whoami": 1}


def test_a_hub_that_never_answers_is_given_up(hub: FakeHub, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorasmith.runs.push.FOR_UPLOADS", client.TimeLimits(connect=1, answer=0.2))
    hub.fail("commit", "hang")
    with pytest.raises(HubError, match="did not answer in time"):
        push(run.path)
    hub.recover()
    monkeypatch.undo()


def test_nobody_there_is_told_in_a_sentence(hub: FakeHub, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(HubError, match="could not be reached"):
            push(run.path)
    assert run.outbox_file.exists()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push(run.path)
    assert hub.requests == []


def test_nobody_logged_in_is_told_how_to_log_in(hub: FakeHub, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"nobody is logged in.*`hf auth login`, or set HF_TOKEN"):
        push(run.path)
    assert hub.requests == []
    assert run.outbox_file.exists()


def test_the_outbox_remembers_where_to(hub: FakeHub, run: RunFolder) -> None:
    hub.fail("commit", 500)
    with pytest.raises(HubError):
        push(run.path, Wish("guild/wolf", private=True))
    hub.recover()
    assert push(run.path).repo == "guild/wolf"
    assert hub.repositories["guild/wolf"].private is True


def test_a_repository_that_ignores_files_is_not_called_complete(hub: FakeHub, run: RunFolder) -> None:
    hub.ignored.add("image_0.png")
    with pytest.raises(HubError, match=r"still lacks image_0\.png.*gitignore"):
        push(run.path)
    assert [entry["name"] for entry in json.loads(run.outbox_file.read_text())["files"]][-1] == "lorasmith.json"


def test_ctrl_c_stops_and_can_be_gone_on_with(hub: FakeHub, run: RunFolder) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, WorkDone) and event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(StoppedError, match="lorasmith push"):
        push(run.path, emit=interrupt)
    assert run.outbox_file.exists()
    push(run.path)
    assert arrived(hub) == shared_bytes(run)
    assert hub.counts()["store"] == LARGE


def test_weights_that_are_not_those_exported_are_not_shared(hub: FakeHub, run: RunFolder) -> None:
    (run.export / "dog.safetensors").write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"dog\.safetensors .* changed since the export"):
        push(run.path)
    assert hub.requests == []


def test_a_link_is_not_followed(hub: FakeHub, run: RunFolder, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("private")
    run.model_card.unlink()
    run.model_card.symlink_to(secret)
    with pytest.raises(DataError, match="a link instead of a file"):
        push(run.path)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["../config.resolved.json", "/etc/passwd", ".env", "notes.md", "run.log", "a/b.png"])
def test_a_manifest_cannot_name_what_no_export_writes(hub: FakeHub, run: RunFolder, name: str) -> None:
    manifest = json.loads((run.export / "lorasmith.json").read_text())
    manifest["files"][name] = "0" * 64
    (run.export / "lorasmith.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="files"):
        push(run.path)
    assert hub.requests == []


def test_a_manifest_without_files_is_refused(hub: FakeHub, run: RunFolder) -> None:
    manifest = json.loads((run.export / "lorasmith.json").read_text())
    (run.export / "lorasmith.json").write_text(json.dumps({**manifest, "files": {}}))
    with pytest.raises(DataError, match="does not say which files are shared"):
        push(run.path)
    assert hub.requests == []


def test_a_broken_outbox_is_named(run: RunFolder) -> None:
    run.outbox_file.write_text("{")
    with pytest.raises(DataError, match=r"outbox\.json"):
        push(run.path)


def test_a_folder_somebody_works_in_is_left_alone(run: RunFolder) -> None:
    with run.claim(fresh=False), pytest.raises(BusyError):
        push(run.path)
    assert not run.outbox_file.exists()


def test_what_is_no_finished_run_is_refused(tmp_path: Path, run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="there is no run"):
        push(tmp_path / "nowhere")
    (run.export / "lorasmith.json").unlink()
    with pytest.raises(DataError, match="there is no export"):
        push(run.path)
