"""TorchServe: an archive (.mar, which is a zip) of graph, preprocessing and a handler that needs ONNX Runtime alone."""

import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sortal
from sortal.engines.inspection import inspect
from sortal.errors import BundleError
from sortal.exports import describe
from sortal.exports.code import REFUSED, imported, require_ours
from sortal.exports.graphs import described
from sortal.exports.kind import FLOAT32, INT8, Answers, AnySize, Order, Told
from sortal.exports.onnx import model_of
from sortal.preprocess import Preprocess

ARCHIVE, NAME = "classifier.mar", "classifier"
HANDLER, MODEL = "handler.py", "model.onnx"
REQUIREMENTS = "requirements.txt"
NEEDED = "numpy\nonnxruntime\npillow\n"
# The same bytes for the same model, whenever it is written.
AT_ONCE = 32
STAMP = (1980, 1, 1, 0, 0, 0)
LARGEST = 1 << 31
"""Bytes of a member; no graph is larger, since it is one protocol buffer."""


class TorchServe:
    """`classifier.mar` takes the bytes of image files, as `curl -T` sends them, and answers with JSON."""

    precisions = (FLOAT32, INT8)
    holds_code = False
    example = "torchserve.console"

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        model, decided = model_of(order)
        members: dict[str, str | bytes] = {
            "MAR-INF/MANIFEST.json": json.dumps(_manifest(order.about), indent=2),
            HANDLER: describe.example("handler.py"),
            **describe.modules(),
            REQUIREMENTS: NEEDED,
            MODEL: described(model, order.about),
        }
        with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name, STAMP), data, zipfile.ZIP_DEFLATED)
        return {"model": [ARCHIVE], "before": [BEFORE, ""], **decided}

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        """As TorchServe does it: unpacked, the handler imported and initialised; images reach it as the bytes of PNG files.

        A square of R pixels is not resampled by the preprocessing inside, so what is compared is decoding and all that follows.
        """
        with tempfile.TemporaryDirectory() as place:
            _unpack(folder / ARCHIVE, Path(place))
            for name, text in {HANDLER: describe.example(HANDLER), **describe.modules()}.items():
                require_ours(Path(place) / name, text)
            inspect((Path(place) / MODEL).read_bytes(), folder / ARCHIVE / MODEL, Preprocess.from_dict(about["preprocess"]))
            handler = imported(Path(place) / HANDLER, beside=True).Classifier()
            handler.initialize(SimpleNamespace(system_properties={"model_dir": place}))

            def answers(images_NRRC: NDArray[np.uint8]) -> Told:
                starts = range(0, len(images_NRRC), AT_ONCE)
                batches = ([handler.pixels(_png(image)) for image in images_NRRC[start : start + AT_ONCE]] for start in starts)
                return Told.joined(Told.named(handler.run(batch)) for batch in batches)

            yield answers

    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> AbstractContextManager[AnySize] | None:
        return None


BEFORE = (
    "TorchServe needs Java and, for itself, PyTorch: `apt install default-jre-headless`, `pip install torchserve torch`; the\n"
    "handler needs `onnxruntime`, `numpy` and `pillow`, as `requirements.txt` in the archive says."
)


def _unpack(path: Path, place: Path) -> None:
    """What the handler needs of an archive; raises `BundleError` for one that is none, or holds something huge."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in (HANDLER, *describe.modules(), MODEL):
                if archive.getinfo(name).file_size > LARGEST:
                    raise ValueError(f"{name} is larger than any of ours")
                (place / name).write_bytes(archive.read(name))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{path} is no archive of ours: {error}", hint=REFUSED) from error


def _manifest(about: Mapping[str, Any]) -> dict[str, Any]:
    """As torch-model-archiver 0.12 writes it, whose whole work besides is to zip the files."""
    return {
        "createdOn": about["trained"],
        "runtime": "python",
        "model": {
            "modelName": NAME,
            "serializedFile": MODEL,
            "handler": HANDLER,
            "modelVersion": "1.0",
            "requirementsFile": REQUIREMENTS,
        },
        "archiverVersion": f"sortal {sortal.__version__}",
    }


def _png(image_RRC: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_RRC[:, :, 0] if image_RRC.shape[2] == 1 else image_RRC).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


TORCHSERVE = TorchServe()
