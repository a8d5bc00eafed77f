"""What trains until the pivot does not change by a bit after it, and costs nothing any more."""

# prodigyopt has no types, and transformers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownLambdaType=false

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from prodigyopt import Prodigy
from torch import Tensor, nn

from lorasmith.events import StepDone
from lorasmith.optim.part import PartOptimizer
from lorasmith.training.loop import Training, take_step

SmallRun = Callable[..., Training]
ADAMW = {"name": "adamw", "learning_rate": 1e-3}
PRODIGY = {"name": "prodigy", "d0": 1e-3}
BOTH = pytest.mark.parametrize("optimizer", [ADAMW, PRODIGY], ids=["adamw", "prodigy"])


def train(training: Training, until: int) -> list[StepDone]:
    done: list[StepDone] = []
    while training.step < until:
        training.enter_phase()
        done.append(take_step(training))
    return done


def all_of(part: PartOptimizer) -> dict[str, Any]:
    """A part's weights and everything its optimizer remembers, as they are now."""
    state = part.capture()
    tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
    return {"weights": part.buffer.detach().clone(), **tensors, "numbers": repr(state.numbers)}


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        same = torch.equal(found[name], value) if isinstance(value, Tensor) else found[name] == value
        assert same, name


def encoder_calls(training: Training) -> list[str]:
    """Filled with a name each time a text encoder is used."""
    calls: list[str] = []
    for named in training.family.text_encoders:
        named.encoder.register_forward_pre_hook(partial(_note, calls, named.name))
    return calls


def _note(calls: list[str], name: str, *_: object) -> None:
    calls.append(name)


@BOTH
def test_embeddings_do_not_change_after_the_pivot(small_run: SmallRun, optimizer: dict[str, Any]) -> None:
    """C-2: with the script's zero rate, Prodigy goes on moving them along their last direction."""
    training = small_run(optimizer=optimizer)
    start = {name: tokens.rows.detach().clone() for name, tokens in training.new_tokens.items()}
    train(training, 4)
    assert not any(torch.equal(training.new_tokens[name].rows, rows) for name, rows in start.items())
    at_pivot = {name: all_of(training.parts[name]) for name in training.new_tokens}
    denoiser = training.parts["denoiser"].buffer.detach().clone()
    done = train(training, 8)
    for name, wanted in at_pivot.items():
        assert_same(all_of(training.parts[name]), wanted)
        assert torch.equal(training.new_tokens[name].rows.flatten(), wanted["weights"])
    assert not torch.equal(training.parts["denoiser"].buffer, denoiser)
    assert [sorted(event.rates) for event in done] == [["denoiser"]] * 4


def test_a_group_of_rate_zero_moves_under_prodigy_which_is_why_a_part_has_its_own() -> None:
    """C-2's cause, in numbers: a group whose rate is 0 after step 10, beside one that trains."""
    generator = torch.Generator().manual_seed(0)
    trains, frozen = (nn.Parameter(torch.randn(8, generator=generator)) for _ in range(2))
    theirs = Prodigy([{"params": [trains]}, {"params": [frozen]}], lr=1.0, d0=1e-3)
    positions: list[Tensor] = []
    for step in range(60):
        if step == 10:
            theirs.param_groups[1]["lr"] = 0.0
            positions.append(frozen.detach().clone())
        theirs.zero_grad()
        ((trains - 3).square().sum() + (frozen - 3).square().sum()).backward()
        theirs.step()
    assert (frozen.detach() - positions[0]).abs().max() > 1.0


@BOTH
def test_text_encoder_adapters_do_not_change_after_their_fraction(
    small_run: SmallRun, optimizer: dict[str, Any]
) -> None:
    training = small_run(
        optimizer=optimizer,
        adapter={"text_encoders": True},
        schedule={"steps": 6, "text_encoder_fraction": 0.5, "pivot": 0.34},
    )
    train(training, 2)
    rows = {name: all_of(training.parts[name]) for name in training.new_tokens}
    train(training, 3)
    adapters = {name: all_of(training.parts[name]) for name in ("text_encoder_1", "text_encoder_2")}
    assert all(wanted["weights"].any() for wanted in adapters.values())
    train(training, 6)
    for name, wanted in {**rows, **adapters}.items():
        assert_same(all_of(training.parts[name]), wanted)


def test_after_the_pivot_no_gradient_is_computed_and_no_encoder_is_called(small_run: SmallRun) -> None:
    training = small_run(prior={"class_prompt": "a photo of a dog", "num_class_images": 2})
    calls = encoder_calls(training)
    train(training, 4)
    assert calls
    training.enter_phase()
    calls.clear()
    for tokens in training.new_tokens.values():
        assert not tokens.rows.requires_grad
    for name in training.new_tokens:
        training.parts[name].zero_gradient()
    train(training, 8)
    assert calls == []
    assert not any(training.parts[name].gradient.any() for name in training.new_tokens)


