"""Stand-ins for the oracle, and one evaluation made up of constructed parts."""

from collections.abc import Callable

import pytest
from PIL import Image

from lorasmith.evaluation.intervals import Estimate
from lorasmith.evaluation.scores import CurvePoint, Evaluation, PictureRow, Score


@pytest.fixture
def evaluation() -> Callable[..., Evaluation]:
    """An evaluation with two scores, a curve and one row of pictures; anything can be said otherwise."""

    def make(**changes: object) -> Evaluation:
        red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
        said: dict[str, object] = {
            "name": "dog-run",
            "base": "embedded",
            "concept": "teddy bear",
            "scale": 1.0,
            "scores": [
                Score("joint", Estimate(0.62, 0.5, 0.73, 25), "50 pictures of 25 prompts", base=0.02, ceiling=1.0),
                Score("class_word_drift", Estimate(0.1, None, None, 24), "24 seeds", base=0.0),
            ],
            "factors": [("background", Estimate(0.9, 0.8, 1.0, 25))],
            "curve": [CurvePoint(0.4, joint=0.2), CurvePoint(1.2, joint=0.5)],
            "rows": [PictureRow("a TOK emoji", red, [blue], [red, blue], [True, False])],
            "read_by": "the oracle",
            "notes": [],
            "drawn": 3,
            "kept": 0,
            "seconds": 1.5,
        }
        return Evaluation(**{**said, **changes})  # pyright: ignore[reportArgumentType]

    return make
