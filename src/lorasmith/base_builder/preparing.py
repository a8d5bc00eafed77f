"""Owns the first stage of a build: sprites, pictures, latents, vocabulary, token ids; refuses to train."""
# pyright: basic

from __future__ import annotations

import logging

import numpy as np

from ..world.art_sources import ArtFolders, write_sprites
from .examples import captions_of
from .patch_basis import PatchBasis, fit_patch_basis
from .pictures import compose_pictures
from .recipe import Recipe, Workshop
from .vocabulary import encode_captions, load_tokenizer, write_vocabulary

logger = logging.getLogger(__name__)

_PICTURES_FOR_BASIS = 3_000
_ENCODED_AT_ONCE = 1_000


def prepare(recipe: Recipe, workshop: Workshop, art: ArtFolders | None) -> None:
    """Everything that the trainings read, about three minutes of one core; without `art` the package's sprites."""
    workshop.folder.mkdir(parents=True, exist_ok=True)
    if art is not None:
        logger.info("%d sprites", write_sprites(art, workshop.sprites))
    logger.info("pictures: %s", compose_pictures(recipe, workshop))
    encode_pictures(recipe, workshop)
    logger.info("vocabulary: %d tokens", write_vocabulary(workshop.tokenizer, size=recipe.vocabulary))
    tokenize_captions(recipe, workshop)


def encode_pictures(recipe: Recipe, workshop: Workshop) -> None:
    """Fit the patch basis and write the scaled latents of every picture."""
    pictures = np.load(workshop.pictures, mmap_mode="r")
    stride = max(1, len(pictures) // _PICTURES_FOR_BASIS)
    basis: PatchBasis = fit_patch_basis(recipe, pictures[::stride])
    basis.save(workshop.encoder)
    cells = recipe.side_px // recipe.patch_px
    shape = (len(pictures), recipe.latent_channels, cells, cells)
    latents = np.lib.format.open_memmap(workshop.latents, mode="w+", dtype=np.float16, shape=shape)
    for start in range(0, len(pictures), _ENCODED_AT_ONCE):
        part = slice(start, start + _ENCODED_AT_ONCE)
        latents[part] = basis.encode(pictures[part]) * recipe.scaling_factor
    latents.flush()


def tokenize_captions(recipe: Recipe, workshop: Workshop) -> None:
    """Word every picture several times and write the token ids."""
    length, variants = recipe.prompt_tokens, recipe.captions_per_picture
    tokenizer = load_tokenizer(workshop.tokenizer, pad_token="<|endoftext|>", length=length)
    token_ids = np.empty((recipe.pictures, variants, length), dtype=np.int16)
    for start in range(0, recipe.pictures, _ENCODED_AT_ONCE):
        places = range(start, min(start + _ENCODED_AT_ONCE, recipe.pictures))
        captions = [caption for place in places for caption in captions_of(recipe, place)]
        token_ids[places.start : places.stop] = encode_captions(tokenizer, captions, length=length).reshape(
            -1, variants, length
        )
    np.save(workshop.token_ids, token_ids)
