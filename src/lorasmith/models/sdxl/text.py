# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# transformers' tokenizers and encoders are only partly typed.
"""Owns how prompts become SDXL's text conditioning: with start and end, pooled at the true end of text.

`TextReader` is the one way from words to embeddings, for training and for every picture that is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lorasmith.config.text import TextConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.models.family import PromptEmbeddings, stack_prompts
from lorasmith.models.long_prompts import chunk_ids, empty_chunk
from lorasmith.models.sdxl import bundled

TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True)
class TextReader:
    """Both text encoders with their tokenizers, and how prompts are read. The encoders must pool at the end of text."""

    encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection]
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]
    config: TextConfig

    @property
    def layers(self) -> tuple[int, int]:
        """How many layers each text encoder has."""
        first, second = self.encoders
        return first.config.num_hidden_layers, second.config.num_hidden_layers

    def read(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """Prompts (new tokens already written out) to embeddings, each a function of its own words alone."""
        match self.config.long_prompts:
            case "cut":
                first, second = self.tokenizers
                return self._encode((tokenize(first, prompts), tokenize(second, prompts)))
            case "chunks":
                return self._read_in_chunks(prompts)

    def _read_in_chunks(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """Chunks one after another, pooled from the first one's end of text, as A1111, ComfyUI and kohya do."""
        ids = [_same_count(self.tokenizers, prompt) for prompt in prompts]
        counts = [len(first) for first, _ in ids]
        all_chunks = self._encode((torch.cat([first for first, _ in ids]), torch.cat([second for _, second in ids])))
        each = zip(all_chunks.hidden.split(counts), all_chunks.pooled.split(counts), strict=True)
        return stack_prompts([PromptEmbeddings(hidden.flatten(0, 1)[None], pooled[:1]) for hidden, pooled in each])

    def _encode(self, ids: tuple[Tensor, Tensor]) -> PromptEmbeddings:
        return encode(self.encoders, ids, clip_skip=self.config.clip_skip)


def open_tokenizer(base: Path) -> CLIPTokenizer:
    """The first text encoder's tokenizer of a base's folder or single file, without any weights."""
    if base.is_file():
        return bundled.tokenizers().first
    try:
        return CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
    except (OSError, ValueError) as error:
        raise DataError(
            f"the tokenizer of the base in {base} could not be opened: {error}", where="model.base",
            remedy="Fetch it again, or name another base.",
        ) from error  # fmt: skip


def tokenize(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Prompts to ids [B, tokens], with start and end of text, padded and cut to the encoder's length."""
    encoded = tokenizer(
        list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    return encoded.input_ids


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


def check_clip_skip(clip_skip: int, layers: Sequence[int], *, where: str = "text.clip_skip") -> None:
    """Refuse to leave out so many layers that one of the encoders, with this many `layers`, reads nothing."""
    most = min(layers) - 2
    if clip_skip > most:
        raise ConfigError(
            f"{clip_skip} more layers cannot be left out of text encoders with {' and '.join(map(str, layers))} layers",
            where=where, remedy=f"Use 0 to {most}." if most > 0 else "Use 0: this base is read as it was made.",
        )  # fmt: skip


def encode(
    text_encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection], ids: tuple[Tensor, Tensor], *, clip_skip: int = 0
) -> PromptEmbeddings:
    """Ids of both tokenizers to embeddings: penultimate states side by side, pooled from the second encoder.

    The SDXL paper (arXiv 2307.01952, section 2.1). `clip_skip` counts on from there, as in diffusers: 1 is the state
    before the penultimate one, in both encoders. The pooled vector is the last layer's in any case. The encoders must
    pool at the end of text already.
    """
    first, second = text_encoders
    layer = -(clip_skip + 2)
    output_1 = first(ids[0].to(first.device), output_hidden_states=True)
    output_2 = second(ids[1].to(second.device), output_hidden_states=True)
    hidden = torch.cat([output_1.hidden_states[layer], output_2.hidden_states[layer]], dim=-1)
    return PromptEmbeddings(hidden, output_2.text_embeds)


def token_embedding(text_encoder: TextEncoder) -> nn.Module:
    """The module that looks token ids up."""
    return text_encoder.get_input_embeddings()


def _same_count(tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], prompt: str) -> tuple[Tensor, Tensor]:
    """A prompt's chunks [chunks, tokens] from both tokenizers; were one to need fewer, it gets empty ones."""
    first, second = (chunk_ids(tokenizer, prompt) for tokenizer in tokenizers)
    count = max(len(first), len(second))
    filled = [
        torch.cat([ids, *[empty_chunk(tokenizer)] * (count - len(ids))])
        for ids, tokenizer in zip((first, second), tokenizers, strict=True)
    ]
    return filled[0], filled[1]
