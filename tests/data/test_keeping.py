"""Keeping pixels during a scan: the very pixels that a training would decode for itself, from one decoding an image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sortal.data import keeping
from sortal.data import scan as scanning
from sortal.data.facts import Facts
from sortal.data.keeping import PixelKeeper
from sortal.data.pixels import StoredPixels
from sortal.data.scan import Glimpse, Scanned, scan
from sortal.data.store import Cache
from sortal.preprocess import Preprocess, open_rgb, stored_pixels

Tree = Callable[..., Path]
Picture = Callable[..., bytes]


@pytest.fixture
def photographs(write_tree: Tree, picture: Picture) -> Path:
    """A photograph of each kind that is decoded in a way of its own, a copy, and what is no image."""
    contents = {
        "a/large.jpg": picture(1, 1200, 900, "JPEG"),
        "a/small.jpg": picture(2, 300, 200, "JPEG"),
        "b/plain.png": picture(3, 40, 30),
        "b/copy.png": picture(3, 40, 30),
        "b/broken.jpg": picture(4, 300, 200, "JPEG")[:900],
    }
    return write_tree(contents=contents)


def kept(root: Path, facts: Facts, cache: Cache, preprocess: Preprocess) -> Scanned:
    return scan(root, facts=facts, keep=lambda seen: PixelKeeper.with_room(preprocess, cache, seen.images))


@pytest.mark.parametrize("side", [16, 64, 250, 256, 300, 500])
def test_pixels_kept_on_the_way_are_those_that_a_decoding_of_their_own_gives(
    photographs: Path, facts: Facts, cache: Cache, side: int
) -> None:
    preprocess = Preprocess(side, side)
    scanned = kept(photographs, facts, cache, preprocess)
    assert scanned.decoded in (4, 5)  # the copy may come while its original is being decoded
    with StoredPixels(scanned.manifest, preprocess, cache) as pixels:
        pixels.fill()
        assert pixels.decoded == 0
        rows = np.array([row for row, reason in enumerate(scanned.manifest.column("exclusion")) if reason is None])
        files = [photographs / scanned.manifest.sources[row] for row in rows]
        expected = [stored_pixels(file.read_bytes(), preprocess) for file in files]
        np.testing.assert_array_equal(pixels.read(rows), expected)
    assert len(rows) == 4


def test_facts_are_the_same_with_and_without_keeping(photographs: Path, tmp_path: Path, cache: Cache, facts: Facts) -> None:
    with Facts(tmp_path / "other.sqlite") as other:
        plain = scan(photographs, facts=other).manifest
    assert kept(photographs, facts, cache, Preprocess(16, 16)).manifest.table.equals(plain.table)


def test_the_scale_is_told_apart_as_pillow_does_it(picture: Picture) -> None:
    for width, height in ((1200, 900), (511, 513), (512, 512), (2100, 4000)):
        data = picture(0, width, height, "JPEG")
        for one in (16, 64, 255, 256, 257):
            same = open_rgb(data, at_least=one)[0].size == open_rgb(data, at_least=256)[0].size
            assert scanning.same_scale(data, width, height, one, 256) == same


def test_images_whose_facts_are_known_are_decoded_once_more_for_their_pixels_and_then_never(
    photographs: Path, facts: Facts, cache: Cache
) -> None:
    (photographs / "b/copy.png").unlink()
    assert scan(photographs, facts=facts).decoded == 4
    assert kept(photographs, facts, cache, Preprocess(16, 16)).decoded == 3  # what is broken is known to be
    assert kept(photographs, facts, cache, Preprocess(16, 16)).decoded == 0


def test_where_the_stores_have_no_room_nothing_is_kept(photographs: Path, facts: Facts, cache: Cache) -> None:
    assert PixelKeeper.with_room(Preprocess(16, 16), Cache(cache.root, 100), 5) is None
    assert kept(photographs, facts, Cache(cache.root, 100), Preprocess(16, 16)).manifest.used


def test_segments_are_written_as_they_fill_up(
    photographs: Path, facts: Facts, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SEGMENT_BYTES", 2 * 16 * 16 * 3)
    kept(photographs, facts, cache, Preprocess(16, 16))
    (store,) = cache.list_stores()
    assert (store.rows, len(list(store.path.glob("*.rows")))) == (3, 2)


def test_a_scan_that_fails_keeps_only_what_was_written(write_tree: Tree, facts: Facts, cache: Cache) -> None:
    def interrupted(root: Path) -> None:
        with PixelKeeper(Preprocess(16, 16), cache) as keeper:
            keeper.put("00" * 32, np.zeros((16, 16, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(write_tree("a/1.png"))
    assert sum(store.rows for store in cache.list_stores()) == 0


def test_a_glimpse_tells_sizes_classes_and_whether_all_are_small_and_grey(
    write_tree: Tree, facts: Facts, picture: Picture
) -> None:
    seen: list[Glimpse] = []

    def look(glimpse: Glimpse) -> None:
        seen.append(glimpse)

    scan(write_tree("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"), facts=facts, keep=look)
    assert seen == [Glimpse(images=4, training_images=2, classes=("a", "b"), side=12, grey=False)]
