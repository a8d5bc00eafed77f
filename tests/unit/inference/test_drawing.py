# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# diffusers' modules are only partly typed.
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lorasmith.inference.draw import DrawRequest, DrawSettings, draw, initial_noise
from lorasmith.inference.exports import load_concept
from lorasmith.sizes import Size
from lorasmith.testing.random_export import random_export

SETTINGS = DrawSettings(steps=3, guidance=4.0)
REQUESTS = [DrawRequest(prompt, seed, settings=SETTINGS) for prompt in ("a dog", "a red photo") for seed in (0, 1)]


def difference(first: Image.Image, second: Image.Image) -> int:
    """Largest difference of one colour value, 0 to 255."""
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second)).max())


def test_each_picture_is_the_same_alone_and_in_a_batch(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    together = draw(pipeline, REQUESTS, batch_size=3)
    alone = [draw(pipeline, [request])[0] for request in reversed(REQUESTS)][::-1]
    # One step of colour: matrices of another height may round differently.
    assert all(difference(a, b) <= 1 for a, b in zip(together, alone, strict=True))
    assert difference(together[0], together[1]) > 8
    assert difference(together[0], together[2]) > 1


def test_a_picture_equals_the_plain_diffusers_call_with_its_seed(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    (ours,) = draw(pipeline, [REQUESTS[1]])
    generator = torch.Generator().manual_seed(1)
    theirs = pipeline("a dog", generator=generator, num_inference_steps=3, guidance_scale=4.0).images[0]
    assert difference(ours, theirs) == 0


def test_noise_is_the_same_whatever_the_precision_drawn_in(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    before = initial_noise(pipeline, REQUESTS[0])
    pipeline.unet.to(torch.bfloat16)
    assert torch.equal(before, initial_noise(pipeline, REQUESTS[0]))
    assert before.dtype == torch.float32


def test_a_bf16_denoiser_draws_with_an_fp32_vae(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    (exact,) = draw(pipeline, REQUESTS[:1])
    for network in (pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2):
        network.to(torch.bfloat16)
    (rounded,) = draw(pipeline, REQUESTS[:1])
    assert pipeline.vae.dtype == torch.float32
    assert 0 < np.abs(np.asarray(exact).astype(float) - np.asarray(rounded)).mean() < 8


def test_a_vae_with_statistics_for_any_number_of_channels_is_decoded_by_them(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    (plain,) = draw(pipeline, REQUESTS[:1])
    pipeline.vae.register_to_config(latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    assert difference(plain, draw(pipeline, REQUESTS[:1])[0]) == 0
    pipeline.vae.register_to_config(latents_mean=[0.5] * 4, latents_std=[2.0] * 4)
    assert difference(plain, draw(pipeline, REQUESTS[:1])[0]) > 8


def test_the_wanted_size_prompt_negative_prompt_and_guidance_reach_the_picture(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    first = REQUESTS[0]
    changed = [
        replace(first, negative_prompt="red"),
        replace(first, settings=replace(SETTINGS, guidance=1.0)),
        replace(first, settings=replace(SETTINGS, size=Size(32, 96))),
    ]
    plain, negative, unguided, wide = draw(pipeline, [first, *changed], batch_size=2)
    assert wide.size == (96, 32)
    assert plain.size == (64, 64)
    assert difference(plain, negative) > 1
    assert difference(plain, unguided) > 1


def test_drawing_leaves_training_modes_and_global_random_numbers_as_they_were(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    pipeline.unet.train()
    pipeline.vae.eval()
    state = torch.random.get_rng_state()
    draw(pipeline, REQUESTS[:2])
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(module.training for module in pipeline.unet.modules())
    assert not any(module.training for module in pipeline.vae.modules())


def test_dropout_is_off_while_drawing(open_tiny: Callable[[], Any]) -> None:
    pipeline = open_tiny()
    (rested,) = draw(pipeline, REQUESTS[:1])
    for module in pipeline.unet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    pipeline.unet.train()
    assert difference(rested, draw(pipeline, REQUESTS[:1])[0]) == 0


def test_progress_is_told_after_each_batch(open_tiny: Callable[[], Any]) -> None:
    heard = list[int]()
    draw(open_tiny(), REQUESTS, batch_size=3, on_picture=heard.append)
    assert heard == [3, 4]


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_the_adapters_scale_moves_the_picture_from_the_bases_to_the_concepts(
    open_tiny: Callable[[], Any], tiny_base: Path, tmp_path: Path, scale: float
) -> None:
    pipeline = open_tiny()
    at_scale = [replace(REQUESTS[0], settings=replace(SETTINGS, scale=scale))]
    (base,) = draw(pipeline, REQUESTS[:1])
    load_concept(pipeline, random_export(tmp_path, tiny_base, abstractions={}))
    (scaled,) = draw(pipeline, at_scale)
    (full,) = draw(pipeline, REQUESTS[:1])
    assert difference(base, full) > 8
    assert (difference(scaled, base) <= 1) == (scale == 0.0)
    assert (difference(scaled, full) <= 1) == (scale == 1.0)
