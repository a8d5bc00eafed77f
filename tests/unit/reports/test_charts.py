import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from lorasmith.reports.charts import (
    HEIGHT,
    WIDTH,
    Chart,
    Line,
    Marker,
    Point,
    line_chart,
    round_ticks,
    short_number,
    smoothed,
)

SVG = "{http://www.w3.org/2000/svg}"


def parsed(chart: Chart) -> ElementTree.Element:
    """The chart as XML, so that every test also shows it is well formed."""
    return ElementTree.fromstring(line_chart(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def curve(*values: float) -> list[Point]:
    return [Point(step, value) for step, value in enumerate(values, start=1)]


def places(chart: Chart) -> list[list[tuple[float, float]]]:
    """The points of each drawn polyline, in pixels."""
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in element.attrib["points"].split())]
        for element in parsed(chart).iter(f"{SVG}polyline")
    ]


def texts(chart: Chart) -> list[str]:
    return ["".join(element.itertext()) for element in parsed(chart).iter(f"{SVG}text")]


def test_larger_values_are_higher_and_later_steps_further_right_inside_the_frame() -> None:
    (line,) = places(Chart("Loss", [Line("loss", curve(1.0, 3.0, 2.0))]))
    (x1, y1), (x2, y2), (x3, y3) = line
    assert x1 < x2 < x3
    assert y2 < y3 < y1
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in line)


def test_a_log_scale_puts_equal_ratios_at_equal_distances() -> None:
    (line,) = places(Chart("Rate", [Line("rate", curve(1e-6, 1e-5, 1e-4))], log=True))
    assert line[0][1] - line[1][1] == pytest.approx(line[1][1] - line[2][1], abs=0.2)


def test_a_log_scale_is_left_for_a_plain_one_where_a_value_is_zero() -> None:
    (line,) = places(Chart("Rate", [Line("rate", curve(0.0, 1.0, 2.0))], log=True))
    assert line[0][1] - line[1][1] == pytest.approx(line[1][1] - line[2][1], abs=0.2)


def test_values_that_are_not_finite_break_the_line() -> None:
    drawn = places(Chart("Loss", [Line("loss", curve(1, 2, math.nan, 3, 4, math.inf))]))
    assert [len(line) for line in drawn] == [2, 2]


def test_a_single_value_is_a_dot() -> None:
    root = parsed(Chart("Loss", [Line("loss", curve(0.5))]))
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_nothing_finite_is_said_instead_of_drawn() -> None:
    assert "nothing yet" in texts(Chart("Loss", [Line("loss", curve(math.nan))]))


def test_the_pivot_is_marked_at_its_step() -> None:
    chart = Chart("Loss", [Line("loss", curve(1, 2, 3, 4, 5))], Marker(3, "pivot"))
    (marker,) = [element for element in parsed(chart).iter(f"{SVG}line") if element.get("class") == "marker"]
    assert float(marker.attrib["x1"]) == pytest.approx(places(chart)[0][2][0], abs=0.1)
    assert "pivot" in texts(chart)


def test_a_pivot_that_was_not_reached_is_not_marked() -> None:
    assert "pivot" not in texts(Chart("Loss", [Line("loss", curve(1, 2))], Marker(50, "pivot")))


def test_charts_of_one_span_agree_on_where_a_step_is() -> None:
    early, late = (
        places(Chart("Loss", [Line("loss", [Point(s, 1), Point(50, 2), Point(t, 3)])], span=(1, 100)))[0][1]
        for s, t in ((1, 60), (40, 100))
    )
    assert early[0] == late[0]


def test_one_outlier_of_a_raw_line_does_not_flatten_the_smoothed_one() -> None:
    values = [0.1 + 0.001 * n for n in range(100)]
    spiked = [*values[:50], 1000.0, *values[51:]]
    chart = Chart("Loss", [Line("each step", curve(*spiked), "raw"), Line("smoothed", curve(*values))])
    _, line = places(chart)
    assert line[0][1] - line[-1][1] > HEIGHT / 4


def test_thousands_of_points_are_thinned_and_keep_their_extremes() -> None:
    values = [math.sin(n / 50) for n in range(10_000)]
    values[4321] = 5.0
    chart = Chart("Loss", [Line("loss", curve(*values))])
    (line,) = places(chart)
    assert len(line) <= 800
    highest, next_highest, *_ = sorted(y for _, y in line)
    assert highest < next_highest - 50
    assert line == sorted(line, key=lambda place: place[0])


def test_labels_are_escaped() -> None:
    hostile = "<script>alert('1')</script>"
    chart = Chart(hostile, [Line(hostile, curve(1, 2)), Line("b", curve(1, 2))], Marker(1, hostile))
    assert "<script" not in line_chart(chart)
    assert texts(chart).count(hostile) == 3


def test_lines_are_named_where_there_are_several() -> None:
    assert "smoothed" not in texts(Chart("Loss", [Line("smoothed", curve(1, 2))]))
    both = texts(Chart("Loss", [Line("each step", curve(1, 2)), Line("smoothed", curve(1, 2))]))
    assert {"each step", "smoothed"} <= set(both)


def test_two_charts_on_one_page_have_their_own_clip() -> None:
    ids = {
        re.findall(r'clipPath id="([^"]+)"', line_chart(Chart(title, [Line("a", curve(1, 2))])))[0] for title in "ab"
    }
    assert len(ids) == 2


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant() -> None:
    assert [point.value for point in smoothed(curve(4, 4, 4), half_life=5)] == pytest.approx([4, 4, 4])
    assert smoothed(curve(9, 1), half_life=5)[0].value == pytest.approx(9)


def test_smoothing_counts_one_half_after_its_half_life() -> None:
    late = smoothed(curve(*[0.0] * 500, *[1.0] * 10), half_life=10)
    assert late[-1].value == pytest.approx(0.5, abs=0.01)


def test_smoothing_leaves_out_what_is_not_finite() -> None:
    assert [point.step for point in smoothed(curve(1, math.nan, 1), half_life=2)] == [1, 3]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.5, 1]), (0, 400, [0, 100, 200, 300, 400]), (0.16, 0.19, [0.16, 0.17, 0.18, 0.19])],
)
def test_ticks_are_round_and_within_bounds(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_ticks_of_a_single_value_are_that_value() -> None:
    assert round_ticks(3, 3) == [3]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1500, "1500"), (0.0005, "0.0005"), (2e-6, "2e-06"), (0.1 + 0.2, "0.3")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short_number(value) == text
