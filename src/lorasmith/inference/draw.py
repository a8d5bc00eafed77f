# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# diffusers' pipelines are only partly typed.
"""Owns drawing pictures: each is a function of its own request, whatever else is drawn with it; writes no files.

Noise is drawn on the CPU in fp32 from the picture's own seed, so that a batch, a resumed series and another device
start from the same numbers.
"""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.utils.peft_utils import scale_lora_layers, unscale_lora_layers
from PIL import Image
from torch import Tensor, nn

from lorasmith.config.text import TextConfig
from lorasmith.inference.pipeline import text_reader
from lorasmith.inference.samplers import SamplerChoice, scheduler_of
from lorasmith.models.family import PromptEmbeddings
from lorasmith.models.sdxl.text import TextReader
from lorasmith.sizes import Size


@dataclass(frozen=True)
class DrawSettings:
    """What pictures drawn in one batch share. `scale` is the adapter's; no size draws at the base's own."""

    steps: int = 25
    guidance: float = 5.0
    scale: float = 1.0
    size: Size | None = None
    text: TextConfig = field(default_factory=TextConfig)
    """How prompts are read: as the concept was trained with."""
    sampler: SamplerChoice | None = None
    """None is what the base is usually drawn with: Euler, or DPM++ 2M on EDM's noise."""


@dataclass(frozen=True)
class DrawRequest:
    """One picture: a prompt with its token abstractions already written out, and a seed."""

    prompt: str
    seed: int
    negative_prompt: str = ""
    settings: DrawSettings = DrawSettings()


ReadPrompt = Callable[[TextReader, str], PromptEmbeddings]
"""How one prompt becomes embeddings [1, tokens, width]."""


def read_literally(reader: TextReader, prompt: str) -> PromptEmbeddings:
    """A prompt as captions are read: brackets are letters."""
    return reader.read([prompt])


def draw(
    pipeline: StableDiffusionXLPipeline,
    requests: Sequence[DrawRequest],
    *,
    batch_size: int = 1,
    read: ReadPrompt = read_literally,
    on_picture: Callable[[int], None] | None = None,
) -> list[Image.Image]:
    """Draw all requests in order, up to `batch_size` at once; `on_picture` hears how many are done.

    Networks that are training go on training afterwards, and no global random numbers are used.
    """
    pictures = list[Image.Image]()
    with _at_rest(pipeline):
        for batch in _batches(requests, batch_size):
            pictures += _draw_batch(pipeline, batch, read)
            if on_picture is not None:
                on_picture(len(pictures))
    return pictures


def native_size(pipeline: StableDiffusionXLPipeline) -> Size:
    """The square the base was made for, in pixels."""
    side = int(pipeline.unet.config["sample_size"]) * int(pipeline.vae_scale_factor)
    return Size(side, side)


def initial_noise(pipeline: StableDiffusionXLPipeline, request: DrawRequest) -> Tensor:
    """Unit noise [1, C, h, w] in fp32 on the CPU: what `torch.Generator().manual_seed(seed)` gives first."""
    size, scale = _size_of(pipeline, request.settings), int(pipeline.vae_scale_factor)
    shape = (1, int(pipeline.unet.config["in_channels"]), size.height // scale, size.width // scale)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(request.seed))


def _batches(requests: Sequence[DrawRequest], batch_size: int) -> Generator[list[DrawRequest]]:
    """Neighbours with the same settings, in order, at most `batch_size` of them."""
    for _, alike in groupby(requests, key=lambda request: request.settings):
        group = list(alike)
        yield from (group[start : start + batch_size] for start in range(0, len(group), batch_size))


@torch.no_grad()
def _draw_batch(
    pipeline: StableDiffusionXLPipeline, batch: Sequence[DrawRequest], read: ReadPrompt
) -> list[Image.Image]:
    settings = batch[0].settings
    size, unet = _size_of(pipeline, settings), pipeline.unet
    noise = torch.cat([initial_noise(pipeline, request) for request in batch])
    call: Any = pipeline  # its annotations know no tensors passed by keyword
    with _sampled_by(pipeline, settings.sampler):
        latents: Tensor = call(
            **_encoded(pipeline, batch, read),
            latents=noise.to(unet.device, unet.dtype),
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request in batch],
            height=size.height,
            width=size.width,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            cross_attention_kwargs=_adapter_scale(settings),
            output_type="latent",
        ).images
    return [_decode(pipeline, one) for one in latents.split(1)]


