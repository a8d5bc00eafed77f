"""A build trains, resumes where it stopped, and exports a pipeline that stock diffusers loads and draws with."""
# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from lorasmith.base_builder.autoencoder import train_decoder
from lorasmith.base_builder.examples import Examples, batch_at
from lorasmith.base_builder.export import export_pipeline
from lorasmith.base_builder.fitting import build_networks, example_losses, fit_denoiser, load_examples
from lorasmith.base_builder.networks import build_scheduler, embed_captions
from lorasmith.base_builder.preparing import encode_pictures, tokenize_captions
from lorasmith.base_builder.recipe import Recipe, Workshop
from lorasmith.base_builder.sitting import Sitting
from lorasmith.base_builder.states import load_state
from lorasmith.base_builder.vocabulary import write_vocabulary

RECIPE = Recipe(
    pictures=12,
    captions_per_picture=2,
    denoiser_channels=(16, 32, 32),
    denoiser_heads=(1, 1, 1),
    text_widths=(32, 32),
    batch=4,
    decoder_batch=2,
    warm_up_steps=1,
)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Pictures, latents, captions, and one short sitting of each training."""
    workshop = Workshop(tmp_path_factory.mktemp("workshop"))
    coarse = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    np.save(workshop.pictures, coarse.repeat(8, axis=1).repeat(8, axis=2))
    encode_pictures(RECIPE, workshop)
    write_vocabulary(workshop.tokenizer, size=1_400)
    tokenize_captions(RECIPE, workshop)
    train_decoder(RECIPE, workshop, Sitting(0.4), device="cpu")
    fit_denoiser(RECIPE, workshop, Sitting(0.4), device="cpu")
    return workshop


def test_a_second_sitting_goes_on_from_the_first(workshop: Workshop) -> None:
    _, before = load_state(workshop.denoiser)
    fit_denoiser(RECIPE, workshop, Sitting(0.2), device="cpu")
    _, after = load_state(workshop.denoiser)
    assert 0 < before < after


def test_a_batch_depends_on_seed_and_step_alone(workshop: Workshop) -> None:
    examples: Examples = load_examples(RECIPE, workshop)
    sigmas = np.linspace(0.03, 14.6, 1000, dtype=np.float32)
    once, again, other = (batch_at(RECIPE, examples, sigmas, step) for step in (5, 5, 6))
    for field in dataclasses.fields(once):
        assert np.array_equal(getattr(once, field.name), getattr(again, field.name))
    assert not np.array_equal(once.noise, other.noise)


def test_every_picture_is_seen_once_an_epoch(workshop: Workshop) -> None:
    examples = load_examples(RECIPE, workshop)
    sigmas = np.linspace(0.03, 14.6, 1000, dtype=np.float32)
    seen = np.concatenate([batch_at(RECIPE, examples, sigmas, step).latents for step in range(3)])
    assert len({picture.tobytes() for picture in seen}) == 12


def test_the_loss_of_a_denoiser_that_says_nothing_is_the_size_of_the_v_target(workshop: Workshop) -> None:
    networks = build_networks(RECIPE, workshop)
    batch = batch_at(RECIPE, load_examples(RECIPE, workshop), np.linspace(0.03, 14.6, 1000, dtype=np.float32), 0)
    alphas = build_scheduler().alphas_cumprod
    loss = example_losses(networks, batch, alphas, device="cpu").mean()
    signal = alphas[batch.timesteps].sqrt().numpy()[:, None, None, None]
    spread = (1 - alphas[batch.timesteps]).sqrt().numpy()[:, None, None, None]
    silent = ((signal * batch.noise - spread * batch.latents) ** 2).mean()  # it starts with a silent last layer
    assert loss.item() == pytest.approx(float(silent), rel=2e-2)


def test_the_pooled_state_is_read_at_the_true_end_of_text_even_when_a_later_id_is_higher(workshop: Workshop) -> None:
    networks = build_networks(RECIPE, workshop).eval()
    end = networks.end_of_text
    ids = torch.tensor([[end - 1, 300, 301, end, end, end]])
    changed = ids.clone()
    changed[0, 2] = 302
    with torch.no_grad():
        pooled, other = (embed_captions(networks, tokens).pooled for tokens in (ids, changed))
        stock = networks.text_encoder_2(torch.tensor([[end - 1, 300, 301, end, 0, 0]])).text_embeds
    assert torch.allclose(pooled, stock, atol=1e-5)
    assert not torch.allclose(pooled, other, atol=1e-4)


def test_the_export_loads_in_stock_diffusers_and_draws(workshop: Workshop, tmp_path: Path) -> None:
    export_pipeline(RECIPE, workshop, tmp_path)
    pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a red apple", height=64, width=64, num_inference_steps=2, guidance_scale=4.0).images[0]
    assert picture.size == (64, 64)
    assert pipeline.text_encoder.config.eos_token_id == pipeline.text_encoder_2.config.eos_token_id == 2
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    weights, _ = load_state(workshop.denoiser)
    expected = weights["average"]["text_encoder_2.text_projection.weight"]
    assert torch.allclose(pipeline.text_encoder_2.text_projection.weight, expected, atol=1e-3)


def test_no_exported_file_names_the_folder_it_was_built_in(workshop: Workshop, tmp_path: Path) -> None:
    export_pipeline(RECIPE, workshop, tmp_path)
    for path in tmp_path.rglob("*.json"):
        assert str(workshop.folder) not in path.read_text()
        assert "_name_or_path" not in path.read_text()
