"""TorchServe: an archive (.mar, which is a zip) of graph, preprocessing and a handler that needs ONNX Runtime alone."""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sortal
from sortal.exports import describe
from sortal.exports.graphs import described
from sortal.exports.kind import FLOAT32, INT8, Answers, AnySize, Order
from sortal.exports.onnx import model_of
from sortal.exports.tensors import imported

ARCHIVE, NAME = "classifier.mar", "classifier"
HANDLER, MODEL = "handler.py", "model.onnx"
REQUIREMENTS = "requirements.txt"
NEEDED = "numpy\nonnxruntime\npillow\n"
# The same bytes for the same model, whenever it is written.
AT_ONCE = 32
STAMP = (1980, 1, 1, 0, 0, 0)


class TorchServe:
    """`classifier.mar` takes the bytes of image files, as `curl -T` sends them, and answers with JSON."""

    precisions = (FLOAT32, INT8)
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
            with zipfile.ZipFile(folder / ARCHIVE) as archive:
                for name in (HANDLER, *describe.modules(), MODEL):
                    (Path(place) / name).write_bytes(archive.read(name))
            handler = imported(Path(place) / HANDLER, beside=True).Classifier()
            handler.initialize(SimpleNamespace(system_properties={"model_dir": place}))

            def answers(images_NRRC: NDArray[np.uint8]) -> NDArray[np.float32]:
                starts = range(0, len(images_NRRC), AT_ONCE)
                batches = ([_png(image) for image in images_NRRC[start : start + AT_ONCE]] for start in starts)
                return np.concatenate([handler.probabilities(batch) for batch in batches])

            yield answers

    def open_any_size(self, folder: Path) -> AnySize | None:
        return None


BEFORE = (
    "TorchServe needs Java and, for itself, PyTorch: `apt install default-jre-headless`, `pip install torchserve torch`; the\n"
    "handler needs `onnxruntime`, `numpy` and `pillow`, as `requirements.txt` in the archive says."
)


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
