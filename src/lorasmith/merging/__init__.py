"""Merging adapters into one, exactly where that is possible; trains merger vectors at most, and draws nothing."""
