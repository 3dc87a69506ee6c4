"""Fuzz the one decoder: bytes become pixels or an `UnreadableImage`, and nothing else happens."""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "sortal.preprocess"]):
    import numpy as np
    from PIL import Image

    from sortal.errors import UnreadableImage
    from sortal.preprocess import FORMATS, Preprocess, stored_pixels

PREPROCESS = Preprocess(size=24, resize=32, max_pixels=1_000_000)


def one(data: bytes) -> None:
    """One input."""
    try:
        pixels_RRC = stored_pixels(data, PREPROCESS)
    except UnreadableImage as error:
        if not str(error):
            raise RuntimeError("an error without a reason") from error
        return
    assert (pixels_RRC.shape, pixels_RRC.dtype) == ((32, 32, 3), np.uint8)


def examples(folder: Path) -> None:
    """A small image of every format and mode."""
    for name in FORMATS:
        for mode in ("RGB", "L", "P", "RGBA", "1", "I;16", "CMYK", "F"):
            buffer = BytesIO()
            try:
                Image.new(mode, (9, 7)).save(buffer, name)
            except (OSError, ValueError, KeyError):
                continue
            (folder / f"{name}-{mode.replace(';', '')}").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as corpus:
        examples(Path(corpus))
        atheris.Setup([*sys.argv, corpus, "-timeout=10", "-rss_limit_mb=2048", "-max_len=20000"], one)
        atheris.Fuzz()
