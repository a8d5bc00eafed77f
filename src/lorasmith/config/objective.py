"""Owns what the denoiser is trained towards; computes nothing."""

from typing import Annotated

from pydantic import Field

from lorasmith.config.section import Section


class ObjectiveConfig(Section):
    """Towards what."""

    snr_gamma: Annotated[float, Field(gt=0)] | None = None
    """Min-SNR weighting (arXiv 2303.09556); 5 is usual, None switches it off."""

    edm_style: bool = False
    """Measure errors on the denoised picture, weighted by σ⁻² (EDM, arXiv 2206.00364). On bases that predict noise this
    is the same as without; bases with an EDM scheduler (Playground v2.5) are always trained their own way."""

    noise_offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Adds this much noise shared by a whole channel, for darker darks and brighter brights."""

    unmasked_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """What the part of a picture outside of its mask counts, beside the 1 of what is inside."""
