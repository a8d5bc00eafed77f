"""Each kind of optimizer in a real run: it learns, freezes what it must, resumes exactly, and exports what is meant."""

# torch's and safetensors' types are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from resuming import QUICK_PICTURES, assert_same_result, in_folder, metrics_of, starts_of, train_with_stops
from safetensors.torch import load_file
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from lorasmith.config.train import TrainConfig
from lorasmith.data.order import fixed_draws
from lorasmith.errors import ConfigError
from lorasmith.events import ignore
from lorasmith.optim import extras
from lorasmith.optim.part import PartOptimizer
from lorasmith.run_folder import RunFolder
from lorasmith.runs.train import train
from lorasmith.sizes import Size
from lorasmith.testing import pictures
from lorasmith.training.checkpoint import CheckpointStore
from lorasmith.training.loop import Rhythm, Training, fit, take_step
from lorasmith.training.phases import Phase
from lorasmith.training.state import TrainingState
from lorasmith.training.validation import held_out_loss

SmallRun = Callable[..., Training]
SmallConfig = Callable[..., TrainConfig]
SCHEDULE_FREE = {"name": "schedule_free_prodigy", "d0": 1e-3}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"name": "adamw", "learning_rate": 1e-2},
    "adamw, 8-bit": {"name": "adamw", "learning_rate": 1e-2, "eight_bit": True},
    "prodigy": {"name": "prodigy", "d0": 1e-3},
    "adafactor": {"name": "adafactor", "learning_rate": 1e-2},
    "schedule-free prodigy": SCHEDULE_FREE,
}
EACH = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


def go_on(training: Training, until: int) -> None:
    while training.step < until:
        training.enter_phase()
        take_step(training)


def fixed_loss(training: Training) -> float:
    """The loss of the first training picture under noise that is the same each time, with what would be exported."""
    example = training.batches.order.draws_at(0)[0].example
    batch = training.batches.batch_of(fixed_draws([example], [Size(64, 64)]))
    with training.as_used():
        return held_out_loss(training, [batch], training.phase).loss


@EACH
def test_the_loss_falls(small_run: SmallRun, tiny_v_base: Path, tmp_path: Path, optimizer: dict[str, Any]) -> None:
    """By a twentieth at least in 25 steps, of which Prodigy spends most on finding its rate."""
    pictures(tmp_path / "one", 1)
    training = small_run(
        model={"base": str(tiny_v_base)},
        data={"instance_images": tmp_path / "one", "instance_prompt": "a TOK"},
        adapter={"rank": 8, "targets": "attention+feed-forward"},
        optimizer=optimizer,
        schedule={"steps": 25, "batch_size": 4},
    )
    before = fixed_loss(training)
    go_on(training, 25)
    after = fixed_loss(training)
    assert after < 0.95 * before, (before, after)


@EACH
def test_new_tokens_do_not_move_by_a_bit_after_the_pivot(small_run: SmallRun, optimizer: dict[str, Any]) -> None:
    training = small_run(optimizer=optimizer)
    go_on(training, 5)  # one step beyond the pivot, where a schedule-free part is put where it is used
    rows = {name: tokens.rows.detach().clone() for name, tokens in training.new_tokens.items()}
    remembered = {name: repr(training.parts[name].capture()) for name in rows}
    denoiser = training.parts["denoiser"].buffer.detach().clone()
    go_on(training, 8)
    assert not torch.equal(training.parts["denoiser"].buffer, denoiser)
    for name, wanted in rows.items():
        assert torch.equal(training.new_tokens[name].rows, wanted)
        assert repr(training.parts[name].capture()) == remembered[name]


def averaged(part: PartOptimizer) -> Tensor:
    with part.as_used():
        return part.buffer.detach().clone()


def test_at_the_pivot_new_tokens_go_where_they_are_exported_from_and_the_denoiser_trains_beside_those(
    small_run: SmallRun,
) -> None:
    training = small_run(optimizer=SCHEDULE_FREE)
    go_on(training, 4)
    part = training.parts["new_tokens_1"]
    wanted = averaged(part)
    assert not torch.equal(part.buffer, wanted)
    training.enter_phase()
    assert torch.equal(part.buffer, wanted)
    kept = training.prompts.embeddings(training.captions, training.phase)
    fresh = training.family.encode_prompts([caption.replace("TOK", "<s0><s1>") for caption in training.captions])
    torch.testing.assert_close(kept.hidden, fresh.hidden, rtol=0, atol=2e-6)


def test_looking_at_a_schedule_free_run_changes_nothing_in_it(small_run: SmallRun) -> None:
    looked_at, alone = small_run(optimizer=SCHEDULE_FREE), small_run(optimizer=SCHEDULE_FREE)
    losses: list[float] = []
    for step in range(1, 7):
        go_on(looked_at, step)
        losses.append(fixed_loss(looked_at))
    go_on(alone, 6)
    assert len(set(losses)) == 6
    for name, part in alone.parts.items():
        assert torch.equal(looked_at.parts[name].buffer, part.buffer), name


@dataclass
class Look:
    """A validation that notes where the denoiser's adapter stands."""

    training: Training
    seen: list[Tensor]

    def validate(self, step: int, phase: Phase) -> None:
        self.seen.append(self.training.parts["denoiser"].buffer.detach().clone())


