"""Data sets of the hub: fetched once at one commit, the same ever after, and every failure with its remedy."""

from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from made_data_sets import CAPTIONS, COLOURS, FolderHub, config_of, described_by_configs, jpeg, parquet, refused

from lorasmith.data import dataset_hub
from lorasmith.data.examples import Example
from lorasmith.errors import ConfigError, DataError, HubError, LorasmithError
from lorasmith.events import ignore
from lorasmith.runs.pictures import instance_images, with_pinned_dataset

PICTURES = [jpeg(colour) for colour in COLOURS]
NAME = "somebody/things"
Reader = Callable[..., tuple[Example, ...]]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderHub:
    """A hub with one data set, `somebody/things`: three pictures with captions in `prompt`."""
    made = FolderHub(tmp_path / "hub")
    made.push(published(tmp_path / "first", PICTURES))
    monkeypatch.setattr(dataset_hub, "snapshot_download", made.snapshot_download)
    monkeypatch.setattr(dataset_hub, "HfApi", lambda: made)
    return made


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """The instance images of a run on `somebody/things`."""

    def read_now(name: str = NAME, **options: object) -> tuple[Example, ...]:
        return instance_images(config_of(name, tmp_path / "kept", **options), ignore)

    return read_now


def published(folder: Path, pictures: list[bytes]) -> Path:
    """What somebody pushes: one shard, and a description."""
    parquet(folder / "data" / "train-00000-of-00001.parquet", {"image": pictures, "prompt": CAPTIONS})
    (folder / "README.md").write_text("# Things\n")
    return folder


def unreachable(*_: object, **__: object) -> str:
    """Stands for a hub that does not answer."""
    raise ConnectionError("no route to host")


