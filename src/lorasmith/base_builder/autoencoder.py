"""Owns the autoencoder, its encoder written down from the patch basis, its decoder trained; refuses the denoiser."""
# pyright: basic, reportPrivateImportUsage=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportIndexIssue=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportCallIssue=false

from __future__ import annotations

import logging
import math
import time

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn import functional

from .patch_basis import PatchBasis
from .recipe import Recipe, Workshop
from .sitting import Sitting
from .states import capture_optimizer, load_state, restore_optimizer, store_state

logger = logging.getLogger(__name__)

_ANCHOR = 128.0  # two constant channels of this size make the group norm a fixed scale
_LOG_VARIANCE = -7.0
_SAVE_EVERY_SECONDS = 120.0
_WARM_UP_STEPS = 100


def build_autoencoder(recipe: Recipe, basis: PatchBasis) -> AutoencoderKL:
    """An AutoencoderKL whose encoder computes `basis` exactly and whose decoder knows nothing yet."""
    torch.manual_seed(recipe.seed)
    autoencoder = AutoencoderKL(
        sample_size=recipe.side_px,
        latent_channels=recipe.latent_channels,
        block_out_channels=recipe.decoder_channels,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=1,
        scaling_factor=recipe.scaling_factor,
        force_upcast=False,
    )
    autoencoder.set_attn_processor(AttnProcessor())
    silence_residuals(autoencoder)
    write_encoder(autoencoder, basis)
    return autoencoder


@torch.no_grad()
def silence_residuals(network: nn.Module) -> None:
    """Start every residual branch at zero, so that blocks begin as the identity (or as their shortcut)."""
    for name, module in network.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


@torch.no_grad()
def write_encoder(autoencoder: AutoencoderKL, basis: PatchBasis) -> None:
    """Set the encoder's weights so that its mean is the linear code of `basis`.

    Two strided convolutions fold 2x2 pixels each; the code y travels as the pair (y, -y), because
    silu(y) - silu(-y) = y undoes the activation, beside two constants that turn the group norm into a fixed scale.
    """
    encoder, channels = autoencoder.encoder, len(basis.matrix)
    for layer in [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]:
        layer.weight.zero_()
        layer.bias.zero_()
    _pass_through(encoder.conv_in, 3)
    _fold_pixels(encoder.down_blocks[0].downsamplers[0].conv)
    _pass_through(encoder.down_blocks[1].resnets[0].conv_shortcut, 12)
    _fold_codes(encoder.down_blocks[1].downsamplers[0].conv, basis)
    shortcut = encoder.down_blocks[2].resnets[0].conv_shortcut
    _pass_through(shortcut, 2 * channels)
    shortcut.bias[2 * channels : 2 * channels + 2] = torch.tensor([_ANCHOR, -_ANCHOR])
    width = encoder.conv_norm_out.num_channels
    encoder.conv_norm_out.weight.fill_(_ANCHOR * math.sqrt(2 / width))
    encoder.conv_norm_out.bias.zero_()
    _unpair(encoder.conv_out, basis)
    _pass_through(autoencoder.quant_conv, 2 * channels)


def _pass_through(layer: nn.Conv2d, channels: int) -> None:
    layer.weight.zero_()
    layer.bias.zero_()
    middle = layer.kernel_size[0] // 2
    for channel in range(channels):
        layer.weight[channel, channel, middle, middle] = 1.0


def _fold_pixels(layer: nn.Conv2d) -> None:
    """Channel (row * 2 + column) * 3 + colour holds that pixel of each 2x2 cell."""
    for row, column, colour in np.ndindex(2, 2, 3):
        layer.weight[(row * 2 + column) * 3 + colour, colour, row, column] = 1.0


