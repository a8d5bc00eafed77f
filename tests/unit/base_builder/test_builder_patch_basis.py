"""The linear code keeps what matters of a picture, and the written encoder computes it exactly."""
# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lorasmith.base_builder.autoencoder import build_autoencoder
from lorasmith.base_builder.patch_basis import PatchBasis, fit_patch_basis
from lorasmith.base_builder.recipe import Recipe

RECIPE = Recipe()


@pytest.fixture(scope="module")
def pictures() -> npt.NDArray[np.uint8]:
    """Smooth random pictures, uint8 (24, 64, 64, 3)."""
    coarse = torch.rand(24, 3, 7, 7, generator=torch.Generator().manual_seed(0)) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 255)
    return smooth.permute(0, 2, 3, 1).byte().numpy()


@pytest.fixture(scope="module")
def basis(pictures: npt.NDArray[np.uint8]) -> PatchBasis:
    return fit_patch_basis(RECIPE, pictures)


def test_scaled_latents_have_zero_mean_and_unit_size(basis: PatchBasis, pictures: npt.NDArray[np.uint8]) -> None:
    latents = basis.encode(pictures) * RECIPE.scaling_factor
    assert latents.shape == (24, 8, 16, 16)
    assert np.abs(latents.mean(axis=(0, 2, 3))).max() < 0.01
    assert np.sqrt((latents**2).mean()) == pytest.approx(1.0, abs=0.01)


def test_no_channel_is_lost_beside_the_others(basis: PatchBasis, pictures: npt.NDArray[np.uint8]) -> None:
    spread = basis.encode(pictures).std(axis=(0, 2, 3))
    assert spread.min() > 0.05 * spread.max()


def test_the_autoencoders_mean_is_the_linear_code(basis: PatchBasis, pictures: npt.NDArray[np.uint8]) -> None:
    autoencoder = build_autoencoder(RECIPE, basis)
    images = torch.from_numpy(pictures[:4]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    with torch.no_grad():
        mean = autoencoder.encode(images).latent_dist.mean
    assert torch.allclose(mean, torch.from_numpy(basis.encode(pictures[:4])), atol=0.03)


def test_a_stored_basis_comes_back(
    basis: PatchBasis, pictures: npt.NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("basis") / "basis.npz"
    basis.save(path)
    assert np.array_equal(PatchBasis.load(path).encode(pictures), basis.encode(pictures))
