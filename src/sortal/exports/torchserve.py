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


BEFORE = (
    "TorchServe needs Java (`apt install default-jre-headless`), PyTorch, PyYAML, and setuptools before 81; the handler needs "
    "ONNX Runtime, NumPy and Pillow. The second command goes on running in this folder; ask from another terminal. "
    "`--disable-token-auth` lets whoever reaches the port ask."
)


def _interface(about: Mapping[str, Any]) -> list[str]:
    several = about["task"] == "multi-label"
    said = (
        "`labels`, the most probable first" if several else
        "`label` (null where nothing is said), its `probability` (or that of the likeliest)"
    )  # fmt: skip
    return [
        "The bytes of an image file go in, as the body of a request, or as `data` or `image` of a form. JSON comes out: "
        f"{said}, and `top`, the five likeliest, each with `label` and `probability`. What is no image is answered with status "
        "400 and `error`.",
        f"{describe.cropped(about)}; the handler does that, and decodes.",
    ]


class TorchServe:
    """`classifier.mar` takes the bytes of image files, as `curl -T` sends them, and answers with JSON."""

    precisions = (FLOAT32, INT8)
    holds_code = False
    usage = describe.Usage(
        examples=("torchserve.console",),
        before=BEFORE,
        interface=_interface,
        decided_by="the handler keeps to it",
        proved="Its handler was run by ONNX Runtime, without TorchServe around it,",
        ours="The handler, `preprocess.py` and `decision.py` in the archive",
    )

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
        return {"model": [ARCHIVE], **decided}

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
