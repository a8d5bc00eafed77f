"""Owns which pictures show the same thing: found by a hash of their coarse shapes, confirmed by comparing them.

The hash is that of the discrete cosine transform, 64 bits, which stays nearly the same when a picture is saved anew,
resized or brightened. All pairs are compared, in blocks of numpy's: 20,000 pictures are 200 million pairs, a few
seconds. Two that are near in bits are then laid over each other, also a little cut and mirrored: roughly, and where
that brings them near, finely. Their correlation decides.
"""
# numpy's functions are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lorasmith.checking.measures import THUMB

_NEAR = ((250, 27, 0.3), (1_000, 23, 0.35), (5_000, 20, 0.5), (10**9, 17, 0.6))
"""Up to how many pictures: the most bits, of 64, that may differ, and the least correlation before fitting.

Two pictures that have nothing in common differ in 32 bits, give or take 4. Among many pictures, chance brings many
pairs near; a stricter hash then misses some that were cut, and keeps the time in bounds.
"""
_SAME = 0.973
"""Correlation of two pictures laid over each other, over all their channels. Four drawings of one figure in four poses
on white paper have up to 0.964; copies with up to a tenth cut away, 0.97 to 1."""
_ALMOST = 0.95
"""From which correlation of the rough ones on it is worth fitting finely."""
_LEAST_CONTRAST = 6.0
"""Standard deviation, of 255; what is flatter has no shape to be known by."""
_BLOCK = 1024
_PAIRS_AT_ONCE = 512
_ROUGH = ((0.975, 0.95, 0.925, 0.9), (0.0, 0.25, 0.5, 0.75, 1.0))
_FINE = (tuple(0.885 + 0.015 * step for step in range(8)), tuple(step / 8 for step in range(9)))
"""How much of a side is kept, and where the rest is cut away: 0 all behind, 1 all before."""
_SIDE, _ROUGH_SIDE = 32, 16
"""Pixels along a side of what is compared, with colours, and roughly, without; parts are cut from the finer `THUMB`."""
_TURNS = 2
_MOST_NEIGHBOURS = 16
"""Of each picture, those with the nearest hashes: in a film of 20,000 pictures all pairs are near."""

Thumbs = NDArray[np.float32]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Pair:
    """Two pictures that show the same, by their places in the list; how far (0…1), and whether one is mirrored."""

    first: int
    second: int
    likeness: float
    is_mirrored: bool


def near_duplicates(thumbs: Sequence[bytes]) -> list[Pair]:
    """All pairs among pictures in small (`Measures.thumb`) that show the same, in order of their places."""
    if len(thumbs) < 2:
        return []
    colours = np.frombuffer(b"".join(thumbs), np.uint8).reshape(len(thumbs), THUMB, THUMB, 3)
    has_shape, plain, mirrored = _shapes(colours)
    most_bits, worth_fitting = next((bits, least) for count, bits, least in _NEAR if len(thumbs) <= count)
    confirmed = [
        pair
        for hashes, is_mirrored in ((plain, False), (mirrored, True))
        for pair in _confirmed(
            colours, list(_near(plain, hashes, has_shape, most_bits)), worth_fitting, is_mirrored=is_mirrored
        )
    ]
    best: dict[tuple[int, int], Pair] = {}
    for pair in confirmed:
        known = best.get((pair.first, pair.second))
        if known is None or pair.likeness > known.likeness:
            best[(pair.first, pair.second)] = pair
    return [best[place] for place in sorted(best)]


def groups_of(pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
    """The pictures that are connected by pairs, each group in order."""
    leader: dict[int, int] = {}

    def find(one: int) -> int:
        while leader.setdefault(one, one) != one:
            leader[one] = leader[leader[one]]
            one = leader[one]
        return one

    for pair in pairs:
        first, second = sorted((find(pair.first), find(pair.second)))
        leader[second] = first
    groups: dict[int, list[int]] = {}
    for one in sorted(leader):
        groups.setdefault(find(one), []).append(one)
    return [tuple(group) for group in groups.values()]


def _shapes(colours: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], Hashes, Hashes]:
    """Which pictures have a shape to be known by, and their hashes, as they are and mirrored; a block at a time."""
    blocks = [colours[start : start + _BLOCK] for start in range(0, len(colours), _BLOCK)]
    grey = (block.mean(axis=3, dtype=np.float32) for block in blocks)
    told = [(one.std(axis=(1, 2)) >= _LEAST_CONTRAST, _hashes(one), _hashes(one[:, :, ::-1])) for one in grey]
    has_shape, plain, mirrored = zip(*told, strict=True)
    return np.concatenate(has_shape), np.concatenate(plain), np.concatenate(mirrored)


