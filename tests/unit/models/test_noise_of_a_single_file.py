"""What kind of noise a single file was trained on is read off the markers that ComfyUI and A1111 read."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError
from lorasmith.models.family import EdmSchedule, NoiseSchedule
from lorasmith.models.sdxl.components import describe, open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.models.sdxl.noise import noise_schedule

EMPTY = torch.tensor([])
MEAN, STD = [-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299]
PLAYGROUND = {"edm_mean": torch.tensor(MEAN).view(1, 4, 1, 1), "edm_std": torch.tensor(STD).view(1, 4, 1, 1)}


def marked(path: Path, markers: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """The file with markers beside its weights."""
    save_file({**load_file(path), **markers}, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("markers", "metadata", "predicted", "ends_in_noise"),
    [
        ({}, {}, "epsilon", False),
        ({"v_pred": EMPTY}, {}, "v_prediction", False),
        ({"v_pred": EMPTY, "ztsnr": EMPTY}, {}, "v_prediction", True),
        ({}, {"modelspec.prediction_type": "v"}, "v_prediction", False),
        ({"ztsnr": EMPTY}, {"modelspec.predict_key": "v"}, "v_prediction", True),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon", False),
        # ComfyUI and A1111 read the marker alone.
        ({"v_pred": EMPTY}, {"modelspec.prediction_type": "epsilon"}, "v_prediction", False),
        # Noise cannot be predicted where there is nothing else; a lone marker changes nothing, as in ComfyUI.
        ({"ztsnr": EMPTY}, {}, "epsilon", False),
    ],
)
def test_velocity_and_zero_terminal_snr_are_recognised(
    tiny_file: Path, markers: dict[str, Tensor], metadata: dict[str, str], predicted: str, ends_in_noise: bool
) -> None:
    marked(tiny_file, markers, metadata)
    schedule = noise_schedule(describe(tiny_file).scheduler)
    assert isinstance(schedule, NoiseSchedule)
    assert schedule.prediction_type == predicted
    assert (float(schedule.alphas_cumprod[-1]) == 0) == ends_in_noise
    opened = open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float32)
    assert opened.scheduler_config == describe(tiny_file).scheduler


def test_playgrounds_statistics_are_recognised_as_edm(tiny_file: Path) -> None:
    marked(tiny_file, PLAYGROUND)
    described = describe(tiny_file)
    schedule = noise_schedule(described.scheduler)
    assert isinstance(schedule, EdmSchedule)
    assert (schedule.sigma_data, schedule.prediction_type) == (0.5, "epsilon")
    assert described.scheduler["_class_name"] == "EDMDPMSolverMultistepScheduler"
    vae = open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float32).vae.config
    assert vae["latents_mean"] == pytest.approx(MEAN)
    assert vae["latents_std"] == pytest.approx(STD)
    assert vae["scaling_factor"] == 0.5


def test_latents_of_two_bases_with_one_vae_and_two_scales_are_not_confused(tiny_file: Path) -> None:
    """Playground's VAE has SDXL's weights; latents cached for one must not be read for the other."""
    cpu, model = torch.device("cpu"), ModelConfig(base=str(tiny_file))
    plain = Sdxl(open_components(model, dtype=torch.float32), device=cpu)
    marked(tiny_file, PLAYGROUND)
    playground = Sdxl(open_components(model, dtype=torch.float32), device=cpu)
    assert plain.fingerprint("vae") != playground.fingerprint("vae")
    assert plain.fingerprint("denoiser") == playground.fingerprint("denoiser")


def test_a_file_and_its_folder_have_the_same_fingerprints(tiny_base: Path, tiny_file: Path) -> None:
    first, second = (
        Sdxl(open_components(ModelConfig(base=str(place)), dtype=torch.float32), device=torch.device("cpu"))
        for place in (tiny_base, tiny_file)
    )
    for part in ("vae", "text_encoders", "denoiser"):
        assert first.fingerprint(part) == second.fingerprint(part)


def test_cosxls_sigmas_are_read(tiny_file: Path) -> None:
    marked(tiny_file, {"edm_vpred.sigma_max": torch.tensor(100.0), "edm_vpred.sigma_min": torch.tensor(0.01)})
    schedule = noise_schedule(describe(tiny_file).scheduler)
    assert isinstance(schedule, EdmSchedule)
    assert (schedule.sigma_data, schedule.prediction_type) == (1.0, "v_prediction")
    assert float(schedule.sigmas[-1]) == pytest.approx(100)
    assert float(schedule.sigmas[0]) == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize(
    "statistics",
    [
        {"edm_mean": torch.zeros(3), "edm_std": torch.ones(3)},
        {"edm_mean": torch.zeros(4), "edm_std": torch.zeros(4)},
        {"edm_mean": torch.zeros(4), "edm_std": torch.full((4,), torch.nan)},
    ],
)
def test_statistics_that_cannot_be_are_refused(tiny_file: Path, statistics: dict[str, Tensor]) -> None:
    with pytest.raises(DataError, match="latent statistics"):
        describe(marked(tiny_file, statistics))
