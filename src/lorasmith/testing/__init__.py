"""Owns what tests and users build small experiments from: genuine pipelines with random weights, and pictures."""

from lorasmith.testing.medium_pipeline import medium_pipeline
from lorasmith.testing.pictures import pictures
from lorasmith.testing.pipeline_files import open_pipeline
from lorasmith.testing.real_sdxl import (
    real_sdxl_pipeline,
    real_sdxl_text_encoders,
    real_sdxl_unet,
    real_sdxl_vae,
    write_real_sdxl,
)
from lorasmith.testing.sgm_file import sgm_tensors, write_sgm_file
from lorasmith.testing.tiny_pipeline import tiny_pipeline
from lorasmith.testing.tokenizer_files import write_tokenizer

__all__ = [
    "medium_pipeline",
    "open_pipeline",
    "pictures",
    "real_sdxl_pipeline",
    "real_sdxl_text_encoders",
    "real_sdxl_unet",
    "real_sdxl_vae",
    "sgm_tensors",
    "tiny_pipeline",
    "write_real_sdxl",
    "write_sgm_file",
    "write_tokenizer",
]