def test_without_new_tokens_each_prompt_is_encoded_once_in_the_whole_run(small_run: SmallRun) -> None:
    training = small_run(tokens={"enabled": False})
    calls = encoder_calls(training)
    train(training, 8)
    assert sorted(calls) == ["text_encoder_1"] * 4 + ["text_encoder_2"] * 4  # four captions


def test_before_the_pivot_prompts_without_new_tokens_are_encoded_once(small_run: SmallRun) -> None:
    training = small_run(
        prior={"class_prompt": "a photo of a dog", "num_class_images": 2}, schedule={"batch_size": 1, "pivot": 1.0}
    )
    calls = encoder_calls(training)
    train(training, 5)
    # One prompt of an instance image a step, and the class prompt once.
    assert len(calls) == 2 * (5 + 1)


def test_the_denoiser_is_told_the_final_embeddings_after_the_pivot(small_run: SmallRun) -> None:
    training = small_run()
    train(training, 4)
    training.enter_phase()
    captions = training.batches.batch_at(5).captions
    kept = training.prompts.embeddings(captions, training.phase)
    fresh = training.family.encode_prompts([caption.replace("TOK", "<s0><s1>") for caption in captions])
    torch.testing.assert_close(kept.hidden, fresh.hidden, rtol=0, atol=2e-6)
    assert not kept.hidden.requires_grad


@pytest.mark.parametrize(("options", "changed_at"), [({"pivot": 0.0}, []), ({"pivot": 1.0}, [1, 2, 3, 4]),
                                                     ({"pivot_step": 3}, [1, 2, 3])])  # fmt: skip
def test_new_tokens_train_in_exactly_the_steps_before_the_pivot(
    small_run: SmallRun, options: dict[str, float], changed_at: list[int]
) -> None:
    training = small_run(schedule={"steps": 4, **options}, optimizer=ADAMW)
    found: list[int] = []
    for step in range(1, 5):
        before = {name: tokens.rows.detach().clone() for name, tokens in training.new_tokens.items()}
        train(training, step)
        moved = [not torch.equal(training.new_tokens[name].rows, rows) for name, rows in before.items()]
        assert len(set(moved)) == 1
        found += [step] if moved[0] else []
    assert found == changed_at


def test_norms_are_kept_once_per_update_and_not_after_the_pivot(
    small_run: SmallRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-12: the script pulls in every pass of an accumulated update, and goes on to the end of the run."""
    training = small_run(schedule={"steps": 4, "gradient_accumulation": 3, "batch_size": 1})
    pulls: list[tuple[int, str]] = []
    rescale = PartOptimizer.rescale

    def counted(self: PartOptimizer, factor: float) -> None:
        pulls.append((training.step, self.name))
        rescale(self, factor)

    monkeypatch.setattr(PartOptimizer, "rescale", counted)
    train(training, 4)
    assert sorted(pulls) == [(0, "new_tokens_1"), (0, "new_tokens_2"), (1, "new_tokens_1"), (1, "new_tokens_2")]


@pytest.mark.parametrize("keep_norm", [True, False])
def test_rows_that_start_too_wide_come_back_only_when_their_norm_is_kept(
    small_run: SmallRun, *, keep_norm: bool
) -> None:
    training = small_run(tokens={"keep_norm": keep_norm}, optimizer=ADAMW, schedule={"pivot": 1.0})
    tokens = training.new_tokens["new_tokens_1"]
    training.parts["new_tokens_1"].rescale(2.0 * tokens.embedding.spread / tokens.rows.std().item())
    train(training, 4)
    ratio = tokens.rows.std().item() / tokens.embedding.spread
    assert ratio == pytest.approx(2.0**0.6561 if keep_norm else 2.0, rel=0.02)


def test_the_frozen_tables_and_the_whole_base_stay_as_they_were_to_the_last_bit(small_run: SmallRun) -> None:
    training = small_run(optimizer=ADAMW, adapter={"text_encoders": True, "rank": 4}, schedule={"pivot": 1.0})
    family: Any = training.family
    before = {name: tensor.clone() for name, tensor in frozen_tensors(family).items()}
    assert sum("token_embedding.frozen.weight" in name for name in before) == 2
    train(training, 3)
    after = frozen_tensors(family)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert len(before) > 300


def frozen_tensors(family: Any) -> dict[str, Tensor]:
    modules = {**family.parts, "vae": family.components.vae}
    return {
        f"{part}.{name}": tensor
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
        if "lora_" not in name and not name.endswith("token_embedding.rows")
    }
