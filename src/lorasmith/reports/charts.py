"""Owns line charts as SVG: numbers in, a string out, every label escaped; reads no file, needs no script.

Colours are CSS classes (`line-0`, `axis`, …), so that a page's light and dark styles reach into the picture.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal, NamedTuple

WIDTH: Final = 620
HEIGHT: Final = 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 56, 34
_MOST_POINTS: Final = 800
"""Points drawn per line; more are thinned out, keeping each stretch's lowest and highest."""

LineKind = Literal["raw", "plain", "dots"]


class Point(NamedTuple):
    """One measurement: a step and its value; a value that is not finite breaks the line."""

    step: float
    value: float


@dataclass(frozen=True)
class Line:
    """One named curve. `raw` is thin and pale and may leave the frame, `dots` marks each measurement."""

    name: str
    points: Sequence[Point]
    kind: LineKind = "plain"
    colour: int = 0


@dataclass(frozen=True)
class Marker:
    """A labelled vertical line at a step."""

    step: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Lines over steps, with a marker if there is one; `log` asks for a logarithmic scale where all values allow it.

    `span` is the first and last step of the frame, so that charts side by side agree; None fits the lines.
    """

    title: str
    lines: Sequence[Line]
    marker: Marker | None = None
    log: bool = False
    span: tuple[float, float] | None = None


def smoothed(points: Sequence[Point], *, half_life: float) -> list[Point]:
    """An exponential mean over steps, corrected for its start; values that are not finite are left out.

    `half_life`: after how many measurements one counts half.
    """
    keep, total, weight = 0.5 ** (1 / max(half_life, 1e-9)), 0.0, 0.0
    means = list[Point]()
    for point in points:
        if math.isfinite(point.value):
            total, weight = keep * total + (1 - keep) * point.value, keep * weight + (1 - keep)
            means.append(Point(point.step, total / weight))
    return means


def line_chart(chart: Chart) -> str:
    """The chart as one `<svg>` element; with nothing finite to draw, a frame that says so."""
    values = [point.value for line in chart.lines for point in line.points if math.isfinite(point.value)]
    if not values:
        return _svg(
            chart, f'<text class="tick" x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">nothing yet</text>'
        )
    scale = _scales(chart, log=chart.log and min(values) > 0)
    name = "clip-" + hashlib.blake2b(chart.title.encode(), digest_size=6).hexdigest()
    clip = (
        f'<clipPath id="{name}"><rect x="{_LEFT - 5}" y="{_TOP}" width="{WIDTH - _LEFT - _RIGHT + 10}" '
        f'height="{HEIGHT - _TOP - _BOTTOM}"/></clipPath>'
    )
    lines = "".join(_line(line, scale) for line in chart.lines)
    body = [
        clip,
        _axes(scale),
        _marker(chart.marker, scale),
        f'<g clip-path="url(#{name})">{lines}</g>',
        _legend(chart),
    ]
    return _svg(chart, "".join(body))


def round_ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) within low…high."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
    first, last = math.ceil(low / distance - 1e-9), math.floor(high / distance + 1e-9)
    return [index * distance for index in range(first, last + 1)]


def short_number(value: float) -> str:
    """A number as an axis shows it: 0.0005, 1500, 2e-06."""
    if value == 0:
        return "0"
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.2g}"


@dataclass(frozen=True)
class _Scales:
    """The frame in numbers, and how a number becomes a place in it."""

    steps: tuple[float, float]
    values: tuple[float, float]
    log: bool

    def x(self, step: float) -> float:
        low, high = self.steps
        return _LEFT + (step - low) / ((high - low) or 1) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = (self._of(bound) for bound in self.values)
        share = (self._of(value) - low) / ((high - low) or 1)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def _of(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value

    def value_ticks(self) -> list[float]:
        if not self.log:
            return round_ticks(*self.values)
        low, high = (math.log10(bound) for bound in self.values)
        return [10.0**power for power in round_ticks(math.ceil(low), math.floor(high)) if power == round(power)]


def _scales(chart: Chart, *, log: bool) -> _Scales:
    steps = [*(chart.span or ()), *(point.step for line in chart.lines for point in line.points)]
    framed = [value for line in chart.lines for value in _framed_values(line)]
    low, high = min(framed), max(framed)
    if log:
        return _Scales(
            (min(steps), max(steps)),
            (10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high * 1.0001))),
            True,
        )
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    floor = 0.0 if 0 <= low <= 0.4 * high else low - room
    return _Scales((min(steps), max(steps)), (floor, high + room), False)


def _framed_values(line: Line) -> list[float]:
    """The values the frame must show: all of a line's, but of a raw one only the middle nineteen twentieths."""
    values = sorted(point.value for point in line.points if math.isfinite(point.value))
    if line.kind != "raw" or len(values) < 20:
        return values
    edge = len(values) // 40
    return values[edge : len(values) - edge]