def _fold_codes(layer: nn.Conv2d, basis: PatchBasis) -> None:
    channels = len(basis.matrix)
    for code, row, column, colour in np.ndindex(*basis.matrix.shape):
        source = ((row % 2) * 2 + column % 2) * 3 + colour
        value = float(basis.matrix[code, row, column, colour])
        layer.weight[code, source, row // 2, column // 2] = value
        layer.weight[channels + code, source, row // 2, column // 2] = -value


def _unpair(layer: nn.Conv2d, basis: PatchBasis) -> None:
    channels = len(basis.matrix)
    for code in range(channels):
        layer.weight[code, code, 1, 1] = 1.0
        layer.weight[code, channels + code, 1, 1] = -1.0
    layer.bias[:channels] = torch.from_numpy(basis.offset)
    layer.bias[channels:] = _LOG_VARIANCE


def train_decoder(recipe: Recipe, workshop: Workshop, sitting: Sitting, *, device: str) -> None:
    """Train the decoder for one sitting, from the last stored state if there is one."""
    basis = PatchBasis.load(workshop.encoder)
    autoencoder = build_autoencoder(recipe, basis).to(device)
    parameters = [*autoencoder.decoder.parameters(), *autoencoder.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.decoder_rate, betas=(0.9, 0.99), weight_decay=0.0)
    step = _restore(workshop, autoencoder, optimizer)
    pictures = np.load(workshop.pictures, mmap_mode="r")
    started = saved = time.monotonic()
    while (spent := time.monotonic() - started) < sitting.seconds:
        _set_rate(optimizer, recipe.decoder_rate * sitting.rate_share(spent), step)
        loss, error = _decoder_step(recipe, autoencoder, optimizer, basis, pictures, step, device)
        step += 1
        if step % 50 == 0:
            logger.info("decoder step %d: loss %.4f, %.2f dB, %.0f s", step, loss, 10 * math.log10(4 / error), spent)
        if time.monotonic() - saved > _SAVE_EVERY_SECONDS:
            _store(workshop, autoencoder, optimizer, step)
            saved = time.monotonic()
    _store(workshop, autoencoder, optimizer, step)


def _decoder_step(recipe, autoencoder, optimizer, basis, pictures, step: int, device: str) -> tuple[float, float]:
    rng = np.random.default_rng((recipe.seed, 1, step))
    chosen = pictures[np.sort(rng.integers(0, len(pictures), recipe.decoder_batch))]
    latents = torch.from_numpy(basis.encode(chosen)).to(device)
    noise = rng.standard_normal(latents.shape, dtype=np.float32) * rng.random((len(latents), 1, 1, 1), dtype=np.float32)
    target = torch.from_numpy(chosen).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    noisy = latents + torch.from_numpy(noise).to(device) * recipe.decoder_noise / recipe.scaling_factor
    with torch.autocast(device, torch.bfloat16):
        drawn = autoencoder.decode(noisy).sample.float()
    loss = _picture_loss(drawn, target)
    loss.backward()
    nn.utils.clip_grad_norm_(autoencoder.decoder.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item(), functional.mse_loss(drawn.detach(), target).item()


def _picture_loss(drawn: Tensor, target: Tensor) -> Tensor:
    """L1 of pixels and of their differences to right and below (edges stay sharp); both (batch, 3, side, side)."""
    right = functional.l1_loss(drawn.diff(dim=-1), target.diff(dim=-1))
    below = functional.l1_loss(drawn.diff(dim=-2), target.diff(dim=-2))
    return functional.l1_loss(drawn, target) + right + below


def _set_rate(optimizer, rate: float, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, (step + 1) / _WARM_UP_STEPS)


def load_autoencoder_state(workshop: Workshop) -> dict[str, Tensor]:
    """The stored weights of the whole autoencoder."""
    return load_state(workshop.autoencoder)[0]["autoencoder"]


def _store(workshop: Workshop, autoencoder: AutoencoderKL, optimizer, step: int) -> None:
    parts = {"autoencoder": autoencoder.state_dict(), "optimizer": capture_optimizer(optimizer)}
    store_state(workshop.autoencoder, parts, step=step)


def _restore(workshop: Workshop, autoencoder: AutoencoderKL, optimizer) -> int:
    if not workshop.autoencoder.exists():
        return 0
    parts, step = load_state(workshop.autoencoder)
    autoencoder.load_state_dict(parts["autoencoder"])
    restore_optimizer(optimizer, parts["optimizer"])
    return step
