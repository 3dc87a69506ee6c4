import numpy as np
import pytest

from sortal.health.quality import Looks, placeholders, quality

GOOD = {
    "widths_N": 500, "heights_N": 375, "darkest_N": 20, "lightest_N": 220, "contrast_N": 50,
    "detail_N": 0.4, "commonest_N": 0.05, "colours_N": 0.2,
}  # fmt: skip


def looks(*changes, good=40):
    rows = [GOOD | change for change in (*changes, *[{}] * good)]
    return [f"{n}.jpg" for n in range(len(rows))], Looks(
        **{name: np.array([row[name] for row in rows], float) for name in GOOD}
    )


def told(*changes, good=40):
    return [
        (finding.kind, finding.severity, finding.images, finding.detail) for finding in quality(*looks(*changes, good=good))
    ]


def test_good_photographs_give_no_finding_and_no_images_neither():
    assert told() == []
    assert told(good=0) == []


@pytest.mark.parametrize(
    ("change", "kind", "severity", "said"),
    [
        ({"commonest_N": 0.9, "colours_N": 0.006}, "placeholder", "warning", "placeholder"),
        ({"contrast_N": 0.5, "detail_N": 0}, "quality", "warning", "blank"),
        ({"lightest_N": 30, "contrast_N": 8}, "quality", "note", "very dark"),
        ({"darkest_N": 230, "contrast_N": 8}, "quality", "note", "very bright"),
        ({"detail_N": 0.05}, "quality", "note", "blurred"),
        ({"widths_N": 60, "heights_N": 60}, "quality", "note", "far smaller than most (375 pixels): 0.jpg (60 x 60)"),
        ({"widths_N": 5000, "heights_N": 4000}, "quality", "note", "far larger than most"),
        ({"widths_N": 3000, "heights_N": 300}, "quality", "note", "far from square"),
    ],
)
def test_each_fault_is_named_with_its_image(change, kind, severity, said):
    ((found_kind, found_severity, images, detail),) = told(change)
    assert (found_kind, found_severity, images) == (kind, severity, ("0.jpg",))
    assert detail.startswith("1 image ")
    assert said in detail


def test_a_set_of_drawings_has_no_placeholders():
    drawn = {"commonest_N": 0.9, "colours_N": 0.006}
    assert told(*[drawn] * 30, good=10) == []


DRAWN = {"commonest_N": 0.9, "colours_N": 0.006}


def found(*changes, good=40, pictures=None):
    """How many of the changed rows count as placeholders; the good ones must not."""
    _, each = looks(*changes, good=good)
    pictures = np.arange(len(each.commonest_N)) if pictures is None else np.array(pictures)
    placeholder_N = placeholders(each, pictures)
    assert not placeholder_N[len(changes) :].any()
    return int(placeholder_N.sum())


@pytest.mark.parametrize("times", [1, 2, 10, 1_000])
@pytest.mark.parametrize("good", [12, 40])
def test_a_placeholder_is_found_however_often_it_was_saved(times, good):
    pictures = [0] * times + [*range(1, good + 1)]
    assert found(*[DRAWN] * times, good=good, pictures=pictures) == times
    ((_, _, images, detail),) = [
        (each.kind, each.severity, each.images, each.detail)
        for each in quality(*looks(*[DRAWN] * times, good=good), np.array(pictures))
    ]
    assert len(images) == times
    assert (f"(one of them {times:,} times)" in detail) == (times > 1)


def test_several_placeholders_that_were_saved_ten_times_each_are_found():
    pictures = [*np.repeat(range(4), 10), *range(4, 44)]
    assert found(*[DRAWN] * 40, pictures=pictures) == 40


def test_a_placeholder_that_was_saved_often_is_found_among_drawings_too_and_they_are_none():
    pictures = [*[0] * 100, *range(1, 61)]
    _, each = looks(*[DRAWN] * 160, good=0)
    assert placeholders(each, np.array(pictures)).tolist() == [True] * 100 + [False] * 60


def test_a_class_of_drawings_that_were_all_saved_ten_times_has_no_placeholders():
    assert found(*[DRAWN] * 300, pictures=[*np.repeat(range(30), 10), *range(30, 70)]) == 0


def test_even_fields_of_a_microscope_are_no_placeholders_whether_blank_or_nearly():
    empty, nearly = {"commonest_N": 1, "colours_N": 0.001, "contrast_N": 1}, {**DRAWN, "contrast_N": 4}
    assert found(*[empty] * 100, pictures=[*[0] * 100, *range(1, 41)]) == 0  # the very same blank
    assert found(*[nearly] * 20) == 0
    assert found(*[empty] * 50, *[nearly] * 2, good=50) == 0


def test_of_no_images_and_of_very_few_none_is_a_placeholder():
    assert found(good=0) == 0
    assert found(DRAWN, good=3) == 0


def test_a_thing_on_black_or_white_is_neither_dark_nor_bright():
    assert told({"darkest_N": 0, "lightest_N": 180}, {"darkest_N": 60, "lightest_N": 255}) == []


def test_long_images_among_long_ones_are_not_odd():
    panorama = {"widths_N": 2400, "heights_N": 600}
    assert told(*[panorama] * 10, good=30) == []
