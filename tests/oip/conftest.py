"""The server that is asked: any, by its address, or ours, started on a small model."""

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

DATATYPES = {
    "BOOL": np.dtype("?"), "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"), "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"), "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """The server, the model, and requests that its metadata says are right."""

    client: httpx.Client
    model: str
    version: str
    metadata: dict[str, Any]
    element: bytes

    @property
    def base(self) -> str:
        return f"/v2/models/{self.model}"

    def shape(self, about: dict[str, Any], batch: int = 1) -> list[int]:
        """An input's shape, with numbers where the metadata leaves sizes free."""
        free = [at for at, size in enumerate(about["shape"]) if size < 0]
        return [(batch if free and at == free[0] else 1) if size < 0 else size for at, size in enumerate(about["shape"])]

    def values(self, about: dict[str, Any], batch: int = 1) -> list[Any]:
        """Elements in row-major order."""
        count = int(np.prod(self.shape(about, batch)))
        if about["datatype"] == "BYTES":
            text = self.element.decode() if os.environ.get("OIP_BASE64") == "0" else base64.b64encode(self.element).decode()
            return [text] * count
        return [False] * count if about["datatype"] == "BOOL" else [0] * count

    def request(self, batch: int = 1, **more: Any) -> dict[str, Any]:
        """A request whose tensors are JSON."""
        inputs = [
            {
                "name": each["name"],
                "datatype": each["datatype"],
                "shape": self.shape(each, batch),
                "data": self.values(each, batch),
            }
            for each in self.metadata["inputs"]
        ]
        return {"inputs": inputs, **more}

    def binary(self, batch: int = 1) -> tuple[list[dict[str, Any]], bytes]:
        """Inputs whose tensors are bytes, and the bytes."""
        inputs, tail = [], b""
        for each in self.metadata["inputs"]:
            shape = self.shape(each, batch)
            count = int(np.prod(shape))
            if each["datatype"] == "BYTES":
                raw = (len(self.element).to_bytes(4, "little") + self.element) * count
            else:
                raw = np.zeros(count, DATATYPES[each["datatype"]]).tobytes()
            tail += raw
            inputs.append(
                {
                    "name": each["name"],
                    "datatype": each["datatype"],
                    "shape": shape,
                    "parameters": {"binary_data_size": len(raw)},
                }
            )
        return inputs, tail

    def infer(self, body: Any, path: str = "") -> httpx.Response:
        return self.client.post(f"{path or self.base}/infer", json=body)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if os.environ.get("OIP_URL"):
        yield os.environ["OIP_URL"]
        return
    pytest.importorskip("starlette", reason='needs a server: set OIP_URL, or pip install "sortal[serve]"')
    pytest.importorskip("onnx", reason="our small model's graph is made with onnx")
    from tests.serving.served import colour_bundle, served

    path = colour_bundle(tmp_path_factory.mktemp("oip") / "colours" / "bundle").path
    with served(path, f"colours@2={path}", "--runtime", "onnxruntime") as running:
        yield running.address


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx.Client]:
    token = os.environ.get("OIP_TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=address, timeout=60, headers=headers) as found:
        yield found


@pytest.fixture(scope="session")
def asked(client: httpx.Client) -> Asked:
    model = os.environ.get("OIP_MODEL") or next(iter(client.get("/v2").json().get("models", [])), None)
    assert model, "name the model to ask: OIP_MODEL"
    answer = client.get(f"/v2/models/{model}")
    assert answer.status_code == 200, answer.text
    metadata = answer.json()
    version = os.environ.get("OIP_VERSION") or next(iter(metadata.get("versions", [])), "")
    return Asked(client, model, version, metadata, _element())


def _element() -> bytes:
    if os.environ.get("OIP_IMAGE"):
        return Path(os.environ["OIP_IMAGE"]).read_bytes()
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "PNG")
    return buffer.getvalue()
