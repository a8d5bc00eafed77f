"""Owns finding faces, where OpenCV is installed: an optional extra, and without it nobody looks and the report says so.

Two detectors: YuNet, which is good and whose weights are a file of the user's, and the Haar cascade that OpenCV 4
ships, which misses turned faces and sees some where there are none. The report says which one looked.
"""
# OpenCV is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from PIL import Image

from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, DataError

INSTALL = "pip install 'lorasmith[faces]'"
_SHORT_SIDE = 512
_SURE = 0.8
"""YuNet's score from which on a face is one."""
_LEAST = 0.06
"""Of the picture's height: smaller ones are people in the background, or none."""


class FaceDetector(Protocol):
    """Says how large the faces in a picture are."""

    @property
    def name(self) -> str:
        """Which detector looked, for the report and the key of what is kept."""
        ...

    def heights(self, picture: Image.Image) -> tuple[float, ...]:
        """Each face's height as a share of the picture's, the largest first."""
        ...


def face_detector(weights: Path | None) -> FaceDetector | None:
    """YuNet with the user's weights, else OpenCV 4's cascade, else None; ConfigError if weights are of no use."""
    try:
        opencv = import_module("cv2")
    except ImportError:
        if weights is not None:
            raise ConfigError("faces are looked for with OpenCV", where="--face-weights", remedy=INSTALL) from None
        return None
    if weights is not None:
        return _YuNet.of(opencv, weights)
    return _Cascade.of(opencv)


@dataclass(frozen=True)
class _YuNet:
    """OpenCV's `FaceDetectorYN`."""

    detector: Any
    name: str = "YuNet"

    @classmethod
    def of(cls, opencv: ModuleType, weights: Path) -> "_YuNet":
        if not weights.is_file():
            raise ConfigError(f"there is no file {shown(weights)}", where="--face-weights", remedy="Check the path.")
        try:
            return cls(opencv.FaceDetectorYN.create(str(weights), "", (320, 320), _SURE))
        except opencv.error as error:
            raise DataError(
                f"{shown(weights)} cannot be used: {shown(str(error))}", where="--face-weights",
                remedy="Give YuNet's ONNX file, as OpenCV's model zoo has it.",
            ) from error  # fmt: skip

    def heights(self, picture: Image.Image) -> tuple[float, ...]:
        small = _reduced(picture)
        self.detector.setInputSize(small.size)
        _, found = self.detector.detect(np.ascontiguousarray(np.asarray(small)[:, :, ::-1]))
        return _shares([] if found is None else [float(row[3]) for row in found], small.height)


@dataclass(frozen=True)
class _Cascade:
    """The Haar cascade for faces from the front (Viola and Jones, 2001)."""

    classifier: Any
    name: str = "OpenCV's Haar cascade"

    @classmethod
    def of(cls, opencv: ModuleType) -> "_Cascade | None":
        if not hasattr(opencv, "CascadeClassifier"):  # OpenCV 5 ships none
            return None
        file = Path(str(opencv.__file__)).parent / "data" / "haarcascade_frontalface_default.xml"
        classifier = opencv.CascadeClassifier(str(file))
        return None if classifier.empty() else cls(classifier)

    def heights(self, picture: Image.Image) -> tuple[float, ...]:
        small = _reduced(picture)
        least = max(20, round(_LEAST * small.height))
        boxes = self.classifier.detectMultiScale(np.asarray(small.convert("L")), 1.1, 6, minSize=(least, least))
        return _shares([float(box[3]) for box in boxes], small.height)


def _reduced(picture: Image.Image) -> Image.Image:
    scale = _SHORT_SIDE / min(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _shares(heights: list[float], of: int) -> tuple[float, ...]:
    return tuple(sorted((height / of for height in heights if height >= _LEAST * of), reverse=True))