def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the hub does not answer."""
    monkeypatch.setattr(dataset_hub, "snapshot_download", unreachable)
    monkeypatch.setattr(FolderHub, "list_repo_files", unreachable)


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """From now on the hub says no."""

    def refuse(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(dataset_hub, "snapshot_download", refuse)


@pytest.mark.usefixtures("hub")
def test_a_data_set_of_the_hub_is_read_with_its_captions(read: Reader) -> None:
    found = read(caption_column="prompt")
    assert [one.path.read_bytes() for one in found] == PICTURES
    assert [one.caption for one in found] == list(CAPTIONS)


def test_the_commit_is_noted_so_that_main_may_move(hub: FolderHub, read: Reader, tmp_path: Path) -> None:
    pinned = with_pinned_dataset(config_of(NAME, tmp_path / "kept"))
    assert pinned.data.dataset_revision == hub.commits[0]
    first = instance_images(pinned, ignore)
    hub.push(published(tmp_path / "second", [jpeg("white")] * 3))
    assert instance_images(pinned, ignore) == first
    assert [one.path.read_bytes() for one in read()] == [jpeg("white")] * 3
    assert read(dataset_revision=hub.commits[0]) == first


def test_the_commit_can_be_fetched_anew_where_nothing_is_kept_any_more(
    hub: FolderHub, tmp_path: Path, read: Reader
) -> None:
    commit = hub.commits[0]
    hub.push(published(tmp_path / "second", [jpeg("white")] * 3))
    assert [one.path.read_bytes() for one in read(dataset_revision=commit)] == PICTURES


@pytest.mark.usefixtures("hub")
def test_what_is_kept_needs_no_hub(read: Reader, monkeypatch: pytest.MonkeyPatch, hub: FolderHub) -> None:
    first = read()
    cut_off(monkeypatch)
    assert read(dataset_revision=hub.commits[0]) == first


def test_only_the_files_of_the_config_are_fetched(hub: FolderHub, tmp_path: Path, read: Reader) -> None:
    hub.push(described_by_configs(tmp_path / "both", {"cat": PICTURES[0], "dog": PICTURES[1]}))
    assert [one.path.read_bytes() for one in read(dataset_config="dog")] == [PICTURES[1]]
    assert set(hub.fetched) == {"README.md", "dog/a.parquet"}


def test_code_in_a_data_set_of_the_hub_is_neither_fetched_nor_run(hub: FolderHub, tmp_path: Path, read: Reader) -> None:
    folder = published(tmp_path / "evil", PICTURES)
    for name in ("things.py", "evil.py", f"{2:040x}.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    hub.push(folder)
    assert [one.path.read_bytes() for one in read()] == PICTURES
    assert not [name for name in hub.fetched if name.endswith(".py")]
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refused(RepositoryNotFoundError), "no data set 'somebody/things', or it is private .* `hf auth login`"),
        (GatedRepoError.__new__(GatedRepoError), "open only to those who accepted its terms .* `hf auth login`"),
        (ConnectionError("no route\nto host"), "could not be fetched: no route to host .*Check the connection"),
        (HfHubHTTPError.__new__(HfHubHTTPError), "could not be fetched"),
        (HfHubHTTPError.__bases__[0]("reset by peer"), "could not be fetched: reset by peer"),
    ],
)
def test_what_the_hub_does_not_give_is_an_error_of_the_hub_with_a_remedy(
    error: Exception, said: str, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, error)
    with pytest.raises(HubError, match=said) as caught:
        read()
    assert caught.value.exit_code == 6


@pytest.mark.usefixtures("hub")
def test_a_revision_that_is_not_there_is_an_error_of_the_hub(read: Reader) -> None:
    with pytest.raises(HubError, match=r"no revision 'v9' \(data.dataset_revision\)"):
        read(dataset_revision="v9")


def test_a_full_disk_is_not_taken_for_an_unreachable_hub(
    hub: FolderHub, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, OSError(28, "No space left on device"))
    with pytest.raises(LorasmithError, match="the disk is full") as caught:
        read()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["a/b/c", "some body/things", "https://example.org/things"])
def test_what_cannot_be_an_id_is_refused_without_asking_anybody(name: str, read: Reader) -> None:
    with pytest.raises(ConfigError, match="neither a folder that exists nor the id of a data set"):
        read(name)


def fetched_before(cache: Path) -> None:
    """The hub library's own cache, as `hf download --repo-type dataset` leaves it."""
    home = cache / "datasets--somebody--things"
    published(home / "snapshots" / COMMIT, PICTURES)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HF_HUB_OFFLINE=1, which the library reads when it is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_offline_what_was_downloaded_before_is_read(tmp_path: Path, read: Reader) -> None:
    fetched_before(tmp_path / "hub")
    found = read(download_folder=tmp_path / "hub", caption_column="prompt")
    assert [one.path.read_bytes() for one in found] == PICTURES
    pinned = with_pinned_dataset(config_of(NAME, tmp_path / "kept", download_folder=tmp_path / "hub"))
    assert pinned.data.dataset_revision == COMMIT


@pytest.mark.usefixtures("offline")
def test_offline_what_was_never_downloaded_is_an_error_of_the_hub(tmp_path: Path, read: Reader) -> None:
    with pytest.raises(HubError, match=r"could not be fetched: .*HF_HUB_OFFLINE.*`hf download --repo-type dataset"):
        read(download_folder=tmp_path / "hub")


@pytest.mark.usefixtures("offline")
def test_a_folder_that_is_called_like_a_data_set_does_not_take_the_place_of_a_pinned_one(
    tmp_path: Path, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    published(tmp_path / NAME, [jpeg("white")] * 3)
    fetched_before(tmp_path / "hub")
    assert [one.path.read_bytes() for one in read()] == [jpeg("white")] * 3
    pinned = read(dataset_revision=COMMIT, download_folder=tmp_path / "hub")
    assert [one.path.read_bytes() for one in pinned] == PICTURES


@pytest.mark.usefixtures("hub")
def test_a_repository_with_a_path_out_of_it_is_refused(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(*_: object, **__: object) -> list[str]:
        return ["../escaped.parquet"]

    monkeypatch.setattr(FolderHub, "list_repo_files", names)
    with pytest.raises(DataError, match=r"a path out of it: '\.\./escaped\.parquet'"):
        read()
