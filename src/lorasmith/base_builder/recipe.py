"""Owns every number of the build in one frozen object; refuses to compute anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes, counts and rates of the embedded base."""

    seed: int = 20_26
    pictures: int = 60_300
    side_px: int = 64
    captions_per_picture: int = 6
    prompt_tokens: int = 32
    vocabulary: int = 1_400

    patch_px: int = 4
    latent_channels: int = 8
    scaling_factor: float = 0.5
    decoder_channels: tuple[int, int, int] = (16, 32, 64)
    decoder_rate: float = 2e-3
    decoder_batch: int = 32
    decoder_noise: float = 0.08

    denoiser_channels: tuple[int, int, int] = (48, 96, 192)
    denoiser_heads: tuple[int, int, int] = (2, 3, 6)
    text_widths: tuple[int, int] = (96, 128)
    text_layers: int = 3
    time_id_width: int = 16
    embedding_spread: float = 0.4
    rate: float = 1e-3
    batch: int = 48
    warm_up_steps: int = 150
    final_rate_share: float = 0.05
    ema_decay: float = 0.998
    unconditional_share: float = 0.1

    oracle_shards: int = 24
    oracle_shard_pictures: int = 4_080
    oracle_views: int = 5
    oracle_decoded_share: float = 0.65
    oracle_latent_noise: float = 0.15
    oracle_rate: float = 5e-3
    oracle_families: int = 5
    oracle_plain_pairs: int = 34
    tiny_clip_rate: float = 1e-3
    tiny_clip_batch: int = 256


@dataclass(frozen=True, slots=True)
class Workshop:
    """The folder a build works in, and where each thing lies in it."""

    folder: Path

    @property
    def sprites(self) -> Path:
        """Sprites, one PNG per object and style."""
        return self.folder / "sprites"

    @property
    def pictures(self) -> Path:
        """uint8 (count, side, side, 3)."""
        return self.folder / "pictures.npy"

    @property
    def latents(self) -> Path:
        """float16 (count, channels, height, width), scaled."""
        return self.folder / "latents.npy"

    @property
    def token_ids(self) -> Path:
        """int16 (count, captions per picture, tokens)."""
        return self.folder / "token_ids.npy"

    @property
    def tokenizer(self) -> Path:
        """vocab.json and merges.txt."""
        return self.folder / "tokenizer"

    @property
    def encoder(self) -> Path:
        """The linear encoder's matrix."""
        return self.folder / "patch_basis.npz"

    @property
    def autoencoder(self) -> Path:
        """The latest state of the decoder's training."""
        return self.folder / "autoencoder.safetensors"

    @property
    def denoiser(self) -> Path:
        """The latest state of the training of denoiser and text encoders."""
        return self.folder / "denoiser.safetensors"

    @property
    def oracle_shards(self) -> Path:
        """Folder of the pictures that the oracle learns from."""
        return self.folder / "oracle_pictures"

    @property
    def oracle(self) -> Path:
        """The latest state of the oracle's training."""
        return self.folder / "oracle.safetensors"

    @property
    def tiny_clip(self) -> Path:
        """The latest state of the small CLIP's training."""
        return self.folder / "tiny_clip.safetensors"

    @property
    def base(self) -> Path:
        """The finished base, in the diffusers layout."""
        return self.folder / "base"

    @property
    def readers(self) -> Path:
        """The finished oracle and small CLIP."""
        return self.folder / "readers"
