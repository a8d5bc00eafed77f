"""Owns showing a run in TensorBoard, Weights & Biases and trackio; a run neither waits for them nor fails with them."""
