"""SDXL and what is built like it: two CLIP text encoders, text_time conditioning, AutoencoderKL, a UNet."""
