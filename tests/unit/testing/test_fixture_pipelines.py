"""The pipelines that other tests build on are what they say."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false

from pathlib import Path
from typing import Literal

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lorasmith.sizes import Size
from lorasmith.testing import (
    medium_pipeline,
    open_pipeline,
    pictures,
    real_sdxl_text_encoders,
    real_sdxl_unet,
    real_sdxl_vae,
    tiny_pipeline,
)
from lorasmith.testing.random_weights import build
from lorasmith.testing.real_sdxl import UNET_PARAMETERS


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_tiny_pipeline_loads_and_draws_and_words_matter(tmp_path: Path) -> None:
    pipeline = open_pipeline(tiny_pipeline(tmp_path))
    drawn = [
        pipeline(prompt, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
        for prompt in ("a red dog", "a photo of the sea")
    ]
    assert drawn[0].size == (64, 64)
    assert drawn[0].tobytes() != drawn[1].tobytes()


def test_the_tiny_pipelines_tokenizers_end_with_start_and_end_of_text_and_pad_as_sdxls_do(tmp_path: Path) -> None:
    pipeline = open_pipeline(tiny_pipeline(tmp_path))
    printable = "".join(chr(code) for code in range(33, 127))
    for tokenizer, pad in ((pipeline.tokenizer, "<|endoftext|>"), (pipeline.tokenizer_2, "!")):
        ids = tokenizer(f"a photo of {printable}").input_ids
        assert (ids[0], ids[-1]) == (len(tokenizer) - 2, len(tokenizer) - 1)
        assert tokenizer.pad_token == pad
        spelt = "".join(tokenizer.convert_ids_to_tokens(ids[1:-1])).replace("</w>", "")
        assert spelt == "aphotoof" + printable.lower()
        assert tokenizer("photo").input_ids[1:-1] == [tokenizer.get_vocab()["photo</w>"]]
    assert pipeline.text_encoder.config.eos_token_id == pipeline.text_encoder_2.config.eos_token_id == 2


def test_the_tiny_pipeline_is_the_same_bytes_each_time_and_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    first, second = tiny_pipeline(tmp_path / "a"), tiny_pipeline(tmp_path / "b")
    assert torch.equal(before, torch.random.get_rng_state())
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) > 10
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_the_tiny_pipeline_takes_other_latents_predictions_and_depths(tmp_path: Path) -> None:
    folder = tiny_pipeline(tmp_path, prediction_type="v_prediction", latent_channels=8, layers_per_block=1)
    pipeline = open_pipeline(folder)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.vae.config.latent_channels == pipeline.unet.config.in_channels == 8
    assert pipeline("a dog", num_inference_steps=1).images[0].size == (64, 64)


def test_the_tiny_vae_keeps_the_picture_rather_than_noise(tmp_path: Path) -> None:
    vae = open_pipeline(tiny_pipeline(tmp_path)).vae
    with torch.no_grad():
        known = vae.encode(torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)).latent_dist
    assert known.std.max() < 0.1 * known.mean.std()


def test_the_real_configurations_have_exactly_sdxls_parameters() -> None:
    encoders = real_sdxl_text_encoders()
    assert _parameters(real_sdxl_unet()) == UNET_PARAMETERS == 2_567_463_684
    assert _parameters(encoders.first) == 123_060_480
    assert _parameters(encoders.second) == 694_659_840
    assert _parameters(real_sdxl_vae()) == 83_653_863


def test_quick_weights_come_in_the_wanted_type_finite_and_of_useful_size() -> None:
    layer = build(lambda: torch.nn.Linear(400, 300), torch.bfloat16, "cpu")
    assert layer.weight.dtype == torch.bfloat16
    answer = layer(torch.randn(8, 400, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0)))
    assert 0.3 < answer.float().std().item() < 1.0


def test_the_medium_pipeline_has_sdxls_proportions_and_runs(tmp_path: Path) -> None:
    folder = medium_pipeline(tmp_path)
    sizes = {
        part: sum(
            tensor.numel() for file in (folder / part).glob("*.safetensors") for tensor in load_file(file).values()
        )
        for part in ("unet", "text_encoder", "text_encoder_2")
    }
    assert 110e6 < sum(sizes.values()) < 135e6
    assert 0.7 < sizes["unet"] / sum(sizes.values()) < 0.8
    pipeline = open_pipeline(folder)
    latents = pipeline("a dog", num_inference_steps=1, output_type="latent", height=64, width=64).images
    assert torch.isfinite(latents).all()
    assert latents.std() > 0


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_made_up_pictures_are_distinct_and_carry_captions(tmp_path: Path, suffix: Literal[".png", ".jpg"]) -> None:
    paths = pictures(tmp_path, 5, size=Size(40, 60), captions=["a TOK", "the TOK"], suffix=suffix)
    seen = {Image.open(path).tobytes() for path in paths}
    assert len(seen) == 5
    assert Image.open(paths[0]).size == (60, 40)
    assert [path.with_suffix(".txt").read_text().strip() for path in paths] == ["a TOK", *["the TOK"] * 4]
