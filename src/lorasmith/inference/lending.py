# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# diffusers' pipelines are only partly typed.
"""Owns lending one pipeline to one export after another and getting it back as it was; draws nothing."""

import copy
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from lorasmith.export_manifest import ExportManifest
from lorasmith.inference.exports import load_concept
from lorasmith.inference.pipeline import pool_at_end_of_text
from lorasmith.tokens.vocabulary import TokenVocabulary


@contextmanager
def with_concept(
    pipeline: StableDiffusionXLPipeline, export_folder: Path, manifest: ExportManifest | None = None
) -> Generator[TokenVocabulary]:
    """The pipeline with an export's new tokens and adapter inside the block, and to the bit as it was after it.

    Opening a base takes longer than drawing with it. DataError as `load_concept` has it; the pipeline is then as it
    was, too.
    """
    tokenizers = pipeline.tokenizer, pipeline.tokenizer_2
    counts = [encoder.get_input_embeddings().num_embeddings for encoder in _encoders(pipeline)]
    # Copies take the new tokens, since a tokenizer cannot forget one.
    pipeline.tokenizer, pipeline.tokenizer_2 = (copy.deepcopy(tokenizer) for tokenizer in tokenizers)
    try:
        yield load_concept(pipeline, export_folder, manifest)
    finally:
        pipeline.unload_lora_weights()
        pipeline.tokenizer, pipeline.tokenizer_2 = tokenizers
        for encoder, count in zip(_encoders(pipeline), counts, strict=True):
            if encoder.get_input_embeddings().num_embeddings != count:
                encoder.resize_token_embeddings(count, mean_resizing=False)
        pool_at_end_of_text(pipeline)


def _encoders(pipeline: StableDiffusionXLPipeline):
    return pipeline.text_encoder, pipeline.text_encoder_2
