"""Owns tiny captioners and segmenters of transformers' real classes with random weights; promises no sensible words."""

# transformers and tokenizers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BartConfig,
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    Florence2Config,
    Florence2ForConditionalGeneration,
    OPTConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from lorasmith.testing.tokenizer_files import SMALL_VOCABULARY, write_tokenizer

_WORDS = ("a", "the", "dog", "hat", "red", "green", "on", "in", "with", "photo", "of", "beach", "grass", "cup")
_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "<image>")
_SIDE = 32


def tiny_blip(folder: Path, *, seed: int = 0) -> Path:
    """Write a BLIP with two small layers a side."""
    size = len(_SPECIAL) + len(_WORDS)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    text = {
        **small, "vocab_size": size, "encoder_hidden_size": 16, "max_position_embeddings": 80, "projection_dim": 16,
        "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    vision = {**small, "image_size": _SIDE, "patch_size": 8}
    with _seeded(seed):
        config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
        _spread(BlipForConditionalGeneration(config)).save_pretrained(folder)
    _word_tokenizer(folder)
    BlipImageProcessorPil(size={"height": _SIDE, "width": _SIDE}).save_pretrained(folder)
    return folder


def tiny_blip2(folder: Path, *, seed: int = 0) -> Path:
    """Write a BLIP-2 with OPT behind it."""
    size = len(_SPECIAL) + len(_WORDS)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = OPTConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=2, ffn_dim=32, num_attention_heads=2,
        word_embed_proj_dim=16, max_position_embeddings=96, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with _seeded(seed):
        config = Blip2Config(
            vision_config={**small, "image_size": _SIDE, "patch_size": 8},
            qformer_config={**small, "vocab_size": size, "encoder_hidden_size": 16},
            text_config=text.to_dict(), num_query_tokens=4, image_token_index=_SPECIAL.index("<image>"),
        )  # fmt: skip
        _spread(Blip2ForConditionalGeneration(config)).save_pretrained(folder)
    _word_tokenizer(folder)
    BlipImageProcessorPil(size={"height": _SIDE, "width": _SIDE}).save_pretrained(folder)
    return folder


def tiny_florence2(folder: Path, *, seed: int = 0) -> Path:
    """Write a Florence-2 with one layer a stage."""
    size = len(_SPECIAL) + len(_WORDS)
    text = BartConfig(
        vocab_size=size, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=256,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    vision = {
        "depths": [1, 1, 1, 1], "embed_dim": [8, 8, 16, 16], "num_heads": [2, 2, 2, 2], "num_groups": [2, 2, 2, 2],
        "window_size": 4, "projection_dim": 16, "max_temporal_embeddings": 4, "max_position_embeddings": 8,
    }  # fmt: skip
    with _seeded(seed):
        image = _SPECIAL.index("<image>")
        config = Florence2Config(text_config=text.to_dict(), vision_config=vision, image_token_id=image)
        speaker = _spread(Florence2ForConditionalGeneration(config))
        # A random decoder would rather say nothing at all.
        speaker.generation_config.min_new_tokens = 4
        speaker.save_pretrained(folder)
    _word_tokenizer(folder)
    pictures = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False, image_seq_length=5)
    pictures.save_pretrained(folder)
    return folder


def tiny_clipseg(folder: Path, *, seed: int = 0) -> Path:
    """Write a CLIPSeg with three small layers a side."""
    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    ids = {"bos_token_id": SMALL_VOCABULARY - 2, "eos_token_id": SMALL_VOCABULARY - 1, "pad_token_id": 0}
    text = {**small, **ids, "vocab_size": SMALL_VOCABULARY}
    with _seeded(seed):
        config = CLIPSegConfig(
            text_config=text, vision_config={**small, "image_size": _SIDE, "patch_size": 8}, projection_dim=16,
            reduce_dim=8, decoder_num_attention_heads=2, decoder_intermediate_size=16, extract_layers=[0, 1, 2],
        )  # fmt: skip
        _spread(CLIPSegForImageSegmentation(config)).save_pretrained(folder)
    write_tokenizer(folder)
    ViTImageProcessorPil(size={"height": _SIDE, "width": _SIDE}).save_pretrained(folder)
    return folder


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def _spread(onlooker: PreTrainedModel) -> PreTrainedModel:
    """Weights so large that different pictures get different words; transformers' own are next to nothing."""
    for name, weight in onlooker.named_parameters():
        if weight.ndim > 1:
            weight.normal_(std=weight[0].numel() ** -0.5 if "embed" not in name else 1.0)
    return onlooker


def _word_tokenizer(folder: Path) -> None:
    """Words between spaces, with BERT's and Florence-2's special tokens."""
    words = {word: at for at, word in enumerate((*_SPECIAL, *_WORDS))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", bos_token="[CLS]", sep_token="[SEP]",
        eos_token="[SEP]", unk_token="[UNK]", extra_special_tokens={"image_token": "<image>"},
    ).save_pretrained(folder)  # fmt: skip
