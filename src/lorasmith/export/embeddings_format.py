"""Owns the tensors of `{name}_emb.safetensors`, SDXL's textual-inversion file; writes nothing."""

from torch import Tensor

from lorasmith.export.weights import ConceptRows

FIRST, SECOND = "clip_l", "clip_g"


def embeddings_tensors(concept: ConceptRows) -> dict[str, Tensor]:
    """`clip_l` [n, d1] and `clip_g` [n, d2]; programs spread the file's name to all n rows."""
    return {FIRST: concept.text_encoder_1.contiguous(), SECOND: concept.text_encoder_2.contiguous()}
