"""Real SDXL's configuration trains in the memory that is promised, and its exports have real SDXL LoRAs' keys."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lorasmith.run_folder import RunFolder
from lorasmith.sizes import Size
from lorasmith.testing import pictures

PROMISED_GIB = 14.0
TRAIN_AND_MEASURE = """
import resource, sys
from pathlib import Path
from lorasmith.config.load import load_arguments
from lorasmith.runs.train import train

train(load_arguments(sys.argv[1:]).config)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
WRITE_BASE = """
import sys
from pathlib import Path
from lorasmith.testing import write_real_sdxl

write_real_sdxl(Path(sys.argv[1]))
"""
# Stability's layout of SDXL: blocks with attention and their depth, in diffusers' words and in theirs.
BLOCKS = (
    *((f"down_blocks.1.attentions.{place}", f"input_blocks_{4 + place}_1", 2) for place in range(2)),
    *((f"down_blocks.2.attentions.{place}", f"input_blocks_{7 + place}_1", 10) for place in range(2)),
    ("mid_block.attentions.0", "middle_block_1", 10),
    *((f"up_blocks.0.attentions.{place}", f"output_blocks_{place}_1", 10) for place in range(3)),
    *((f"up_blocks.1.attentions.{place}", f"output_blocks_{3 + place}_1", 2) for place in range(3)),
)
LINEARS = (
    *(f"{attention}.{linear}" for attention in ("attn1", "attn2") for linear in ("to_q", "to_k", "to_v", "to_out.0")),
    *("ff.net.0.proj", "ff.net.2"),
)


@dataclass(frozen=True)
class Trained:
    """A finished run of real SDXL's size, and the most memory it took."""

    run: RunFolder
    peak_gib: float


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Four pivotal steps at 256 px in bf16, in a process of their own; the base's 7 GB are removed afterwards."""
    folder = tmp_path_factory.mktemp("real-size")
    # In a process of its own too: ru_maxrss of a child begins at what its parent has in memory.
    subprocess.run([sys.executable, "-c", WRITE_BASE, str(folder / "base")], check=True)
    pictures(folder / "pictures", 2, size=Size(256, 256))
    try:
        yield Trained(RunFolder(folder / "run"), _train(folder))
    finally:
        shutil.rmtree(folder / "base")


def _train(folder: Path) -> float:
    options = {
        "model.base": folder / "base",
        "data.instance-images": folder / "pictures",
        "data.instance-prompt": "a photo of TOK",
        "data.resolution": 256,
        "data.cache-folder": folder / "latents",
        "schedule.steps": 4,
        "schedule.batch-size": 1,
        "runtime.precision": "bf16",
        "runtime.device": "cpu",
        "validation.steps": 1,
        "validation.count": 1,
        "output.folder": folder / "run",
        "output.name": "concept",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_MEASURE, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout.split()[-1]) / 2**20


def keys_of(path: Path) -> dict[str, Any]:
    """The tensors' names and shapes from a safetensors file's header."""
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


@pytest.mark.slow
def test_four_pivotal_steps_fit_into_the_promised_memory(trained: Trained) -> None:
    assert trained.run.state() == "finished"
    assert 5 < trained.peak_gib < PROMISED_GIB, "less than the weights alone would mean that something else was trained"


@pytest.mark.slow
def test_the_diffusers_file_has_exactly_the_keys_of_sdxl_loras(trained: Trained) -> None:
    expected = {
        f"unet.{block}.transformer_blocks.{index}.{linear}.lora_{half}.weight"
        for block, _, depth in BLOCKS
        for index, linear, half in product(range(depth), LINEARS, "AB")
    }
    assert len(expected) == 2 * 700
    assert keys_of(trained.run.export / "pytorch_lora_weights.safetensors").keys() == expected


@pytest.mark.slow
def test_the_webui_file_has_exactly_the_keys_of_sdxl_loras(trained: Trained) -> None:
    expected = {
        f"lora_unet_{block}_transformer_blocks_{index}_{linear.replace('.', '_')}.{tensor}"
        for _, block, depth in BLOCKS
        for index, linear in product(range(depth), LINEARS)
        for tensor in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    assert len(expected) == 3 * 700
    keys = keys_of(trained.run.export / "concept.safetensors")
    assert keys.keys() == expected
    assert keys["lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight"] == (16, 640)
    assert keys["lora_unet_output_blocks_2_1_transformer_blocks_9_attn2_to_k.lora_down.weight"] == (16, 2048)


@pytest.mark.slow
def test_the_embeddings_file_has_a_row_for_each_new_token_in_both_encoders(trained: Trained) -> None:
    assert keys_of(trained.run.export / "concept_emb.safetensors") == {"clip_l": (2, 768), "clip_g": (2, 1280)}
