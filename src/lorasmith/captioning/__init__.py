"""Owns what networks (or a template) say of pictures before training: captions, and masks of what words name."""
