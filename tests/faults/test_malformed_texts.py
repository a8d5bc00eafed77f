"""Damaged captions, tables, zips and configs of other trainers are read or refused with a reason, and never a crash."""

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from lorasmith.data.archives import unpacked
from lorasmith.data.examples import Role
from lorasmith.data.read import read_examples
from lorasmith.errors import DataError, LorasmithError
from lorasmith.events import ignore
from lorasmith.importing import import_config
from lorasmith.testing import pictures

EACH = 30

KOHYA = """pretrained_model_name_or_path = "base"
output_dir = "out"
network_module = "networks.lora"
network_dim = 16
network_alpha = 1
learning_rate = 1e-4
max_train_steps = 100
resolution = "1024,1024"
"""
ONETRAINER = json.dumps({
    "__version": 10, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_XL_10_BASE", "base_model_name": "base",
    "epochs": 10, "batch_size": 2, "lora_rank": 16, "lora_alpha": 1.0, "learning_rate": 1e-4, "resolution": "1024",
    "concepts": [{"name": "thing", "path": "pictures", "repeats": 1, "enabled": True}],
})  # fmt: skip
AI_TOOLKIT = """job: extension
config:
  name: mine
  process:
    - type: sd_trainer
      network: {type: lora, linear: 16, linear_alpha: 1}
      datasets: [{folder_path: pictures, resolution: [512, 1024], caption_ext: txt}]
      train: {batch_size: 1, steps: 100, lr: 1e-4, optimizer: adamw8bit}
      model: {name_or_path: base, is_xl: true}
"""
SIMPLETUNER = json.dumps({
    "model_type": "lora", "model_family": "sdxl", "pretrained_model_name_or_path": "base", "lora_rank": 16,
    "max_train_steps": 100, "train_batch_size": 2, "learning_rate": 1e-4, "output_dir": "out", "resolution": 1024,
})  # fmt: skip
JSONL = "".join(
    json.dumps({"file_name": f"picture-{number:03d}.png", "text": f"a photo of TOK {number}"}) + "\n"
    for number in range(3)
)
CSV = "file_name,text\n" + "".join(f'picture-{number:03d}.png,"a TOK, {number}"\n' for number in range(3))


def mutated(content: bytes, number: int) -> bytes:
    """The content cut off, with bits flipped, zeroed, with a part twice, or with noise in it."""
    rng = random.Random(number)
    start = rng.randrange(len(content))
    match number % 5:
        case 0:
            return content[:start]
        case 1:
            changed = bytearray(content)
            for _ in range(rng.randint(1, 10)):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            return bytes(changed)
        case 2:
            return content[:start] + bytes(len(content) - start)
        case 3:
            return content[:start] + content[rng.randrange(len(content)) :]
        case _:
            return content[:start] + rng.randbytes(20) + content[start:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, as the texts name them."""
    pictures(tmp_path / "pictures", 3)
    return tmp_path / "pictures"


def read_whole(folder: Path) -> None:
    """Read the folder as training does."""
    read_examples(
        folder, prompt=None, caption_column=None, role=Role.INSTANCE, pixel_limit=10**6, background="white"
    )  # fmt: skip


def refusals(read: Callable[[int], object]) -> list[str]:
    """What is said of each that is refused; any error but our own comes through."""
    said: list[str] = []
    for number in range(EACH):
        try:
            read(number)
        except LorasmithError as error:
            said.append(str(error))
    assert all(len(one) > 10 for one in said)
    return said


@pytest.mark.parametrize(
    ("peer", "name", "content"),
    [
        ("kohya", "config.toml", KOHYA),
        ("onetrainer", "config.json", ONETRAINER),
        ("ai-toolkit", "config.yaml", AI_TOOLKIT),
        ("simpletuner", "config.json", SIMPLETUNER),
    ],
)
def test_damaged_configs_of_other_trainers_are_refused_with_a_reason(
    folder: Path, peer: str, name: str, content: str
) -> None:
    file = folder.parent / name
    file.write_text(content)
    import_config(peer, [file])  # pyright: ignore[reportArgumentType]

    def read(number: int) -> None:
        file.write_bytes(mutated(content.encode(), number))
        import_config(peer, [file])  # pyright: ignore[reportArgumentType]

    assert len(refusals(read)) > EACH / 4


@pytest.mark.parametrize(("name", "content"), [("metadata.jsonl", JSONL), ("metadata.csv", CSV)])
def test_damaged_tables_of_captions_are_refused_with_a_reason(folder: Path, name: str, content: str) -> None:
    def read(number: int) -> None:
        (folder / name).write_bytes(mutated(content.encode(), number))
        read_whole(folder)

    assert len(refusals(read)) > EACH / 4


def test_a_damaged_zip_gives_no_other_bytes_than_it_was_packed_from(folder: Path) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for picture in sorted(folder.iterdir()):
            opened.write(picture, picture.name)
    whole = {picture.name: picture.read_bytes() for picture in folder.iterdir()}
    archive = folder.parent / "set.zip"

    def read(number: int) -> None:
        archive.write_bytes(mutated(packed.getvalue(), number))
        out = unpacked(archive, folder.parent / "cache", ignore)
        known = set(whole.values())
        assert {file.read_bytes() for file in out.iterdir()} <= known
        shutil.rmtree(folder.parent / "cache")

    assert len(refusals(read)) > EACH / 4


def test_a_whole_table_is_read_and_one_that_points_outside_refused(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text(JSONL)
    read_whole(folder)
    (folder / "metadata.jsonl").write_text(JSONL.replace("picture-001.png", "../outside.png"))
    with pytest.raises(DataError):
        read_whole(folder)
