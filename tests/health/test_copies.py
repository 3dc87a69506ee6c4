import numpy as np
import pytest

from sortal.health.copies import Images, copies, find
from sortal.health.copies import told as told_of

HASH, OTHER = 0x9A3C_55F0_1234_ABCD, 0x0F1E_D2C3_B4A5_9687


def images(*rows, side=100) -> Images:
    """Rows of (source, content, label, split, phash)."""
    sources, contents, labels, splits, phashes = zip(*rows, strict=True) if rows else ([],) * 5
    return Images(sources, contents, [(label,) for label in labels], splits, phashes, [side] * len(rows))


def told(*rows, side=100) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(finding.kind, finding.severity, finding.images) for finding in copies(images(*rows, side=side))]


def test_different_pictures_give_no_finding():
    assert told(("a", "A", "ant", "train", HASH), ("b", "B", "bee", "test", OTHER)) == []
    assert told() == []


def test_the_same_file_twice_in_a_split_is_a_warning():
    assert told(("a", "A", "ant", "train", HASH), ("b", "A", "ant", "train", HASH)) == [("copies", "warning", ("a", "b"))]


def test_the_same_file_in_two_splits_is_severe():
    (finding,) = copies(images(("a", "A", "ant", "train", HASH), ("b", "A", "ant", "test", HASH)))
    assert (finding.kind, finding.severity, finding.images) == ("copies-across-splits", "severe", ("a", "b"))
    assert "1 picture found in more than one split, byte for byte the same: a (train) = b (test)" in finding.detail
    assert finding.cure


def test_the_same_file_under_two_labels_is_severe():
    (finding,) = copies(images(("a", "A", "ant", "train", HASH), ("b", "A", "bee", "train", HASH)))
    assert (finding.kind, finding.severity, finding.images) == ("copies-with-other-label", "severe", ("a", "b"))
    assert "a (ant) = b (bee)" in finding.detail


def test_a_picture_may_be_all_three():
    rows = [("a", "A", "ant", "train", HASH), ("b", "A", "ant", "train", HASH), ("c", "A", "bee", "val", HASH)]
    assert told(*rows) == [
        ("copies-across-splits", "severe", ("a", "b", "c")),
        ("copies-with-other-label", "severe", ("a", "b", "c")),
        ("copies", "warning", ("a", "b")),
    ]


@pytest.mark.parametrize(("side", "across"), [(64, "severe"), (63, "warning")])
def test_near_copies_across_splits_are_severe_for_photographs_and_a_warning_for_small_pictures(side, across):
    rows = [("a", "A", "ant", "train", HASH), ("b", "B", "ant", "test", HASH ^ 5)]
    assert told(*rows, side=side) == [("copies-across-splits", across, ("a", "b"))]


def test_near_copies_of_small_pictures_across_splits_are_severe_where_their_pixels_were_compared():
    rows = [("a", "A", "ant", "train", HASH), ("b", "B", "ant", "test", OTHER), ("c", "C", "bee", "test", 5)]
    small, twins = images(*rows, side=32), np.array([0, 0, 2])
    (finding,) = told_of(small, find(small, twins))
    assert (finding.kind, finding.severity, finding.images) == ("copies-across-splits", "severe", ("a", "b"))
    assert "hash" not in finding.detail
    (finding,) = told_of(small, find(small, twins, proved=False))
    assert (finding.kind, finding.severity) == ("copies-across-splits", "warning")
    assert "as far as a hash of pictures below 64 pixels can tell" in finding.detail


def test_near_copies_within_a_split_are_a_note():
    assert told(("a", "A", "ant", "train", HASH), ("b", "B", "ant", "train", HASH ^ 1)) == [("copies", "note", ("a", "b"))]


def test_near_copies_under_two_labels_are_severe():
    rows = [("a", "A", "ant", "train", HASH), ("b", "B", "bee", "train", HASH ^ 1)]
    assert told(*rows) == [("copies-with-other-label", "severe", ("a", "b"))]


def test_what_is_byte_identical_is_not_told_again_as_near():
    rows = [("a", "A", "ant", "train", HASH), ("b", "A", "ant", "train", HASH), ("c", "B", "ant", "train", HASH ^ 1)]
    assert told(*rows) == [("copies", "warning", ("a", "b")), ("copies", "note", ("a", "c"))]


def test_rows_without_a_split_leak_into_none():
    assert told(("a", "A", "ant", None, HASH), ("b", "A", "ant", "train", HASH)) == []
    assert told(("a", "A", "ant", None, HASH), ("b", "A", "ant", None, HASH)) == [("copies", "warning", ("a", "b"))]


def test_rows_without_content_or_hash_are_copies_of_nothing():
    assert told(("a", None, "ant", "train", None), ("b", None, "ant", "test", None)) == []


def test_thousands_of_blank_pictures_of_different_bytes_are_no_copies_and_of_the_same_bytes_one_finding():
    blank = [(f"{n}", f"{n}", "ant", "train", 1) for n in range(3_000)]
    assert told(*blank) == []
    same = [(f"{n}", "A", "ant", "train", 1) for n in range(3_000)]
    (finding,) = copies(images(*same))
    assert len(finding.images) == 3_000
    assert "0 = 1 = 2 and 2,997 more" in finding.detail
    assert len(finding.detail) < 200


def test_several_labels_count_as_one_value():
    several = Images(["a", "b"], ["A", "A"], [("ant", "bee"), ("ant",)], [None, None], [HASH, HASH], [100, 100])
    (finding,) = copies(several)
    assert finding.kind == "copies-with-other-label"
    assert "a (ant, bee) = b (ant)" in finding.detail
