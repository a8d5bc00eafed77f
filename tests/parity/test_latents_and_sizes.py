"""Latents and size conditioning against diffusers' pipeline and VAE."""

# diffusers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false

from pathlib import Path
from typing import Any

import pytest
import torch

from lorasmith.config.base import ModelConfig
from lorasmith.models.family import Conditioning, NoiseSchedule, PromptEmbeddings
from lorasmith.models.sdxl.components import open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.sizes import Corner, Size, SizeConditioning
from lorasmith.testing import open_pipeline

# Sizes that bf16 cannot say: the script casts them to the weights' dtype.
AWKWARD = SizeConditioning(Size(3023, 1333), Corner(777, 1), Size(1024, 1024))


def family_of(base: Path, dtype: torch.dtype = torch.float32) -> Sdxl:
    return Sdxl(open_components(ModelConfig(base=str(base)), dtype=dtype), device=torch.device("cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_time_ids_are_exact(tiny_base: Path, dtype: torch.dtype) -> None:
    """C-16: in bf16 the script's 3023 becomes 3024, 1333 becomes 1336 and 777 becomes 776."""
    ids = family_of(tiny_base, dtype).time_ids([AWKWARD, AWKWARD])
    assert ids.dtype == torch.float32
    assert ids.tolist() == [[3023, 1333, 777, 1, 1024, 1024]] * 2
    theirs = torch.tensor(AWKWARD.time_ids()).to(torch.bfloat16)
    assert theirs.tolist() == [3024, 1336, 776, 1, 1024, 1024]


def test_time_ids_are_the_pipelines(tiny_base: Path) -> None:
    pipeline: Any = open_pipeline(tiny_base)
    sizes = SizeConditioning(Size(50, 70), Corner(3, 9), Size(64, 64))
    width = pipeline.text_encoder_2.config.projection_dim
    theirs = pipeline._get_add_time_ids((50, 70), (3, 9), (64, 64), torch.float32, text_encoder_projection_dim=width)
    assert torch.equal(family_of(tiny_base).time_ids([sizes]), theirs)


def test_the_denoiser_reads_exact_sizes_in_bf16_too(tiny_base: Path) -> None:
    """What arrives at the size embedding, not only what is handed in."""
    family = family_of(tiny_base, torch.bfloat16)
    seen: list[torch.Tensor] = []
    family.components.unet.add_time_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    prompts = PromptEmbeddings(torch.zeros(1, 77, 80), torch.zeros(1, 48))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        family.predict(torch.zeros(1, 4, 8, 8), torch.tensor([5]), Conditioning(prompts, family.time_ids([AWKWARD])))
    assert seen[0].flatten().tolist() == [3023, 1333, 777, 1, 1024, 1024]


def test_a_prediction_is_the_unets_own(tiny_base: Path) -> None:
    family, pipeline = family_of(tiny_base), open_pipeline(tiny_base)
    noisy, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([3, 900])
    prompts = PromptEmbeddings(torch.randn(2, 77, 80), torch.randn(2, 48))
    time_ids = family.time_ids([AWKWARD, AWKWARD])
    unet: Any = pipeline.unet
    with torch.no_grad():
        ours = family.predict(noisy, timesteps, Conditioning(prompts, time_ids))
        added = {"text_embeds": prompts.pooled, "time_ids": time_ids}
        theirs = unet(noisy, timesteps, encoder_hidden_states=prompts.hidden, added_cond_kwargs=added).sample
    assert torch.equal(ours, theirs)


def test_latents_are_scaled_as_the_pipeline_unscales_them(tiny_base: Path) -> None:
    family = family_of(tiny_base)
    vae: Any = family.components.vae
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    found = family.encode_pictures(pictures)
    with torch.no_grad():
        raw = vae.encode(pictures).latent_dist
    torch.testing.assert_close(found.mean / vae.config.scaling_factor, raw.mean)
    unit = torch.randn_like(found.mean)
    torch.testing.assert_close(found.sample(unit), (raw.mean + raw.std * unit) * vae.config.scaling_factor)


def test_latents_follow_a_vaes_own_statistics_and_come_back_through_them(tiny_base: Path) -> None:
    """Some VAEs (Playground's) give a mean and a spread per channel; the pipeline decodes with them."""
    plain, family = family_of(tiny_base), family_of(tiny_base)
    vae: Any = family.components.vae
    mean, std = [-1.6, 1.3, 0.2, 0.0], [8.4, 5.9, 1.0, 0.5]
    vae.register_to_config(latents_mean=mean, latents_std=std, scaling_factor=0.5)
    pictures = torch.rand(1, 3, 64, 64) * 2 - 1
    raw_mean = plain.encode_pictures(pictures).mean / plain.components.vae.config["scaling_factor"]
    scaled = family.encode_pictures(pictures)
    # As in StableDiffusionXLPipeline.__call__, before decoding.
    shift, spread = (torch.tensor(values).view(1, 4, 1, 1) for values in (mean, std))
    torch.testing.assert_close(scaled.mean * spread / 0.5 + shift, raw_mean, rtol=1e-5, atol=1e-5)
    raw_std = plain.encode_pictures(pictures).std / plain.components.vae.config["scaling_factor"]
    torch.testing.assert_close(scaled.std * spread / 0.5, raw_std, rtol=1e-4, atol=1e-8)


def test_pictures_are_encoded_in_fp32_whatever_the_run_computes_in(tiny_base: Path) -> None:
    pictures = torch.rand(1, 3, 64, 64) * 2 - 1
    wanted = family_of(tiny_base).encode_pictures(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        found = family_of(tiny_base, torch.bfloat16).encode_pictures(pictures)
    assert found.mean.dtype == torch.float32
    torch.testing.assert_close(found.mean, wanted.mean)


def test_the_noise_schedule_is_the_bases_own(tiny_base: Path, tiny_v_base: Path) -> None:
    plain, velocity = family_of(tiny_base).noise_schedule, family_of(tiny_v_base).noise_schedule
    pipeline: Any = open_pipeline(tiny_base)
    assert isinstance(plain, NoiseSchedule)
    torch.testing.assert_close(plain.alphas_cumprod, pipeline.scheduler.alphas_cumprod)
    assert (plain.prediction_type, velocity.prediction_type) == ("epsilon", "v_prediction")
