"""Optimizers, one per part, each over one flat buffer; and how rates change over a run."""
