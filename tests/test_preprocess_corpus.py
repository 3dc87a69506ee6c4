"""Images that those who write decoders and formats keep for testing them: each is read, or refused with a reason.

They are Pillow's own tests (its licence, MIT-CMU): files that once broke a decoder, found by fuzzing and in the wild, and with
them the BMP Suite of Jason Summers with its good, questionable and bad files. They come with Pillow's source and are not kept
here. PngSuite's corrupt files come with no package that was found.
"""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from sortal.errors import UnreadableImage
from sortal.preprocess import Preprocess, stored_pixels

IMAGES = Path(os.environ.get("SORTAL_PILLOW_IMAGES", "/nowhere"))
SECONDS = 10.0
"""For one file; the machine may be busy."""
BAD = [
    "bmp/b/badbitcount.bmp", "bmp/b/badheadersize.bmp", "bmp/b/badpalettesize.bmp", "bmp/b/badwidth.bmp", "bmp/b/reallybig.bmp",
    "bmp/b/shortfile.bmp", "broken.png", "broken_data_stream.png", "truncated_image.png", "truncated_jpeg.jpg",
]  # fmt: skip
"""Files that hold no whole image."""
UNUSUAL = {"rgb32bf.bmp"}
"""Good files that Pillow does not read: their colours have places of their own."""

pytestmark = pytest.mark.skipif(
    not IMAGES.is_dir(),
    reason="needs the images of Pillow's tests: pip download --no-deps --no-binary :all: pillow, unpack it, and name its "
    "Tests/images in SORTAL_PILLOW_IMAGES",
)


def told(path: Path) -> str:
    """Why an image is refused; '' where it is read."""
    try:
        pixels = stored_pixels(path.read_bytes(), Preprocess(size=32, resize=32))
    except UnreadableImage as error:
        return str(error)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    return ""


def test_each_is_read_or_refused_and_none_takes_long() -> None:
    found = {}
    for path in sorted(each for each in IMAGES.rglob("*") if each.is_file()):
        began = time.monotonic()
        found[path] = told(path)
        assert time.monotonic() - began < SECONDS, path
    assert len(found) > 900
    assert sum(not reason for reason in found.values()) > len(found) / 2


@pytest.mark.parametrize("name", BAD)
def test_what_holds_no_whole_image_is_refused_with_a_reason(name: str) -> None:
    assert told(IMAGES / name)


def test_the_good_files_of_the_bmp_suite_are_read() -> None:
    assert {path.name for path in (IMAGES / "bmp" / "g").glob("*.bmp") if told(path)} == UNUSUAL
