"""Fuzz the check of a bundle: what was changed in it passes or is a `BundleError`, and nothing else happens."""

import copy
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sortal.bundle", "sortal.decision", "sortal.engines.inspection", "sortal.preprocess"]):
    from sortal import bundle
    from sortal.bundle import Bundle
    from sortal.engines.inspection import inspect
    from sortal.errors import BundleError

from tests.serving.served import about, graph

FOLDER = Path(tempfile.mkdtemp())
GOOD = bundle.write(FOLDER / "bundle", graph=graph(), weights=b"w", about=about())
ABOUT = (GOOD.path / "bundle.json").read_bytes()


def one(data: bytes) -> None:
    """One input: its first byte says whether the rest is a `bundle.json`, changes to it, or a graph."""
    if not data:
        return
    kind, rest = data[0] % 3, data[1:]
    try:
        if kind == 0:
            load(rest)
        elif kind == 1:
            load(changed(rest))
        else:
            inspect(rest, GOOD.graph, GOOD.preprocess)
    except BundleError as error:
        if not error.hint:
            raise RuntimeError("an error without a hint") from error


def load(text: bytes) -> Bundle:
    (GOOD.path / "bundle.json").write_bytes(text)
    return Bundle.load(GOOD.path)


def changed(data: bytes) -> bytes:
    """A `bundle.json` in which values were put in the place of others."""
    chosen = atheris.FuzzedDataProvider(data)
    values = json.loads(ABOUT)
    odd = [
        None,
        True,
        -1,
        0,
        1e308,
        float("nan"),
        float("inf"),
        10**40,
        "",
        "x",
        [],
        {},
        [[]],
        [0.5],
        {"bytes": 1},
        ["a", "b", "c"],
    ]
    for _ in range(chosen.ConsumeIntInRange(1, 4)):
        place = values
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = chosen.PickValueInList(keys)
            if isinstance(place[key], dict | list) and place[key] and chosen.ConsumeBool():
                place = place[key]
                continue
            place[key] = copy.deepcopy(chosen.PickValueInList(odd))
            break
        extra = chosen.ConsumeIntInRange(0, 9)
        if extra < 3:
            values[("decision", "novelty", "thresholds")[extra]] = copy.deepcopy(chosen.PickValueInList(odd))
    return json.dumps(values).encode()


def examples(folder: Path) -> None:
    """The good ones, and what the test of hostile bundles knows."""
    from tests.faults import test_hostile_bundles as hostile

    (folder / "about").write_bytes(b"\0" + ABOUT)
    (folder / "graph").write_bytes(b"\2" + graph())
    for number, made in enumerate(
        (hostile.external("x"), hostile.operator("Evil", domain="e"), hostile.inner("Loop"), hostile.counted())
    ):
        (folder / f"hostile-{number}").write_bytes(b"\2" + made)
    for number in range(20):
        (folder / f"changed-{number}").write_bytes(b"\1" + hashlib.sha256(bytes([number])).digest())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as corpus:
        examples(Path(corpus))
        atheris.Setup([*sys.argv, corpus, "-timeout=60", "-rss_limit_mb=2048", "-max_len=20000"], one)
        atheris.Fuzz()
