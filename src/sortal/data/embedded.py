"""The embedded sample: 5,500 small pictures of clothes that come with the package, so that everything can be tried at once.

A stratified part of Fashion-MNIST, 500 training and 50 test images of each of ten classes; `benchmarks/make_sample.py` makes
it. Fashion-MNIST is Copyright 2017 Zalando SE, under the MIT licence, which the file carries in its metadata.
"""

from pathlib import Path

from sortal.errors import DataError

TRAIN_EACH, TEST_EACH = 500, 50
"""Images of each class."""


def sample_path() -> Path:
    """The Parquet file of the sample, as `sortal check` and `sortal train` take it; raises `DataError` if it is missing."""
    path = Path(__file__).with_name("fashion_mnist.parquet")
    if not path.is_file():
        raise DataError(
            f"the embedded sample {path} is missing", hint="install sortal again: pip install --force-reinstall sortal"
        )
    return path
