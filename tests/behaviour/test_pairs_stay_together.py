"""A picture, its caption, its sizes and its role reach the denoiser together, in every step of a run."""

# torch's `tolist` is not typed.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lorasmith.data.examples import Example, Role
from lorasmith.sizes import Size
from lorasmith.testing import pictures
from lorasmith.training.loop import Training
from lorasmith.training.step import draw_chance, reduce_losses

SmallRun = Callable[..., Training]
PRIOR = {"class_prompt": "a photo of a dog", "num_class_images": 3, "weight": 0.5}


def latents_of_the_file(training: Training, path: Path) -> torch.Tensor:
    """The picture's latents straight from the file (64×64, so that nothing is cut)."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 127.5 - 1
    return training.family.encode_pictures(torch.from_numpy(pixels.transpose(2, 0, 1)).unsqueeze(0)).mean[0]


def test_cached_latents_stay_with_their_captions_over_epochs(small_run: SmallRun) -> None:
    """C-3: the script caches by place in one shuffle and reads in another, so captions part from their pictures."""
    training = small_run(schedule={"batch_size": 3})
    training.batches.fill_cache(range(8), lambda _: None)
    wanted = {e.path: latents_of_the_file(training, e.path) for d in range(8) for e in examples(training, d)}
    orders: set[tuple[str, ...]] = set()
    for micro_step in range(8):
        batch = training.batches.batch_at(micro_step)
        orders.add(batch.captions)
        for place, draw in enumerate(batch.draws):
            torch.testing.assert_close(batch.latents.mean[place], wanted[draw.example.path])
            assert batch.captions[place] == draw.example.path.with_suffix(".txt").read_text().strip()
    assert len(wanted) == 4
    assert len(orders) > 4, "the order must change from epoch to epoch, or the test says nothing"


def examples(training: Training, micro_step: int) -> list[Example]:
    return [draw.example for draw in training.batches.order.draws_at(micro_step)]


def test_class_and_instance_prompts_stay_with_their_pictures_at_batch_two(small_run: SmallRun) -> None:
    """C-4: the script's prompts are [i, c, i, c] beside pictures [i, i, c, c]."""
    assert ["i", "c"] * 2 != ["i", "i", "c", "c"]
    training = small_run(prior=PRIOR)
    training.enter_phase()
    for micro_step in range(4):
        batch = training.batches.batch_at(micro_step)
        assert batch.roles == (Role.INSTANCE, Role.INSTANCE, Role.CLASS, Role.CLASS)
        assert batch.captions[2:] == ("a photo of a dog",) * 2
        assert all("TOK" in caption for caption in batch.captions[:2])
        embeddings = training.prompts.embeddings(batch.captions, training.phase)
        for place, caption in enumerate(batch.captions):
            alone = training.family.encode_prompts([caption.replace("TOK", "<s0><s1>")])
            torch.testing.assert_close(embeddings.hidden[place], alone.hidden[0], rtol=0, atol=2e-6)
            torch.testing.assert_close(embeddings.pooled[place], alone.pooled[0], rtol=0, atol=2e-6)


def test_the_loss_is_dreambooths_equation_in_any_order_of_the_batch(small_run: SmallRun) -> None:
    training = small_run(prior=PRIOR)
    batch = training.batches.batch_at(0)
    losses = torch.tensor([1.0, 2.0, 10.0, 30.0])
    found = reduce_losses(losses, batch)
    assert found.total.item() == pytest.approx(1.5 + 0.5 * 20)
    assert found.instance.item() == 1.5
    assert found.prior is not None
    assert found.prior.item() == 20
    mixed = [2, 0, 3, 1]
    shuffled = training.batches.batch_of([batch.draws[place] for place in mixed])
    assert reduce_losses(losses[mixed], shuffled).total.item() == pytest.approx(11.5)


def test_min_snr_weighs_instance_and_class_examples_alike(small_run: SmallRun) -> None:
    """The script leaves the prior without its weights; the ratio of both depends on the timestep there."""
    training = small_run(prior=PRIOR, objective={"snr_gamma": 5.0})
    timesteps = torch.tensor([10, 10, 10, 10])
    weights = training.objective.weights(timesteps)
    assert len(set(weights.tolist())) == 1
    assert weights[0] < 0.2


def test_crops_are_drawn_anew_each_epoch(small_run: SmallRun, tmp_path: Path) -> None:
    """C-14: the script draws each picture's one crop at the start, and trains on it to the end."""
    pictures(tmp_path / "wide", 2, size=Size(64, 160), captions=["a TOK"])
    training = small_run(data={"instance_images": tmp_path / "wide", "crop": "random", "flip": True})
    first = training.batches.order.draws_at(0)[0].example.id
    seen: list[torch.Tensor] = []
    corners: set[int] = set()
    for micro_step in range(12):
        batch = training.batches.batch_at(micro_step)
        place = [draw.example.id for draw in batch.draws].index(first)
        view = batch.draws[place].view
        corners.add(view.crop_top_left.left)
        assert batch.sizes[place].time_ids() == (64, 160, 0, view.crop_top_left.left, 64, 64)
        seen.append(batch.latents.mean[place])
    assert len(corners) > 8
    # Fewer than the corners, since several crops show nothing but the picture's plain ground.
    assert len({latents.numpy().tobytes() for latents in seen}) > 4


def test_no_two_examples_of_a_run_share_noise_or_its_draws(small_run: SmallRun) -> None:
    """C-17: in the script every GPU draws the same noise and timesteps; here each draw belongs to one example."""
    training = small_run(schedule={"batch_size": 4, "gradient_accumulation": 2})
    noises: set[tuple[float, ...]] = set()
    timesteps: list[int] = []
    for micro_step in range(6):
        batch = training.batches.batch_at(micro_step)
        draws = draw_chance(batch, training.objective, seed=0, micro_step=micro_step, device=torch.device("cpu"))
        noises |= {tuple(noise.flatten()[:4].tolist()) for noise in (*draws.noise, *draws.posterior)}
        timesteps += draws.timesteps.tolist()
    assert len(noises) == 6 * 4 * 2
    assert len(set(timesteps)) > 20


def test_one_picture_twice_in_a_batch_sees_two_noises(small_run: SmallRun, tmp_path: Path) -> None:
    pictures(tmp_path / "one", 1, captions=["a TOK"])
    training = small_run(data={"instance_images": tmp_path / "one"}, schedule={"batch_size": 2})
    batch = training.batches.batch_at(0)
    draws = draw_chance(batch, training.objective, seed=0, micro_step=0, device=torch.device("cpu"))
    assert batch.draws[0].example == batch.draws[1].example
    assert not torch.equal(draws.noise[0], draws.noise[1])
