from pathlib import Path

import pytest

from lorasmith.errors import ConfigError
from lorasmith.runs.named_files import NamedFiles


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_files_are_found_by_every_name_they_go_by(tmp_path: Path) -> None:
    lay(tmp_path, "y2k.safetensors", "styles/Ink.v2.safetensors", "readme.txt")
    files = NamedFiles.of("LoRA", folders=[tmp_path])
    for name in (
        "Ink.v2",
        "ink.v2",
        "Ink.v2.safetensors",
        "styles/Ink.v2",
        "styles\\Ink.v2",
        "styles/Ink.v2.safetensors",
    ):
        assert files.find(name) == tmp_path / "styles" / "Ink.v2.safetensors"
    assert set(files.words) == {"y2k", "ink.v2"}


def test_a_name_never_leaves_its_folder(tmp_path: Path) -> None:
    lay(tmp_path, "outside.safetensors", "inside/y2k.safetensors")
    files = NamedFiles.of("LoRA", folders=[tmp_path / "inside"])
    for name in ("../outside", "inside/../../outside", str(tmp_path / "outside"), "/", ".", "*"):
        with pytest.raises(ConfigError, match="there is no LoRA called"):
            files.find(name)


def test_a_file_that_was_given_goes_before_those_in_folders(tmp_path: Path) -> None:
    lay(tmp_path, "given/y2k.safetensors", "folder/y2k.safetensors")
    files = NamedFiles.of("LoRA", given=[tmp_path / "given/y2k.safetensors"] * 2, folders=[tmp_path / "folder"])
    assert files.find("y2k") == tmp_path / "given/y2k.safetensors"


def test_names_that_differ_in_case_alone_are_told_apart(tmp_path: Path) -> None:
    lay(tmp_path, "a/Ink.safetensors", "b/ink.safetensors")
    files = NamedFiles.of("LoRA", folders=[tmp_path])
    assert files.find("ink") == tmp_path / "b/ink.safetensors"
    with pytest.raises(ConfigError, match="2 files that 'INK' may mean"):
        files.find("INK")


@pytest.mark.parametrize("layout", [("models/Lora", "embeddings"), ("models/loras", "models/embeddings")])
def test_the_folders_of_a1111_and_comfyui_are_known(tmp_path: Path, layout: tuple[str, str]) -> None:
    lay(tmp_path, f"{layout[0]}/y2k.safetensors", f"{layout[1]}/sub/y2k_emb.safetensors")
    assert NamedFiles.of("LoRA", program=tmp_path).find("y2k").name == "y2k.safetensors"
    assert NamedFiles.of("embedding", program=tmp_path).find("y2k_emb").name == "y2k_emb.safetensors"


def test_folders_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*missing.*--lora-folder"):
        NamedFiles.of("LoRA", folders=[tmp_path / "missing"])
    with pytest.raises(ConfigError, match=r"holds none of models/Lora.*A1111"):
        NamedFiles.of("LoRA", program=tmp_path)


def test_a_folder_that_links_to_itself_is_walked_once(tmp_path: Path) -> None:
    lay(tmp_path, "y2k.safetensors")
    (tmp_path / "again").symlink_to(tmp_path)
    assert NamedFiles.of("LoRA", folders=[tmp_path]).find("y2k") == tmp_path / "y2k.safetensors"


def test_what_is_near_is_named_and_harmless_in_a_terminal(tmp_path: Path) -> None:
    lay(tmp_path, "y2k-webpage.safetensors", "wolf\x1b[31m.safetensors")
    files = NamedFiles.of("LoRA", folders=[tmp_path])
    with pytest.raises(ConfigError, match=r"Did you mean y2k-webpage\?"):
        files.find("y2k_webpage")
    with pytest.raises(ConfigError) as refused:
        files.find("zzz")
    assert "wolf?[31m" in str(refused.value)
    with pytest.raises(ConfigError, match=r"Give its file, or the folder"):
        NamedFiles.of("LoRA").find("y2k")
