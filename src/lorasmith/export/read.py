"""Owns nothing: names the reading of weights files, which lives in `lorasmith.formats`."""

from lorasmith.formats.adapters import adapters_in
from lorasmith.formats.opening import FileFormat, WeightsFile, open_sound_weights, open_weights

__all__ = ["FileFormat", "WeightsFile", "adapters_in", "open_sound_weights", "open_weights"]
