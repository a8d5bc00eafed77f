# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# diffusers' pipelines are only partly typed.
"""Owns putting an SDXL pipeline together for drawing, pooling at the true end of text; reads no weights itself."""

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from lorasmith.config.base import ModelConfig
from lorasmith.config.text import TextConfig
from lorasmith.models.sdxl import text
from lorasmith.models.sdxl.components import SdxlComponents, open_components
from lorasmith.models.sdxl.noise import sampling_scheduler


def open_pipeline(model: ModelConfig, *, device: torch.device, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """A base ready to draw on a device; `dtype` is the denoiser's and the text encoders', the VAE stays fp32.

    DataError or HubError when the base is missing, is not SDXL or holds pickles.
    """
    components = open_components(model, dtype=dtype)
    if model.prediction != "auto":
        components.scheduler_config = {**components.scheduler_config, "prediction_type": model.prediction}
    return pipeline_from_components(components, device=device)


def pipeline_from_components(components: SdxlComponents, *, device: torch.device) -> StableDiffusionXLPipeline:
    """A silent pipeline around parts in memory (also while they train), with a scheduler for the base's own noise."""
    pipeline = StableDiffusionXLPipeline(
        vae=components.vae,
        text_encoder=components.text_encoder_1,
        text_encoder_2=components.text_encoder_2,
        tokenizer=components.tokenizer_1,
        tokenizer_2=components.tokenizer_2,
        unet=components.unet,
        scheduler=sampling_scheduler(components.scheduler_config),  # pyright: ignore[reportArgumentType]  # an enum of class names
        force_zeros_for_empty_prompt=components.zeros_for_empty_prompt,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    pool_at_end_of_text(pipeline)
    for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        network.to(device)
    return pipeline


def text_reader(pipeline: StableDiffusionXLPipeline, config: TextConfig) -> text.TextReader:
    """How the pipeline's prompts are read: as in training."""
    return text.TextReader(
        (pipeline.text_encoder, pipeline.text_encoder_2), (pipeline.tokenizer, pipeline.tokenizer_2), config
    )


def pool_at_end_of_text(pipeline: StableDiffusionXLPipeline) -> None:
    """Make both text encoders pool at their tokenizer's end of text, as ComfyUI and A1111 do, not at the highest id.

    SDXL's text-encoder configs say `eos_token_id: 2`, for which transformers takes the highest id: the new token.
    """
    pairs = ((pipeline.text_encoder, pipeline.tokenizer), (pipeline.text_encoder_2, pipeline.tokenizer_2))
    for encoder, tokenizer in pairs:
        text.pool_at_end_of_text(encoder, int(tokenizer.eos_token_id))
