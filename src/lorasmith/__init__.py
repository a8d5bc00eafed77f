"""lorasmith: a handful of pictures in, a LoRA for SDXL-class models out."""

__version__ = "0.1.0"
