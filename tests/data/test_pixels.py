"""Stored pixels: decoded once, read from wherever they fit, and never another image in place of one that is gone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sortal.data import pixels as module
from sortal.data.facts import Facts
from sortal.data.pixels import StoredPixels, free_memory, pixels_key
from sortal.data.scan import scan
from sortal.data.store import Cache
from sortal.errors import DataError
from sortal.events import Event, Note, Progress
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess, stored_pixels

PREPROCESS = Preprocess(size=6, resize=8)
NAMES = [f"{label}/{number}.png" for label in ("ants", "bees") for number in range(5)]


@pytest.fixture
def manifest(write_tree: Callable[..., Path], facts: Facts) -> Manifest:
    root = write_tree(*NAMES, contents={"ants/broken.png": b"no image"})
    (root / "bees/copy.png").write_bytes((root / "bees/0.png").read_bytes())
    return scan(root, facts=facts).manifest


def wanted(manifest: Manifest, rows: np.ndarray) -> np.ndarray:
    files = [Path(manifest.root) / manifest.sources[row] for row in rows]
    return np.stack([stored_pixels(file.read_bytes(), PREPROCESS) for file in files])


def in_use(manifest: Manifest) -> np.ndarray:
    return np.array([row for row, reason in enumerate(manifest.column("exclusion")) if reason is None])


@pytest.fixture(params=["memory", "disk", "on the fly"])
def filled(request: pytest.FixtureRequest, manifest: Manifest, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> StoredPixels:
    if request.param == "disk":
        monkeypatch.setattr(module, "free_memory", lambda: 0)
    limited = Cache(cache.root, 1) if request.param == "on the fly" else cache
    pixels = StoredPixels(manifest, PREPROCESS, limited)
    pixels.fill()
    assert pixels.where == request.param
    return pixels


def test_rows_are_the_pixels_of_their_images_wherever_they_are_kept(filled: StoredPixels, manifest: Manifest) -> None:
    rows = in_use(manifest)
    for order in (rows, rows[::-1], rows[[3, 3, 0]], rows[:0]):
        found = filled.read(order)
        assert (found.dtype, found.shape) == (np.uint8, (len(order), 8, 8, 3))
        if len(order):
            np.testing.assert_array_equal(found, wanted(manifest, order))
    filled.close()


def test_each_content_is_decoded_once_and_never_again(manifest: Manifest, cache: Cache) -> None:
    with StoredPixels(manifest, PREPROCESS, cache) as pixels:
        pixels.fill()
        assert pixels.decoded == 10  # eleven images in use, two of them copies
        pixels.fill()
        assert pixels.decoded == 10
    with StoredPixels(manifest, PREPROCESS, cache) as again:
        again.fill()
        again.read(in_use(manifest))
        assert again.decoded == 0


def test_what_another_crop_or_normalisation_needs_is_the_same_pixels(manifest: Manifest, cache: Cache) -> None:
    with StoredPixels(manifest, PREPROCESS, cache) as pixels:
        pixels.fill()
    with StoredPixels(manifest, Preprocess(size=8, resize=8, mean=(0.1,) * 3, max_pixels=10**6), cache) as again:
        again.fill()
        assert again.decoded == 0


@pytest.mark.parametrize("other", [Preprocess(6, 9), Preprocess(6, 8, interpolation="bilinear"), Preprocess(6, 8, channels=1)])
def test_what_changes_pixels_changes_the_key(other: Preprocess) -> None:
    assert pixels_key(other) != pixels_key(PREPROCESS)


def test_only_what_is_new_is_decoded_when_images_are_added(
    manifest: Manifest, cache: Cache, facts: Facts, picture: Callable[..., bytes]
) -> None:
    with StoredPixels(manifest, PREPROCESS, cache) as pixels:
        pixels.fill()
    (Path(manifest.root) / "bees/new.png").write_bytes(picture(99))
    more = scan(manifest.root, facts=facts).manifest
    with StoredPixels(more, PREPROCESS, cache) as pixels:
        pixels.fill()
        assert pixels.decoded == 1
        np.testing.assert_array_equal(pixels.read(in_use(more)), wanted(more, in_use(more)))


def test_stored_pixels_need_the_images_no_more(manifest: Manifest, cache: Cache) -> None:
    with StoredPixels(manifest, PREPROCESS, cache) as pixels:
        pixels.fill()
        before = pixels.read(in_use(manifest))
    Path(manifest.root).rename(Path(manifest.root).with_name("moved"))
    with StoredPixels(manifest, PREPROCESS, cache) as again:
        again.fill()
        np.testing.assert_array_equal(again.read(in_use(manifest)), before)


def test_a_limit_that_is_too_small_is_said_and_every_reading_decodes(manifest: Manifest, cache: Cache) -> None:
    events: list[Event] = []
    with StoredPixels(manifest, PREPROCESS, Cache(cache.root, 1)) as pixels:
        pixels.fill(events.append)
        assert [type(event) for event in events] == [Note]
        pixels.read(in_use(manifest)[:3])
        pixels.read(in_use(manifest)[:3])
        assert pixels.decoded == 6


def test_what_the_store_holds_already_is_not_decoded_on_the_fly(
    manifest: Manifest, cache: Cache, facts: Facts, picture: Callable[..., bytes]
) -> None:
    with StoredPixels(manifest, PREPROCESS, cache) as pixels:
        pixels.fill()
    (Path(manifest.root) / "bees/new.png").write_bytes(picture(99))
    more = scan(manifest.root, facts=facts).manifest
    with StoredPixels(more, PREPROCESS, Cache(cache.root, 1)) as pixels:
        pixels.fill()
        np.testing.assert_array_equal(pixels.read(in_use(more)), wanted(more, in_use(more)))
        assert (pixels.where, pixels.decoded) == ("on the fly", 1)


def fill_and_read(manifest: Manifest, cache: Cache) -> None:
    with StoredPixels(manifest, PREPROCESS, cache) as pixels:
        pixels.fill()
        pixels.read(in_use(manifest))


@pytest.mark.parametrize("limit", [100 << 20, 1])
def test_an_image_that_is_gone_is_an_error_with_its_name(manifest: Manifest, cache: Cache, limit: int) -> None:
    (Path(manifest.root) / "bees/3.png").unlink()
    with pytest.raises(DataError, match=r"bees/3\.png .* is not now: the file is missing") as caught:
        fill_and_read(manifest, Cache(cache.root, limit))
    assert "put it back" in caught.value.hint


def test_an_image_that_was_replaced_is_an_error_not_another_image(
    manifest: Manifest, cache: Cache, picture: Callable[..., bytes]
) -> None:
    (Path(manifest.root) / "bees/3.png").write_bytes(picture(77))
    with pytest.raises(DataError, match="its bytes have changed"):
        fill_and_read(manifest, cache)


def test_a_row_that_is_set_aside_has_no_pixels(filled: StoredPixels, manifest: Manifest) -> None:
    row = manifest.sources.index("ants/broken.png")
    with pytest.raises(AssertionError, match="set aside"):
        filled.read(np.array([row]))
    filled.close()


def test_progress_counts_the_images_that_are_decoded(manifest: Manifest, cache: Cache) -> None:
    events: list[Event] = []
    with StoredPixels(manifest, PREPROCESS, cache) as pixels:
        pixels.fill(events.append)
        assert (events[0], events[-1]) == (Progress("decode", 0, 10), Progress("decode", 10, 10))
        events.clear()
        pixels.fill(events.append)
        assert events == []


def test_small_images_keep_their_bytes(
    write_tree: Callable[..., Path], facts: Facts, cache: Cache, picture: Callable[..., bytes]
) -> None:
    root = write_tree(contents={"a/1.png": picture(0, 28, 28), "b/2.png": picture(1, 28, 28)})
    manifest = scan(root, facts=facts).manifest
    with StoredPixels(manifest, Preprocess(28, 28), cache) as pixels:
        pixels.fill()
        expected = [np.random.default_rng(seed).integers(0, 256, (28, 28, 3), dtype=np.uint8) for seed in (0, 1)]
        np.testing.assert_array_equal(pixels.read(np.array([0, 1])), expected)


PEAK = """
import sys
import numpy as np
from pathlib import Path
from sortal.data.facts import Facts
from sortal.data.pixels import StoredPixels
from sortal.data.scan import scan
from sortal.data.store import Cache
from sortal.preprocess import Preprocess
cache = Cache(Path(sys.argv[2]), 4_000_000)
with Facts(cache.facts) as facts:
    manifest = scan(sys.argv[1], facts=facts).manifest
with StoredPixels(manifest, Preprocess(224, 224), cache) as pixels:
    pixels.fill()
    for start in range(0, len(manifest), 8):
        pixels.read(np.arange(start, start + 8))
    print(pixels.where)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_peak_memory_does_not_grow_with_images_that_do_not_fit_the_store(
    write_tree: Callable[..., Path], tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    photo = picture(0, 3000, 2000, "JPEG")
    peaks, places = [], []
    for count in (8, 64):
        contents = {f"{'ab'[number % 2]}/{number}.jpg": photo + bytes([number]) for number in range(count)}
        root = write_tree(root=f"photos{count}", contents=contents)
        command = [sys.executable, "-c", PEAK, str(root), str(tmp_path / f"cache{count}")]
        where, peak = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
        places.append(where)
        peaks.append(int(peak))
    assert places == ["memory", "on the fly"]
    assert peaks[1] < peaks[0] * 1.15


def test_free_memory_is_a_number_of_bytes_of_this_machine() -> None:
    assert 1 << 20 < free_memory() < 1 << 50
