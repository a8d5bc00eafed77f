"""Owns how sizes are written down: always (height, width), always in pixels; computes nothing else."""

from typing import NamedTuple


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        """Width × height, as people write picture sizes."""
        return f"{self.width}×{self.height}"


class Corner(NamedTuple):
    """Top-left corner of a crop, in pixels of the resized (and flipped) picture."""

    top: int
    left: int


class SizeConditioning(NamedTuple):
    """The six numbers SDXL is told about a picture (SDXL paper, arXiv 2307.01952, section 2.2)."""

    original: Size
    crop_top_left: Corner
    target: Size

    def time_ids(self) -> tuple[int, int, int, int, int, int]:
        """(original height, original width, crop top, crop left, target height, target width)."""
        (height, width), (top, left), (target_height, target_width) = self
        return height, width, top, left, target_height, target_width