def _encoded(pipeline: StableDiffusionXLPipeline, batch: Sequence[DrawRequest], read: ReadPrompt) -> dict[str, Tensor]:
    """The pipeline's four prompt tensors, each prompt read alone and as in training, wherever the text encoders are."""
    reader = text_reader(pipeline, batch[0].settings.text)
    with _text_adapters_at(pipeline, batch[0].settings.scale):
        positive = [read(reader, request.prompt) for request in batch]
        negative = [
            read(reader, request.negative_prompt) if _is_read(pipeline, request.negative_prompt) else _nothing(prompt)
            for request, prompt in zip(batch, positive, strict=True)
        ]
    length = math.lcm(*(prompt.hidden.shape[1] for prompt in (*positive, *negative)))
    tensors = {
        "prompt_embeds": torch.cat([_repeated(prompt.hidden, length) for prompt in positive]),
        "negative_prompt_embeds": torch.cat([_repeated(prompt.hidden, length) for prompt in negative]),
        "pooled_prompt_embeds": torch.cat([prompt.pooled for prompt in positive]),
        "negative_pooled_prompt_embeds": torch.cat([prompt.pooled for prompt in negative]),
    }
    return {name: tensor.to(pipeline.unet.device, pipeline.unet.dtype) for name, tensor in tensors.items()}


def _is_read(pipeline: StableDiffusionXLPipeline, negative_prompt: str) -> bool:
    """Whether a negative prompt is read as the prompt is; an empty one is zeros where the base says so."""
    return bool(negative_prompt) or not pipeline.config["force_zeros_for_empty_prompt"]


def _nothing(beside: PromptEmbeddings) -> PromptEmbeddings:
    return PromptEmbeddings(torch.zeros_like(beside.hidden), torch.zeros_like(beside.pooled))


def _repeated(hidden: Tensor, length: int) -> Tensor:
    """Hidden states [1, tokens, width] over and over to `length` tokens, for which attention gives the same.

    The pipeline wants prompt and negative prompt equally long and knows no mask; ComfyUI repeats them too.
    """
    return hidden.repeat(1, length // hidden.shape[1], 1)


@contextmanager
def _text_adapters_at(pipeline: StableDiffusionXLPipeline, scale: float) -> Generator[None]:
    """The text encoders' adapters at a scale inside the block; the denoiser is told of its own."""
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2) if scale != 1.0 else ()
    for encoder in encoders:
        scale_lora_layers(encoder, scale)
    try:
        yield
    finally:
        for encoder in encoders:
            unscale_lora_layers(encoder, scale)


@contextmanager
def _sampled_by(pipeline: StableDiffusionXLPipeline, choice: SamplerChoice | None) -> Generator[None]:
    """The pipeline with another sampler inside the block."""
    usual: Any = pipeline.scheduler
    if choice is not None:
        pipeline.scheduler = scheduler_of(choice, usual.config)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        pipeline.scheduler = usual


def _adapter_scale(settings: DrawSettings) -> dict[str, float] | None:
    return None if settings.scale == 1.0 else {"scale": settings.scale}


def _decode(pipeline: StableDiffusionXLPipeline, latents: Tensor) -> Image.Image:
    """One picture of latents [1, C, h, w], in the VAE's own precision.

    The pipeline's own decoding asks for latents and VAE in one precision, and for four channels where the VAE has
    per-channel statistics.
    """
    vae = pipeline.vae
    config, latents = vae.config, latents.to(vae.device, torch.float32)
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        unscaled = latents / float(config["scaling_factor"])
    else:
        mean, std = (torch.tensor(values, device=latents.device).view(1, -1, 1, 1) for values in (mean, std))
        unscaled = latents * std / float(config["scaling_factor"]) + mean
    decoded = vae.decode(unscaled.to(vae.dtype), return_dict=False)[0]
    postprocess: Any = pipeline.image_processor.postprocess
    return postprocess(decoded, output_type="pil")[0]


def _size_of(pipeline: StableDiffusionXLPipeline, settings: DrawSettings) -> Size:
    return settings.size or native_size(pipeline)


@contextmanager
def _at_rest(pipeline: StableDiffusionXLPipeline) -> Generator[None]:
    """No dropout inside the block; every module's own mode is put back after it."""
    networks: list[nn.Module] = [pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2]
    training = [module for network in networks for module in network.modules() if module.training]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
