"""Graphs of frozen networks kept in the cache, so that features can be computed where no training framework is installed."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sortal.data.store import Cache
from sortal.files import write_bytes, write_text


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX graph and what is known about it, as plain JSON values."""

    onnx: bytes
    about: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Of the graph: what features depend on besides the pixels and the runtime."""
        return hashlib.sha256(self.onnx).hexdigest()


def kept(cache: Cache, key: str, make: Callable[[], Graph]) -> Graph:
    """The graph called `key`, from the cache if it is there and whole, else made now and kept."""
    folder = cache.stores / "graphs" / hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        graph = Graph((folder / "graph.onnx").read_bytes(), about["about"])
        if about["key"] == key and about["sha256"] == graph.sha256:
            os.utime(folder / "store.json")  # the time of last use
            return graph
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or damaged: it is made again
    graph = make()
    if cache.make_room(len(graph.onnx)):
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "graph.onnx", graph.onnx)
        text = json.dumps({"kind": "graphs", "key": key, "sha256": graph.sha256, "about": dict(graph.about)})
        write_text(folder / "store.json", text)
    return graph
