"""The ways an adapter can sit, trained to the end: B-LoRA, blocks, ranks by block, DoRA everywhere, text rates."""

# peft is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from resuming import QUICK_PICTURES, assert_same_result, in_folder, train_with_stops
from safetensors.torch import load_file

from lorasmith.config.adapter import CONTENT_BLOCK, STYLE_BLOCK
from lorasmith.config.load import load_config
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.events import Event, Notice
from lorasmith.run_folder import RunFolder
from lorasmith.runs.train import train
from lorasmith.training.loop import Training, take_step

SmallRun = Callable[..., Training]
SmallConfig = Callable[..., TrainConfig]
ADAMW = {"name": "adamw", "learning_rate": 1e-2}
IN_MANNER = ["--instance_data_dir", "pictures", "--instance_prompt", "a photo of TOK", "--learning_rate=1e-3"]


def run_until(training: Training, step: int) -> None:
    while training.step < step:
        training.enter_phase()
        take_step(training)


def weights_of(training: Training, part: str) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in training.parts[part].parameters.items()}


def test_a_b_lora_run_trains_two_blocks_and_exports_each_alone(small_config: SmallConfig) -> None:
    events: list[Event] = []
    config = small_config(adapter={"rank": 2, "b_lora": True}, optimizer=ADAMW, validation=QUICK_PICTURES,
                          schedule={"steps": 2}, output={"name": "concept"})  # fmt: skip
    export = RunFolder(train(config, emit=events.append)).export
    whole = load_file(export / "pytorch_lora_weights.safetensors")
    assert {name.split(".transformer_blocks")[0] for name in whole} == {f"unet.{CONTENT_BLOCK}", f"unet.{STYLE_BLOCK}"}
    for role, block in (("content", CONTENT_BLOCK), ("style", STYLE_BLOCK)):
        alone = load_file(export / f"concept_{role}_diffusers.safetensors")
        assert alone.keys() == {name for name in whole if name.startswith(f"unet.{block}.")}
        assert all(torch.equal(tensor, whole[name]) for name, tensor in alone.items())
        assert all(tensor.any() for tensor in alone.values())
        assert len(load_file(export / f"concept_{role}.safetensors")) == 3 * len(alone) // 2
    assert any("B-LoRA" in event.text or "b_lora" in event.text for event in events if isinstance(event, Notice))


def test_layers_outside_the_chosen_blocks_get_no_adapter(small_run: SmallRun) -> None:
    training = small_run(adapter={"blocks": ("mid_block", "unet.up_blocks.1")}, optimizer=ADAMW)
    denoiser = training.family.parts["denoiser"]
    before = {name: tensor.clone() for name, tensor in denoiser.state_dict().items() if "lora_" not in name}
    run_until(training, 2)
    assert {name.partition(".")[0] for name in weights_of(training, "denoiser")} == {"mid_block", "up_blocks"}
    after = denoiser.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all("lora_" not in name or name.startswith(("mid_block.", "up_blocks.1.")) for name in after)


def test_an_unknown_block_is_refused_before_anything_is_written(small_config: SmallConfig) -> None:
    config = small_config(adapter={"blocks": ("up_blocks.7",)})
    with pytest.raises(ConfigError, match=r"'up_blocks\.7'.*There are down_blocks\.1\.attentions\.0"):
        train(config)
    assert not config.output.folder.exists()


def test_dora_everywhere_with_ranks_by_block_resumes_to_the_same_bytes(
    small_config: SmallConfig, tmp_path: Path
) -> None:
    """Stopped before and after the pivot and after the text encoders' stop; the baked file is among the exports."""
    config = small_config(
        adapter={"rank": 2, "kind": "dora", "dropout": 0.2, "alpha": 1.0, "text_encoders": True,
                 "text_encoder_rank": 3, "block_ranks": {"mid_block": 5, "up_blocks.0.attentions.1": 1}},
        optimizer=ADAMW, validation=QUICK_PICTURES, schedule={"steps": 6, "text_encoder_fraction": 0.67},
    )  # fmt: skip
    uninterrupted = RunFolder(train(in_folder(config, tmp_path / "uninterrupted")))
    stopped = train_with_stops(in_folder(config, tmp_path / "stopped"), (2, 5))
    assert_same_result(stopped, uninterrupted)
    baked = load_file(uninterrupted.export / "concept_baked.safetensors")
    assert {name.split("_")[1] for name in baked} == {"unet", "te1", "te2"}
    exported = load_file(uninterrupted.export / "pytorch_lora_weights.safetensors")
    assert {len(tensor) for name, tensor in exported.items() if ".lora_A" in name} == {1, 2, 3, 5}
    assert {name.partition(".")[0] for name in exported if "magnitude" in name} == {
        "unet", "text_encoder", "text_encoder_2"
    }  # fmt: skip


