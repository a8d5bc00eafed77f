"""What lies outside of a picture's mask is not learnt, and a small subject teaches as fast as a large one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from resuming import QUICK_PICTURES, assert_same_result, in_folder, metrics_of, train_with_stops
from torch import Tensor

from lorasmith.config.train import TrainConfig
from lorasmith.data.batches import Batch
from lorasmith.events import Event, WorkDone, ignore
from lorasmith.models.family import Conditioning
from lorasmith.objectives.objective import mean_over
from lorasmith.run_folder import RunFolder
from lorasmith.runs.masks import with_masks_from_words
from lorasmith.runs.pictures import instance_images
from lorasmith.runs.plan import plan_run
from lorasmith.runs.train import train
from lorasmith.sizes import Size
from lorasmith.testing import pictures
from lorasmith.testing.onlookers import tiny_clipseg
from lorasmith.training.loop import Training, take_step
from lorasmith.training.step import StepDraws, draw_chance, training_step

SmallRun = Callable[..., Training]
SmallConfig = Callable[..., TrainConfig]
FAST = {"name": "adamw", "learning_rate": 1e-2, "weight_decay": 0.0}


def subject_and_background(folder: Path, *, masked: bool) -> Path:
    """One picture: its left half red (the subject), its right half blue stripes; with its mask if `masked`."""
    folder.mkdir()
    picture = Image.new("RGB", (64, 64), (220, 30, 20))
    drawn = ImageDraw.Draw(picture)
    for at in range(32, 64, 8):
        drawn.rectangle((at, 0, at + 3, 63), (10, 30, 230))
        drawn.rectangle((at + 4, 0, at + 7, 63), (240, 240, 90))
    picture.save(folder / "a.png")
    if masked:
        mask = Image.new("L", (64, 64))
        ImageDraw.Draw(mask).rectangle((0, 0, 31, 63), 255)
        mask.save(folder / "a-masklabel.png")
    return folder


def options(base: Path, images: Path, **more: Mapping[str, Any]) -> dict[str, Any]:
    """A quick run on one picture."""
    return {
        "model": {"base": str(base)},
        "data": {"instance_images": images, "instance_prompt": "a TOK"},
        "adapter": {"rank": 8, "targets": "attention+feed-forward"},
        "optimizer": FAST,
        "schedule": {"steps": 40, "batch_size": 4, "pivot": 0.1},
        **more,
    }


def chance(batch: Batch, training: Training) -> StepDraws:
    return draw_chance(batch, training.objective, seed=99, micro_step=0, device=torch.device("cpu"))


@torch.no_grad()
def said_and_wanted(training: Training) -> tuple[Tensor, Tensor]:
    """The prediction and its target [4, C, 8, 8] for the picture under fixed noise."""
    family, objective = training.family, training.objective
    batch = training.batches.batch_at(0)
    draws = chance(batch, training)
    latents = batch.latents.mean
    noisy = objective.corrupt(latents, draws.noise, draws.timesteps)
    prompts = training.prompts.embeddings(batch.captions, training.phase)
    conditioning = Conditioning(prompts, family.time_ids(batch.sizes))
    prediction = family.predict(noisy, objective.times(draws.timesteps), conditioning)
    return prediction, objective.target(latents, draws.noise, draws.timesteps)


def learnt(training: Training) -> tuple[float, float]:
    """How much the error fell in training, as a share of what it was: over the subject, over the background."""
    training.enter_phase()
    before, wanted = said_and_wanted(training)
    for _ in range(training.phases.total_steps):
        training.enter_phase()
        take_step(training)
    after, _ = said_and_wanted(training)

    def fell(half: slice) -> float:
        errors = [(said - wanted)[..., half].square().mean().item() for said in (before, after)]
        return 1 - errors[1] / errors[0]

    return fell(slice(0, 4)), fell(slice(4, 8))


def test_a_masked_background_is_hardly_learnt_and_the_subject_all_the_more(
    small_run: SmallRun, tiny_v_base: Path, tmp_path: Path
) -> None:
    bare = subject_and_background(tmp_path / "whole", masked=False)
    covered = subject_and_background(tmp_path / "masked", masked=True)
    slowly: dict[str, Mapping[str, Any]] = {  # at the others' rate of 0.01 the last steps leave much to chance
        "optimizer": {**FAST, "learning_rate": 3e-3},
        "schedule": {"steps": 80, "batch_size": 4, "pivot": 0.1},
    }
    whole_subject, whole_background = learnt(small_run(**options(tiny_v_base, bare, **slowly)))
    subject, background = learnt(small_run(**options(tiny_v_base, covered, **slowly)))
    assert whole_background > 0.1, "the background can be learnt"
    # Measured: 28 % of the error without a mask, 6 % with one: what is learnt of the subject moves the whole picture.
    assert background < 0.4 * whole_background
    assert subject > whole_subject
    _, leaking = learnt(small_run(**options(tiny_v_base, covered, objective={"unmasked_weight": 0.1}, **slowly)))
    assert background < leaking < whole_background


def test_nothing_outside_of_the_mask_has_a_gradient_and_inside_it_is_that_of_the_cut_out_picture() -> None:
    generator = torch.Generator().manual_seed(1)
    prediction, target = torch.randn(2, 2, 4, 8, 8, generator=generator).unbind()
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, 2:4, 1:5] = 1
    masks[1, :, 5:, 6:] = 1

    def gradient(said: Tensor, wanted: Tensor, mask: Tensor | None) -> Tensor:
        said = said.clone().requires_grad_()
        (found,) = torch.autograd.grad(mean_over((said - wanted).square(), mask).sum(), said)
        return found

    found = gradient(prediction, target, masks)
    assert bool((found[(masks == 0).expand_as(found)] == 0).all())
    for place, (rows, columns) in enumerate(((slice(2, 4), slice(1, 5)), (slice(5, 8), slice(6, 8)))):
        cut = (slice(place, place + 1), slice(None), rows, columns)
        torch.testing.assert_close(found[cut], gradient(prediction[cut], target[cut], None))


def test_small_masks_teach_as_fast_as_large_ones_and_empty_ones_nothing() -> None:
    errors = torch.full((4, 4, 8, 8), 0.5)
    masks = torch.zeros(4, 1, 8, 8)
    masks[0] = 1
    masks[1, :, :1, :1] = 1
    masks[2, :, :1, :1] = 0.25
    torch.testing.assert_close(mean_over(errors, masks), torch.tensor([0.5, 0.5, 0.125, 0.0]))
    assert torch.equal(mean_over(errors, None), errors.flatten(1).mean(1))


def test_the_step_weighs_each_example_by_its_own_mask(small_run: SmallRun, tiny_v_base: Path, tmp_path: Path) -> None:
    images = subject_and_background(tmp_path / "masked", masked=True)
    training = small_run(**options(tiny_v_base, images))
    training.enter_phase()
    batch = training.batches.batch_at(0)
    assert batch.masks is not None
    assert batch.masks.shape == (4, 1, 8, 8)
    prompts = training.prompts.embeddings(batch.captions, training.phase)

    def losses(one: Batch) -> Tensor:
        draws = chance(one, training)
        return training_step(training.family, training.objective, one, prompts=prompts, draws=draws).examples

    masked, whole = losses(batch), losses(replace(batch, masks=None))
    ones = losses(replace(batch, masks=torch.ones_like(batch.masks)))
    other_half = losses(replace(batch, masks=1 - batch.masks))
    torch.testing.assert_close(ones, whole)
    torch.testing.assert_close((masked + other_half) / 2, whole)
    assert not torch.allclose(masked, other_half)


@pytest.fixture
def clipseg(tmp_path: Path) -> Path:
    """A CLIPSeg of random weights."""
    return tiny_clipseg(tmp_path / "clipseg")


def run_of_words(small_config: SmallConfig, tmp_path: Path, clipseg: Path, **data: object) -> TrainConfig:
    images = tmp_path / "words"
    if not images.exists():
        pictures(images, 3, size=Size(64, 96), captions=["a TOK"] * 3)
    words = {"mask_words": "a dog", "mask_source": str(clipseg), "mask_temperature": 0.1}
    return small_config(
        data={"instance_images": images, "crop": "mask", **words, **data},
        optimizer=FAST, adapter={"rank": 2}, schedule={"steps": 6, "batch_size": 2}, validation=QUICK_PICTURES,
    )  # fmt: skip


def test_a_run_draws_masks_from_words_once_and_resumes_with_them_to_the_byte(
    small_config: SmallConfig, tmp_path: Path, clipseg: Path
) -> None:
    config = run_of_words(small_config, tmp_path, clipseg)
    assert plan_run(config).masks_told == (
        "3 are drawn from the words 'a dog'; what is outside counts 0; pictures are cut around them"
    )
    uninterrupted = RunFolder(train(in_folder(config, tmp_path / "uninterrupted")))
    drawn = {path: path.stat().st_mtime_ns for path in (tmp_path / "latents" / "masks").rglob("*.png")}
    assert len(drawn) == 3
    stopped = train_with_stops(in_folder(config, tmp_path / "stopped"), (2, 4))
    assert_same_result(stopped, uninterrupted)
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn
    whole = RunFolder(
        train(
            in_folder(run_of_words(small_config, tmp_path, clipseg, mask_words=None, crop="center"), tmp_path / "whole")
        )
    )
    assert metrics_of(whole) != metrics_of(uninterrupted)


def test_other_words_or_weights_draw_other_masks(small_config: SmallConfig, tmp_path: Path, clipseg: Path) -> None:
    masks: list[set[str | None]] = []
    for words, source in (
        ("a dog", clipseg),
        ("the red cup", clipseg),
        ("a dog", tiny_clipseg(tmp_path / "2", seed=1)),
    ):
        config = run_of_words(small_config, tmp_path, source, mask_words=words)
        examples = instance_images(config, ignore)
        masked = with_masks_from_words(config, examples, torch.device("cpu"), ignore)
        masks.append({one.mask.content if one.mask else None for one in masked})
    assert None not in set[str | None]().union(*masks)
    assert len(set[str | None]().union(*masks)) == 9


def test_words_mask_only_pictures_that_have_no_mask_and_not_twice(
    small_config: SmallConfig, tmp_path: Path, clipseg: Path
) -> None:
    config = run_of_words(small_config, tmp_path, clipseg)
    images = config.data.instance_images
    assert images is not None
    first = sorted(images.glob("*.png"))[0]
    own = first.with_name(f"{first.stem}-masklabel.png")
    Image.new("L", (96, 64), 255).save(own)
    examples = instance_images(config, ignore)
    events: list[Event] = []
    masked = with_masks_from_words(config, examples, torch.device("cpu"), events.append)
    assert [one.mask.path == own for one in masked if one.mask] == [True, False, False]
    assert events == [WorkDone("drawing masks", 1, 2), WorkDone("drawing masks", 2, 2)]
