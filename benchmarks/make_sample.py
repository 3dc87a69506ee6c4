"""Make the embedded sample from the full Fashion-MNIST: python benchmarks/make_sample.py [FOLDER WITH THE FOUR IDX FILES] [TO]

Of each class those images are taken whose SHA-256 is smallest: a choice that looks random, needs no seed, and does not depend
on the order of the files. Takes about five seconds; the same input makes the same bytes with the same version of pyarrow.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sortal.data import picture_table, png
from sortal.data.embedded import TEST_EACH, TRAIN_EACH
from sortal.data.mnist import SETS, read
from sortal.data.standard import INSTALLED

LARGEST = 3_000_000  # bytes that the package may grow by
EACH = {"train": TRAIN_EACH, "test": TEST_EACH}

LICENCE = """The MIT License (MIT) Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify,
merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR
IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""

ABOUT = {
    "title": "A stratified part of Fashion-MNIST: 5,000 training and 500 test images",
    "source": "https://github.com/zalandoresearch/fashion-mnist",
    "citation": "Xiao, Rasul, Vollgraf (2017), Fashion-MNIST: a novel image dataset, arXiv:1708.07747",
    "licence": LICENCE,
}


def chosen(images_NHW: NDArray[np.uint8], labels_N: NDArray[np.uint8], each: int) -> NDArray[np.int64]:
    """Rows of `each` images of every class, in order of their digests, so that the classes come mixed."""
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images_NHW]
    taken: dict[int, list[int]] = {int(label): [] for label in np.unique(labels_N)}
    for row in sorted(range(len(digests)), key=lambda row: digests[row]):
        of_class = taken[int(labels_N[row])]
        if len(of_class) < each:
            of_class.append(row)
    return np.array(sorted((row for rows in taken.values() for row in rows), key=lambda row: digests[row]), dtype=np.int64)


def groups(source: Path) -> Iterator[picture_table.Rows]:
    """Each split's rows in groups of a thousand."""
    classes = SETS["fashion-mnist"].classes
    for split, images_NHW, labels_N in read("fashion-mnist", source):
        rows_N = chosen(images_NHW, labels_N, EACH[split])
        for start in range(0, len(rows_N), picture_table.ROW_GROUP):
            rows = rows_N[start : start + picture_table.ROW_GROUP]
            yield png.encode(images_NHW[rows]), [classes[label] for label in labels_N[rows]], [split] * len(rows)


def main(source: Path, to: Path) -> None:
    """Write the sample and say how large it is."""
    to.unlink(missing_ok=True)
    picture_table.write(to, groups(source), about=ABOUT, level=19)
    size = to.stat().st_size
    print(f"{to}: {size:,} bytes, SHA-256 {hashlib.sha256(to.read_bytes()).hexdigest()}")
    if size > LARGEST:
        raise SystemExit(f"error: larger than {LARGEST:,} bytes")


if __name__ == "__main__":
    package = Path(__file__).resolve().parent.parent / "src" / "sortal" / "data" / "fashion_mnist.parquet"
    source, to, *_ = [*map(Path, sys.argv[1:]), *(INSTALLED["fashion-mnist"], package)[len(sys.argv) - 1 :]]
    main(source, to)
