import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.reporting.charts import HEIGHT, WIDTH, Line, axis, line_chart, reliability_chart

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_an_axis_covers_its_values_with_few_ticks(values: list[float]) -> None:
    found = axis(values)
    slack = 1e-6 * max(1.0, *map(abs, values))
    assert found.low <= min(values) + slack
    assert found.high >= max(values) - slack
    assert 2 <= len(found.ticks) <= 8


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_no_tick_of_a_percentage_lies_above_100(values: list[float]) -> None:
    assert max(axis(values, percent=True).ticks) <= 1.0


def test_epochs_have_whole_numbers_on_their_axis() -> None:
    assert all(float(tick).is_integer() for tick in axis([1, 2, 3], whole=True).ticks)
    assert axis([1.0], whole=True).ticks == [1.0]


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=0, max_size=30), st.booleans())
def test_whatever_the_losses_the_drawing_is_sound_and_stays_in_its_frame(values: list[float | None], percent: bool) -> None:
    kept = [value if value is None or not math.isfinite(value) else max(-1e9, min(1e9, value)) for value in values]
    points = [(float(epoch), value) for epoch, value in enumerate(kept, start=1)]
    if percent:
        points = [(x, None if y is None or not math.isfinite(y) else min(1.0, abs(y))) for x, y in points]
    root = ElementTree.fromstring(line_chart("Loss", [Line("training", points)], percent=percent))
    for line in root.iter("polyline"):
        for pair in line.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= WIDTH
            assert -0.5 <= y <= HEIGHT


def test_a_single_epoch_is_a_dot() -> None:
    drawn = line_chart("Loss", [Line("training", [(1.0, 0.5)])], marked=1.0)
    assert "<circle" in drawn
    assert "<polyline" not in drawn


def test_a_very_long_training_is_thinned() -> None:
    drawn = line_chart("Loss", [Line("training", [(float(x), 1 / (x + 1)) for x in range(100_000)])])
    assert len(drawn) < 12_000


def test_titles_are_escaped() -> None:
    assert "<script" not in line_chart("<script>", [Line("<script>", [(1.0, 1.0)])])


def test_a_reliability_chart_has_a_dot_and_a_whisker_for_each_bin() -> None:
    bins = [{"confidence": 0.7, "accuracy": 0.5, "interval": [0.3, 0.7], "images": 9}] * 2
    drawn = reliability_chart("Calibration", bins)
    assert drawn.count("<circle") == drawn.count('class="whisker"') == 2
    assert "70% sure: 50% right of 9" in drawn


@pytest.mark.parametrize(("value", "text"), [(0.0005, "5e\u22124"), (0.00025, "2.5e\u22124"), (0.0, "0")])
def test_small_rates_are_written_with_powers_of_ten(value: float, text: str) -> None:
    assert axis([0.0, 0.001]).text(value) == text