def _axes(scale: _Scales) -> str:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = list[str]()
    for value in scale.value_ticks():
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short_number(value)}</text>'
        )
    for step in round_ticks(*scale.steps, count=6):
        x = scale.x(step)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{short_number(step)}</text>'
        )
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    return "".join(parts)


def _marker(marker: Marker | None, scale: _Scales) -> str:
    if marker is None or not scale.steps[0] <= marker.step <= scale.steps[1]:
        return ""
    x = scale.x(marker.step)
    line = f'<line class="marker" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{HEIGHT - _BOTTOM}"/>'
    place = f'x="{x:.1f}" y="{_TOP - 3}" text-anchor="middle"'
    return f'{line}<text class="marker-label" {place}>{escape(marker.label)}</text>'


def _line(line: Line, scale: _Scales) -> str:
    stretches = _stretches(line.points)
    paths = "".join(_path(line, stretch, scale.x, scale.y) for stretch in stretches if len(stretch) > 1)
    alone = [stretch[0] for stretch in stretches if len(stretch) == 1]
    dotted = [point for stretch in stretches for point in stretch] if line.kind == "dots" else alone
    dots = "".join(
        f'<circle class="dot line-{line.colour}" cx="{scale.x(p.step):.1f}" cy="{scale.y(p.value):.1f}" r="3">'
        f"<title>step {short_number(p.step)}: {short_number(p.value)}</title></circle>"
        for p in dotted
    )
    return paths + dots


def _path(line: Line, points: Sequence[Point], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    places = " ".join(f"{x(point.step):.1f},{y(point.value):.1f}" for point in _thinned(points))
    pale = " raw" if line.kind == "raw" else ""
    return f'<polyline class="line line-{line.colour}{pale}" points="{places}"/>'


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Runs of finite values."""
    stretches: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point.value):
            stretches[-1].append(point)
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _thinned(points: Sequence[Point]) -> list[Point]:
    if len(points) <= _MOST_POINTS:
        return list(points)
    width = math.ceil(len(points) / (_MOST_POINTS // 2))
    kept = list[Point]()
    for start in range(0, len(points), width):
        part = points[start : start + width]
        extremes = {min(part, key=lambda p: p.value), max(part, key=lambda p: p.value)}
        kept += sorted(extremes)
    return kept


def _legend(chart: Chart) -> str:
    """Names under the title, one for each line, where there is more than one to tell apart."""
    named = [line for line in chart.lines if line.points]
    if len(named) < 2:
        return ""
    parts, left = list[str](), float(_LEFT - 44)
    for line in named:
        pale = " raw" if line.kind == "raw" else ""
        stroke = f'<line class="line line-{line.colour}{pale}" x1="{left:.1f}" y1="36" x2="{left + 16:.1f}" y2="36"/>'
        parts.append(f'{stroke}<text class="tick" x="{left + 21:.1f}" y="40">{escape(line.name)}</text>')
        left += 6.4 * len(line.name) + 36
    return "".join(parts)


def _svg(chart: Chart, body: str) -> str:
    title = escape(chart.title)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        f'<text class="chart-title" x="{_LEFT - 44}" y="19">{title}</text>{body}</svg>'
    )
