"""Owns the shapes of denoiser and text encoders and how captions become conditioning; refuses training."""
# pyright: basic, reportPrivateImportUsage=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from .recipe import Recipe

SDXL_EOS_TOKEN_ID = 2  # what SDXL's published text-encoder configs say, though the tokenizer's end of text is another


class Networks(nn.Module):
    """What is trained together: the denoiser and both text encoders."""

    def __init__(self, recipe: Recipe, vocabulary: int) -> None:
        """Fresh weights; the caller seeds torch."""
        super().__init__()
        self.text_encoder_1 = CLIPTextModel(_text_config(recipe, vocabulary, encoder=0))
        self.text_encoder_2 = CLIPTextModelWithProjection(_text_config(recipe, vocabulary, encoder=1))
        self.denoiser = _denoiser(recipe)
        self.end_of_text = vocabulary - 1
        for encoder in (self.text_encoder_1, self.text_encoder_2):
            nn.init.normal_(encoder.get_input_embeddings().weight, std=recipe.embedding_spread)


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Prompt states (batch, tokens, width 1 + 2), pooled state (batch, width 2)."""

    states: Tensor
    pooled: Tensor


def embed_captions(networks: Networks, token_ids: Tensor) -> Conditioning:
    """SDXL's way: penultimate states of both encoders side by side, pooled state at the true end of text.

    `token_ids` (batch, tokens) are padded with the end of text; the second encoder's padding is id 0.
    """
    end = (token_ids == networks.end_of_text).int().argmax(dim=1)
    beyond = torch.arange(token_ids.shape[1], device=token_ids.device)[None] > end[:, None]
    first = networks.text_encoder_1(token_ids, output_hidden_states=True)
    second = networks.text_encoder_2(token_ids.masked_fill(beyond, 0), output_hidden_states=True)
    rows = torch.arange(len(token_ids), device=token_ids.device)
    pooled = networks.text_encoder_2.text_projection(second.last_hidden_state[rows, end])
    return Conditioning(torch.cat((first.hidden_states[-2], second.hidden_states[-2]), dim=-1), pooled)


def build_scheduler() -> EulerDiscreteScheduler:
    """SDXL's own schedule, with v-prediction."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="leading",
        steps_offset=1,
    )


def _text_config(recipe: Recipe, vocabulary: int, *, encoder: int) -> CLIPTextConfig:
    width = recipe.text_widths[encoder]
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=recipe.text_layers,
        num_attention_heads=width // 32,
        max_position_embeddings=77,
        hidden_act=("quick_gelu", "gelu")[encoder],
        bos_token_id=0,
        eos_token_id=SDXL_EOS_TOKEN_ID,
        pad_token_id=1,
        attn_implementation="eager",
    )


def _denoiser(recipe: Recipe) -> UNet2DConditionModel:
    denoiser = UNet2DConditionModel(
        sample_size=recipe.side_px // recipe.patch_px,
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=recipe.denoiser_channels,
        attention_head_dim=recipe.denoiser_heads,
        layers_per_block=1,
        transformer_layers_per_block=1,
        cross_attention_dim=sum(recipe.text_widths),
        norm_num_groups=16,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=recipe.time_id_width,
        projection_class_embeddings_input_dim=recipe.text_widths[1] + 6 * recipe.time_id_width,
    )
    denoiser.set_attn_processor(AttnProcessor())  # on the CPU the fused attention's backward pass is the slower one
    nn.init.zeros_(denoiser.conv_out.weight)
    return denoiser