def _hashes(grey: Thumbs) -> Hashes:
    """64 bits each: which of the lowest 8×8 waves, but the mean, lie above their median."""
    waves = _cosines()[:8] @ grey @ _cosines()[:8].T
    values = waves.reshape(len(grey), 64)
    values[:, 0] = 0
    bits = values > np.median(values[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def _cosines() -> NDArray[np.float32]:
    """The discrete cosine transform (type II) of `THUMB` values, as a matrix."""
    places = np.arange(THUMB)
    return np.cos(np.pi / THUMB * (places[None, :] + 0.5) * places[:, None]).astype(np.float32)


def _near(hashes: Hashes, others: Hashes, counts: NDArray[np.bool_], most_bits: int) -> Iterator[tuple[int, int]]:
    """Pairs first < second whose hashes differ in few bits."""
    for start in range(0, len(hashes), _BLOCK):
        rows = hashes[start : start + _BLOCK]
        different = np.bitwise_count(rows[:, None] ^ others[None, start:])
        near = (different <= most_bits) & counts[start : start + _BLOCK, None] & counts[None, start:]
        near &= np.arange(near.shape[1])[None, :] > np.arange(len(rows))[:, None]
        for row in np.flatnonzero(near.any(axis=1)):
            columns = np.flatnonzero(near[row])
            nearest = columns[np.argsort(different[row, columns], kind="stable")[:_MOST_NEIGHBOURS]]
            yield from ((int(start + row), int(start + column)) for column in nearest)


def _confirmed(
    colours: NDArray[np.uint8], pairs: Sequence[tuple[int, int]], worth_fitting: float, *, is_mirrored: bool
) -> Iterator[Pair]:
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        first = colours[[one for one, _ in part]].astype(np.float32)
        second = colours[[other for _, other in part]].astype(np.float32)
        likeness = _likeness(first, second[:, :, ::-1] if is_mirrored else second, worth_fitting)
        for (one, other), value in zip(part, likeness, strict=True):
            if value >= _SAME:
                yield Pair(one, other, float(value), is_mirrored)


def _likeness(first: Thumbs, second: Thumbs, worth_fitting: float) -> NDArray[np.float32]:
    """The best correlation of each pair, with either picture cut a little where that brings them nearer."""
    best = _correlation(_whole(first), _whole(second))
    may_fit = np.flatnonzero((best >= worth_fitting) & (best < _SAME))
    rough = _either_fitted(_grey(first[may_fit]), _grey(second[may_fit]), _cuts(_ROUGH_SIDE, *_ROUGH))
    almost = may_fit[rough >= _ALMOST]
    fine = _either_fitted(first[almost], second[almost], _cuts(_SIDE, *_FINE))
    best[almost] = np.maximum(best[almost], fine)
    return best


def _grey(pictures: Thumbs) -> Thumbs:
    return pictures.mean(axis=3, keepdims=True)


def _whole(pictures: Thumbs) -> Thumbs:
    """The pictures uncut, as they are compared."""
    return _cut(pictures, _sampling(_SIDE, 1.0, 0.0))


def _cut(pictures: Thumbs, cut: Thumbs) -> Thumbs:
    return np.einsum("rh,nhwc,sw->nrsc", cut, pictures, cut, optimize=True)


def _either_fitted(first: Thumbs, second: Thumbs, cuts: Thumbs) -> NDArray[np.float32]:
    """The best correlation of each pair, one or the other of which is cut; `cuts[0]` cuts nothing."""
    if not len(first):
        return np.zeros(0, np.float32)
    return np.maximum(_fitted(_cut(first, cuts[0]), second, cuts), _fitted(_cut(second, cuts[0]), first, cuts))


def _fitted(pictures: Thumbs, others: Thumbs, cuts: Thumbs) -> NDArray[np.float32]:
    """The correlation with the part of each other picture that fits best, found by turns along rows and columns."""
    count = len(pictures)
    rows = columns = np.broadcast_to(cuts[0], (count, *cuts[0].shape))
    best = np.zeros(count, np.float32)
    for _ in range(_TURNS):
        half = np.einsum("nrh,nhwc->nrwc", rows, others, optimize=True)
        best, columns = _best_part(pictures.swapaxes(1, 2), half.swapaxes(1, 2), cuts)
        half = np.einsum("nsw,nhwc->nhsc", columns, others, optimize=True)
        best, rows = _best_part(pictures, half, cuts)
    return best


def _best_part(pictures: Thumbs, others: Thumbs, cuts: Thumbs) -> tuple[NDArray[np.float32], Thumbs]:
    """Each pair's best correlation over all cuts along the first side, and the matrices that cut so."""
    values = np.stack([_correlation(pictures, np.einsum("rh,nhwc->nrwc", cut, others, optimize=True)) for cut in cuts])
    chosen = values.argmax(axis=0)
    return values.max(axis=0), cuts[chosen]


@cache
def _cuts(side: int, sizes: tuple[float, ...], shifts: tuple[float, ...]) -> Thumbs:
    """The matrices of all cuts that are tried, [cuts, side, `THUMB`]; the first cuts nothing."""
    places = [(size, shift * (1 - size)) for size in sizes for shift in shifts]
    return np.stack([_sampling(side, size, start) for size, start in [(1.0, 0.0), *places]])


def _sampling(side: int, size: float, start: float) -> Thumbs:
    """The matrix [side, `THUMB`] whose rows are the means over equal parts of what lies from `start` on."""
    parts = start + np.arange(side + 1) / side * size
    pixels = np.arange(THUMB + 1) / THUMB
    covered = np.minimum(pixels[None, 1:], parts[1:, None]) - np.maximum(pixels[None, :-1], parts[:-1, None])
    return (np.clip(covered, 0, None) * (side / size)).astype(np.float32)


def _correlation(first: Thumbs, second: Thumbs) -> NDArray[np.float32]:
    """Of each pair: how its colours vary together over the picture, 1 for the same but for light."""
    one = first - first.mean(axis=(1, 2), keepdims=True)
    other = second - second.mean(axis=(1, 2), keepdims=True)
    together = (one * other).sum(axis=(1, 2, 3))
    apart = np.sqrt((one**2).sum(axis=(1, 2, 3)) * (other**2).sum(axis=(1, 2, 3)))
    return together / np.maximum(apart, 1e-6)
