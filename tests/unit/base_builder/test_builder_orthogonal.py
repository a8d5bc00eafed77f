"""Orthogonal steps turn a gradient into a rotation-like update, and leave vectors to others."""
# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

import pytest
import torch
from torch import nn

from lorasmith.base_builder.orthogonal import OrthogonalSteps, is_matrix, orthogonalised


@pytest.mark.parametrize("shape", [(24, 80), (80, 24)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    result = orthogonalised(matrix).float()
    assert result.shape == matrix.shape
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.5
    assert values.max() < 1.5
    assert (result * matrix).sum() > 0


def test_a_quadratic_is_brought_down() -> None:
    torch.manual_seed(0)
    weight, target = nn.Parameter(torch.zeros(8, 4, 3, 3)), torch.randn(8, 4, 3, 3)
    optimizer = OrthogonalSteps([weight], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (weight - target).square().sum().backward()
        optimizer.step()
    assert (weight - target).square().mean() < 0.1 * target.square().mean()


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("denoiser.mid_block.resnets.0.conv1.weight", (4, 4, 3, 3), True),
        ("denoiser.mid_block.resnets.0.conv1.bias", (4,), False),
        ("denoiser.conv_in.weight", (4, 4, 3, 3), False),
        ("text_encoder_1.embeddings.token_embedding.weight", (9, 4), False),
    ],
)
def test_only_inner_matrices_are_taken(name: str, shape: tuple[int, ...], expected: bool) -> None:
    assert is_matrix(name, torch.zeros(shape)) is expected
