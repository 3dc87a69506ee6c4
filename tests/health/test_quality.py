import numpy as np
import pytest

from sortal.health.quality import Looks, quality

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


def test_a_thing_on_black_or_white_is_neither_dark_nor_bright():
    assert told({"darkest_N": 0, "lightest_N": 180}, {"darkest_N": 60, "lightest_N": 255}) == []


def test_long_images_among_long_ones_are_not_odd():
    panorama = {"widths_N": 2400, "heights_N": 600}
    assert told(*[panorama] * 10, good=30) == []
