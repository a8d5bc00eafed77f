"""Owns how sharp a picture is: the width of its sharpest edges, whatever it shows.

Counting fine detail (the variance of the Laplacian, say) takes a drawing with few lines for a blurred photograph. Here
each edge is measured by itself: blurred once more, a sharp edge loses most of its slope and a soft one hardly any, and
the ratio of the two slopes gives the width it had (Zhuo and Sim, "Defocus map estimation from a single image", Pattern
Recognition 44, 2011). So a soft background behind a sharp subject is no defect, and neither is a plain drawing.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]

_AGAIN = 1.5
"""Standard deviation of the second blur, in pixels: wide enough for ratios that noise does not decide."""
_LEAST_SLOPE = 3.0
"""Of 255 in one pixel; below it are noise and the blocks of JPEG."""
_OF_THE_STEEPEST = 0.5
_STEEPEST = 0.997
_FEWEST_EDGES = 40


def edge_width(grey: Grey) -> float | None:
    """The standard deviation of the blur over the sharpest edges of a picture [H, W] of 0…255, in its pixels.

    Measured along rows and along columns; the wider of the two counts, because a moving camera blurs in one direction
    only. None where there are no edges to measure.
    """
    widths = [width for width in (_along_rows(grey), _along_rows(np.ascontiguousarray(grey.T))) if width is not None]
    return max(widths, default=None)


def _along_rows(grey: Grey) -> float | None:
    slopes = np.abs(np.diff(grey, axis=1))
    if slopes.shape[1] < 3:
        return None
    edges = slopes > max(_LEAST_SLOPE, _OF_THE_STEEPEST * float(np.quantile(slopes, _STEEPEST)))
    edges[:, 1:-1] &= (slopes[:, 1:-1] >= slopes[:, :-2]) & (slopes[:, 1:-1] >= slopes[:, 2:])
    if np.count_nonzero(edges) < _FEWEST_EDGES:
        return None
    blurred = np.abs(np.diff(_blurred(grey), axis=1))
    ratios = slopes[edges] / np.maximum(blurred[edges], 1e-3)
    return float(np.median(_AGAIN / np.sqrt(np.maximum(ratios**2 - 1, 1e-3))))


def _blurred(grey: Grey) -> Grey:
    """Each row by a Gaussian, its ends repeated."""
    reach = round(3 * _AGAIN)
    padded = np.pad(grey, ((0, 0), (reach, reach)), mode="edge")
    result = np.zeros_like(grey)
    for place, weight in enumerate(_gaussian(reach)):
        result += np.float32(weight) * padded[:, place : place + grey.shape[1]]
    return result


def _gaussian(reach: int) -> Iterator[float]:
    values = [float(np.exp(-((place / _AGAIN) ** 2) / 2)) for place in range(-reach, reach + 1)]
    return (value / sum(values) for value in values)