def test_a_dora_on_text_encoders_trains_its_magnitudes_beside_new_tokens_and_stops(small_run: SmallRun) -> None:
    training = small_run(
        adapter={"kind": "dora", "text_encoders": True}, optimizer=ADAMW,
        schedule={"steps": 6, "text_encoder_fraction": 0.5, "pivot": 0.34},
    )  # fmt: skip
    start = {part: weights_of(training, part) for part in training.parts}
    run_until(training, 3)
    stopped = {part: weights_of(training, part) for part in training.parts}
    for part in ("text_encoder_1", "text_encoder_2"):
        magnitudes = [name for name in start[part] if "magnitude" in name]
        assert magnitudes
        moved = [not torch.equal(start[part][name], stopped[part][name]) for name in magnitudes]
        assert sum(moved) > len(moved) // 2  # the last layer of the first encoder is not read by SDXL
    assert all(not torch.equal(start[part]["rows"], stopped[part]["rows"]) for part in training.new_tokens)
    run_until(training, 6)
    for part in ("text_encoder_1", "text_encoder_2", "new_tokens_1", "new_tokens_2"):
        assert all(torch.equal(tensor, stopped[part][name]) for name, tensor in weights_of(training, part).items())


def from_flags(small_run: SmallRun, *flags: str) -> Training:
    """A small run of what a command line in the script's manner says."""
    config = load_config([], [*IN_MANNER, *flags]).config
    said = config.model_dump(include={"tokens", "adapter", "rates", "optimizer", "schedule"})
    said["schedule"] |= {"steps": 8, "batch_size": 2, "warmup_steps": 0}
    return small_run(**said)


BOTH = ("--train_text_encoder", "--train_text_encoder_ti")


@pytest.mark.parametrize(
    ("flags", "text", "tokens"),
    [
        (("--train_text_encoder_frac=0.25", "--train_text_encoder_ti_frac=0.75"), 2, 6),
        (("--train_text_encoder_frac=0.75", "--train_text_encoder_ti_frac=0.25"), 6, 2),
        ((), 8, 4),
    ],
)
def test_each_fraction_stops_its_own_parts_to_the_last_bit(
    small_run: SmallRun, flags: tuple[str, ...], text: int, tokens: int
) -> None:
    training = from_flags(small_run, *BOTH, *flags)
    moved: dict[str, list[int]] = {part: [] for part in training.parts}
    for step in range(1, 9):
        before = {part: training.parts[part].buffer.detach().clone() for part in training.parts}
        run_until(training, step)
        for part, buffer in before.items():
            moved[part] += [] if torch.equal(training.parts[part].buffer, buffer) else [step]
    stops = {"denoiser": 8, "text_encoder_1": text, "text_encoder_2": text, "new_tokens_1": tokens}
    assert moved == {part: list(range(1, stop + 1)) for part, stop in (stops | {"new_tokens_2": tokens}).items()}


@pytest.mark.parametrize(
    ("flags", "rate"),
    [((), 5e-6), (("--text_encoder_lr=3e-5",), 3e-5), (("--text_encoder_lr=None",), 1e-3)],
    ids=["the script's own", "its own", "the same"],
)
def test_the_text_rate_is_how_far_the_first_step_moves_the_text_encoders(
    small_run: SmallRun, flags: tuple[str, ...], rate: float
) -> None:
    """AdamW's first step moves each number by the rate; up-weights start at zero, so nothing decays."""
    training = from_flags(small_run, "--train_text_encoder", "--optimizer=adamw", *flags)
    run_until(training, 1)
    for part, wanted in (("denoiser", 1e-3), ("text_encoder_1", rate), ("text_encoder_2", rate)):
        furthest = max(value.abs().max().item() for name, value in weights_of(training, part).items() if "_B" in name)
        assert furthest == pytest.approx(wanted, rel=0.02)
