# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# transformers' tokenizers and encoders are only partly typed.
"""Owns how prompts become SDXL's text conditioning: with start and end, pooled at the true end of text."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedTokenizerBase

from lorasmith.models.family import PromptEmbeddings

TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


def tokenize(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Prompts to ids [B, tokens], with start and end of text, padded and cut to the encoder's length."""
    encoded = tokenizer(
        list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    return encoded.input_ids


def overflow(tokenizer: PreTrainedTokenizerBase, prompt: str) -> int:
    """How many tokens of a prompt are cut off at the encoder's length."""
    length = len(tokenizer(prompt, truncation=False).input_ids)
    return max(0, length - tokenizer.model_max_length)


def end_of_text(ids: Tensor, end_id: int) -> Tensor:
    """Position [B] of the first end of text in ids [B, tokens].

    transformers looks for the highest id when a config says `eos_token_id: 2`, as SDXL's do; with new tokens that is
    the new token. ComfyUI and A1111 look for the end of text (transformers #24650, diffusers #10754).
    """
    return (ids == end_id).int().argmax(dim=-1)


def pool_at_end_of_text(text_encoder: TextEncoder, end_id: int) -> None:
    """Make a text encoder pool at its tokenizer's end of text whatever its config says, for every caller."""
    for module in text_encoder.modules():
        if isinstance(module, CLIPTextModel):
            module.eos_token_id = end_id


def encode(
    text_encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection], ids: tuple[Tensor, Tensor]
) -> PromptEmbeddings:
    """Ids of both tokenizers to embeddings: penultimate states side by side, pooled from the second encoder.

    The SDXL paper (arXiv 2307.01952, section 2.1). The encoders must pool at the end of text already.
    """
    first, second = text_encoders
    output_1 = first(ids[0].to(first.device), output_hidden_states=True)
    output_2 = second(ids[1].to(second.device), output_hidden_states=True)
    hidden = torch.cat([output_1.hidden_states[-2], output_2.hidden_states[-2]], dim=-1)
    return PromptEmbeddings(hidden, output_2.text_embeds)


def token_embedding(text_encoder: TextEncoder) -> nn.Module:
    """The module that looks token ids up."""
    return text_encoder.get_input_embeddings()
