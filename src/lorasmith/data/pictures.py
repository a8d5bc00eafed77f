"""Owns pixels on their way to the encoder: decodes and resizes each picture once and keeps what fits into memory."""

from collections import OrderedDict

from PIL import Image
from torch import Tensor

from lorasmith.data.cache import Rendering
from lorasmith.data.decode import content_of, decode
from lorasmith.data.examples import Draw, Example
from lorasmith.data.views import cut, resize
from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.sizes import Size

_MOST_IN_MEMORY = 256 * 2**20


class Pictures:
    """Pixels of draws. Resized pictures are kept, the longest unused given up first, so that a few dozen pictures
    with random crops are not decoded anew at each step."""

    def __init__(self, rendering: Rendering, *, pixel_limit: int, memory: int = _MOST_IN_MEMORY) -> None:
        """`memory` bounds what is kept, in bytes; pictures over it are decoded each time."""
        self._rendering = rendering
        self._pixel_limit = pixel_limit
        self._memory = memory
        self._kept: OrderedDict[tuple[str, Size], Image.Image] = OrderedDict()
        self._bytes_kept = 0  # counted along: summing up 20,000 pictures for each would take longer than encoding them

    def pixels(self, draw: Draw) -> Tensor:
        """What the draw shows: [3, H, W] fp32 in −1…1; raises DataError if the file has been broken meanwhile."""
        return cut(self._resized(draw), draw.view)

    @property
    def bytes_kept(self) -> int:
        """How much memory the kept pictures take."""
        return self._bytes_kept

    def _resized(self, draw: Draw) -> Image.Image:
        key = (draw.example.content, draw.view.resized)
        picture = self._taken(key) or self._decoded(draw)
        self._keep(key, picture)
        return picture

    def _decoded(self, draw: Draw) -> Image.Image:
        _refuse_changed(draw.example)
        picture = decode(draw.example.path, background=self._rendering.background, pixel_limit=self._pixel_limit)
        return resize(picture, draw.view, self._rendering.interpolation)

    def _keep(self, key: tuple[str, Size], picture: Image.Image) -> None:
        if _bytes_of(picture) > self._memory:
            return
        self._kept[key] = picture
        self._bytes_kept += _bytes_of(picture)
        while self._bytes_kept > self._memory:
            self._taken(next(iter(self._kept)))

    def _taken(self, key: tuple[str, Size]) -> Image.Image | None:
        """Out of what is kept."""
        picture = self._kept.pop(key, None)
        self._bytes_kept -= _bytes_of(picture) if picture else 0
        return picture


def _refuse_changed(example: Example) -> None:
    """Other bytes than were read at the start would be trained, and cached, under the old ones' name."""
    if content_of(example.path) != example.content:
        raise DataError(
            f"{shown(example.id)} has changed since the run began",
            where=shown(example.path, limit=300),
            remedy="Leave the pictures alone while a run goes on, and start it again.",
        )


def _bytes_of(picture: Image.Image) -> int:
    return picture.width * picture.height * 3