def test_pictures_and_measures_of_a_schedule_free_run_are_of_what_would_be_exported(
    small_run: SmallRun, tmp_path: Path
) -> None:
    alone, training = small_run(optimizer=SCHEDULE_FREE), small_run(optimizer=SCHEDULE_FREE)
    look = Look(training, [])
    rhythm = Rhythm(frozenset(), frozenset({3, 8}), stop_requested=bool)
    fit(training, store=CheckpointStore(tmp_path, keep=1), rhythm=rhythm, validation=look, emit=ignore)
    go_on(alone, 3)
    assert torch.equal(look.seen[0], averaged(alone.parts["denoiser"]))
    assert not torch.equal(look.seen[0], alone.parts["denoiser"].buffer)
    assert torch.equal(look.seen[1], training.parts["denoiser"].buffer), "and so they are after the last step"


@EACH
def test_fp16s_scaler_takes_the_unscaled_steps(small_run: SmallRun, optimizer: dict[str, Any]) -> None:
    plain, scaled = small_run(optimizer=optimizer), small_run(optimizer=optimizer)
    scaled.scaler = GradScaler("cpu", init_scale=1024.0)
    for training in (plain, scaled):
        go_on(training, 3)
    start = small_run(optimizer=optimizer).parts["denoiser"].buffer
    way = (plain.parts["denoiser"].buffer - start).abs().mean()
    apart = (plain.parts["denoiser"].buffer - scaled.parts["denoiser"].buffer).abs().mean()
    assert way > 0
    assert apart < 0.02 * way


@EACH
def test_a_run_in_fp16_trains_fp32_masters(small_run: SmallRun, optimizer: dict[str, Any]) -> None:
    training = small_run(runtime={"precision": "fp16"}, optimizer=optimizer)
    assert training.scaler is not None
    before = training.parts["denoiser"].buffer.detach().clone()
    go_on(training, 3)
    after = training.parts["denoiser"].buffer.detach()
    assert after.dtype == torch.float32
    assert after.isfinite().all()
    assert not torch.equal(after, before)


def test_a_run_whose_optimizer_is_not_installed_is_refused_before_any_work(
    small_config: SmallConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere: Callable[[str], None] = {}.get
    monkeypatch.setattr(extras, "find_spec", nowhere)
    with pytest.raises(ConfigError, match=r"lorasmith\[schedule-free\]"):
        train(in_folder(small_config(optimizer=SCHEDULE_FREE), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True)
class Case:
    """What is trained with which optimizer, and after which steps it is stopped; the pivot is at step 4 of 8."""

    optimizer: dict[str, Any]
    stops: tuple[int, ...]
    options: dict[str, Any]


WITH_PICTURES = {"validation": {**QUICK_PICTURES, "prompts": ("a TOK",), "held_out": 1, "every": 3}}
CASES = {
    "8-bit AdamW": Case(OPTIMIZERS["adamw, 8-bit"], (4, 5), {"adapter": {"rank": 4, "text_encoders": True}}),
    "Adafactor": Case(OPTIMIZERS["adafactor"], (3, 4), {"adapter": {"rank": 2, "kind": "dora"}}),
    "schedule-free Prodigy, pictures and held-out loss": Case(SCHEDULE_FREE, (3, 4, 5), WITH_PICTURES),
    "schedule-free Prodigy, text-encoder LoRA, dropout, accumulation": Case(
        SCHEDULE_FREE,
        (5,),
        {
            "adapter": {"rank": 2, "text_encoders": True, "dropout": 0.2},
            "schedule": {"steps": 8, "batch_size": 1, "gradient_accumulation": 2, "text_encoder_fraction": 0.5},
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_stopped_run_ends_with_the_same_bytes(small_config: SmallConfig, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    sections = {"validation": QUICK_PICTURES, "adapter": {"rank": 2}, **case.options}
    config = small_config(optimizer=case.optimizer, **sections)
    uninterrupted = RunFolder(train(in_folder(config, tmp_path / "uninterrupted")))
    stopped = train_with_stops(in_folder(config, tmp_path / "stopped"), case.stops)
    assert starts_of(stopped) == [0, *case.stops]
    assert_same_result(stopped, uninterrupted)
    assert [record["step"] for record in metrics_of(stopped) if record["event"] == "StepDone"] == list(range(1, 9))


def test_a_schedule_free_run_exports_the_mean_and_its_checkpoint_keeps_where_it_trains(
    small_config: SmallConfig, small_run: SmallRun, tmp_path: Path
) -> None:
    options = {"optimizer": SCHEDULE_FREE, "validation": QUICK_PICTURES, "adapter": {"rank": 2}}
    order, config = list(small_run(**options).parts["denoiser"].parameters), small_config(**options)
    run = RunFolder(train(in_folder(config, tmp_path / "run")))
    newest = CheckpointStore(run.checkpoints, keep=2).newest()
    assert newest is not None
    state = newest[0]
    (exported_file,) = run.export.rglob("pytorch_lora_weights.safetensors")
    exported = {name.removeprefix("unet."): tensor for name, tensor in load_file(exported_file).items()}
    trained, mean = state.weights["denoiser"], means_of(state, order)
    ups = [name for name in order if ".lora_B." in name]
    assert len(ups) > 10
    for name in ups:
        torch.testing.assert_close(exported[name.replace(".default.", ".")], mean[name], rtol=1e-5, atol=1e-7)
    assert not any(torch.equal(mean[name], trained[name]) for name in ups)


def means_of(state: TrainingState, order: list[str]) -> dict[str, Tensor]:
    """x of the denoiser's tensors, which follow one another in `order`: y = (1 − β1) z + β1 x."""
    beta1, points = 0.9, state.weights["denoiser"]
    flat = state.optimizers["denoiser"].tensors["z"]
    led_to = zip(order, flat.split([points[name].numel() for name in order]), strict=True)
    return {name: (points[name] - (1 - beta1) * z.view_as(points[name])) / beta1 for name, z in led_to}
