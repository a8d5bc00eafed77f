"""The article's claim about pivotal tuning has four arms, and each is a line in a config."""

# safetensors is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lorasmith.config.base import ModelConfig
from lorasmith.config.load import load_arguments
from lorasmith.events import Event, StepDone
from lorasmith.inference.exports import load_concept
from lorasmith.inference.pipeline import open_pipeline, text_reader
from lorasmith.models.sdxl.components import SdxlComponents
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.runs.train import train
from lorasmith.testing import pictures
from lorasmith.tokens.attach import attach_new_tokens
from lorasmith.tokens.vocabulary import TokenVocabulary

CPU = torch.device("cpu")
Opened = Callable[[ModelConfig, torch.dtype], SdxlComponents]

COMMON = """
[model]
base = "{base}"
[data]
instance_images = "{folder}/pictures"
instance_prompt = "a photo of {word}"
cache_folder = "{folder}/latents"
[validation]
steps = 1
count = 1
[output]
folder = "{folder}/run"
name = "arm"
[schedule]
steps = 4
batch_size = 2
"""
RARE_WORD = "[tokens]\nenabled = false\n"
FROZEN, PIVOT, ALL_THE_WAY = "pivot = 0.0\n", "pivot = 0.5\n", "pivot = 1.0\n"
RATES_OF_ZERO = "[rates]\nnew_tokens_1 = 0.0\nnew_tokens_2 = 0.0\n"


@dataclass(frozen=True)
class Arm:
    """One finished run."""

    export: Path
    trained: list[set[str]]
    """The parts that each step trained."""

    @property
    def rows(self) -> dict[str, Tensor]:
        return load_file(self.export / "arm_emb.safetensors")


@pytest.fixture
def run_arm(tiny_base: Path, tmp_path: Path) -> Callable[..., Arm]:
    def run(line: str, *, word: str = "TOK") -> Arm:
        pictures(tmp_path / "pictures", 4)
        file = tmp_path / "arm.toml"
        file.write_text(COMMON.format(base=tiny_base, folder=tmp_path, word=word) + line, encoding="utf-8")
        events: list[Event] = []
        folder = train(load_arguments([str(file)]).config, emit=events.append)
        return Arm(folder / "export", [set(event.rates) for event in events if isinstance(event, StepDone)])

    return run


@pytest.fixture
def first_rows(tiny_base: Path, opened: Opened) -> dict[str, Tensor]:
    """What the new tokens start from at seed 0."""
    family = Sdxl(opened(ModelConfig(base=str(tiny_base)), torch.float32), device=CPU)
    vocabulary = TokenVocabulary.of(["TOK"], per_abstraction=2)
    first, second = attach_new_tokens(family.text_encoders, vocabulary, init=(), seed=0)
    return {"clip_l": first.rows.detach(), "clip_g": second.rows.detach()}


def has_learnt(arm: Arm) -> bool:
    lora = load_file(arm.export / "pytorch_lora_weights.safetensors")
    return any(tensor.any() for name, tensor in lora.items() if "lora_B" in name or ".up." in name)


DENOISER, TOKENS = {"denoiser"}, {"denoiser", "new_tokens_1", "new_tokens_2"}


def test_a_rare_word_trains_the_denoiser_alone_and_exports_no_embeddings(run_arm: Callable[..., Arm]) -> None:
    arm = run_arm(RARE_WORD, word="sks")
    assert arm.trained == [DENOISER] * 4
    assert has_learnt(arm)
    assert not list(arm.export.glob("*_emb.safetensors"))


@pytest.mark.parametrize("line", [FROZEN, RATES_OF_ZERO], ids=["pivot at 0", "rates of 0"])
def test_random_frozen_tokens_are_used_and_exported_as_they_started(
    run_arm: Callable[..., Arm], first_rows: dict[str, Tensor], tiny_base: Path, line: str
) -> None:
    arm = run_arm(line)
    assert arm.trained == [DENOISER] * 4
    assert has_learnt(arm)
    assert arm.rows.keys() == first_rows.keys()
    assert all(torch.equal(arm.rows[name], rows) for name, rows in first_rows.items())
    pipeline = open_pipeline(ModelConfig(base=str(tiny_base)), device=CPU, dtype=torch.float32)
    vocabulary = load_concept(pipeline, arm.export)
    prompt = vocabulary.expand("a photo of TOK")
    assert prompt == "a photo of <s0><s1>"
    new, word = (
        text_reader(pipeline, load_arguments([]).config.text).read([one]) for one in (prompt, "a photo of TOK")
    )
    assert (new.hidden - word.hidden).abs().max() > 0.1, "the random rows are read, not the word"


def test_tokens_to_the_pivot_move_before_it_and_not_after_it(
    run_arm: Callable[..., Arm], first_rows: dict[str, Tensor]
) -> None:
    arm = run_arm(PIVOT)
    assert arm.trained == [TOKENS] * 2 + [DENOISER] * 2
    assert has_learnt(arm)
    assert not any(torch.equal(arm.rows[name], rows) for name, rows in first_rows.items())


def test_tokens_all_the_way_move_to_the_last_step(run_arm: Callable[..., Arm], first_rows: dict[str, Tensor]) -> None:
    arm = run_arm(ALL_THE_WAY)
    assert arm.trained == [TOKENS] * 4
    assert has_learnt(arm)
    assert not any(torch.equal(arm.rows[name], rows) for name, rows in first_rows.items())


def test_the_arms_differ_in_one_line() -> None:
    assert [len(line.splitlines()) for line in (FROZEN, PIVOT, ALL_THE_WAY)] == [1, 1, 1]
