"""Exports: every kind of every run that is named, whole commands; agreement, accuracy, speed and size beside the bundle.

Each is then opened without sortal, as a stranger would: by the program in its README, in the real TorchServe, in a browser.
It labels the files of the validation images, and what it says is compared with what `sortal predict` says. What cannot be
opened here is not run, and the reason stands in its place.

Speeds are those of the parity gate: export and bundle in turns on the same images, the best turn of each. They compare with
each other on one machine, not with another day's. The peer is the bundle's own float32 graph in ONNX Runtime.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, Result, ran, sortal
from benchmarks.strangers import NotRun, Runtimes, Said, opened, photographs, predicted

KINDS = (
    ("onnx", "float32"), ("onnx", "float16"), ("onnx", "int8"), ("openvino", "float32"), ("openvino", "bfloat16"),
    ("openvino", "int8"), ("torchscript", "float32"), ("torch-export", "float32"), ("safetensors", "float32"),
    ("torchserve", "float32"), ("web", "float32"), ("web", "int8"), ("litert", "float32"),
)  # fmt: skip
FASTER = 1.5
"""What int8 in ONNX Runtime is to be of float32 in ONNX Runtime, for the networks below."""
CLAIMED = ("tf_efficientnet_lite0", "resnet18")
MAX_LOSS = 0.5
DECODED_ELSEWHERE = ("web",)
"""Kinds whose pixels are not Pillow's: a browser decodes, the graph resamples; an image on the edge may fall either way."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs of `sortal train`, whose images are where they were")
    parser.add_argument("--runtime", type=Path, help="the package onnxruntime-web, where there is no network")
    parser.add_argument(
        "--litert", type=Path, help="the Python of an environment with sortal[litert]; without it LiteRT is not run"
    )
    parser.add_argument(
        "--bare", type=Path, help="the Python of an environment with torch, to open PyTorch's own two formats in"
    )
    parser.add_argument("--torchserve", type=Path, help="the program of an environment with torchserve, onnxruntime and pillow")
    parser.add_argument("--images", type=int, default=500, help="at most so many files are labelled by what was opened")
    parser.add_argument("--only", nargs="*", default=[], metavar="KIND", help="these kinds alone")


def run(options: argparse.Namespace) -> list[Result]:
    return [_exports(path, options) for path in options.runs]


def _exports(path: Path, options: argparse.Namespace) -> Result:
    network = json.loads((path / "bundle" / "bundle.json").read_text())["recipe"]["model"]
    rows: dict[str, dict[str, Any]] = {}
    runs, refused, notes = list[dict[str, Any]](), list[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="exports-") as folder:
        place = Path(folder)
        (place / "photographs").mkdir()
        images = photographs(path, place / "photographs", options.images)
        expected = predicted(sortal("predict", path, "--json"), images)
        for kind, precision in KINDS:
            name = f"{kind} {precision}"
            if options.only and kind not in options.only:
                continue
            if kind == "litert" and options.litert is None:
                notes.append(f"{name} not run: --litert names no environment that writes it")
                continue
            done = ran(_command(path, kind, precision, place, options), codes=(0, 1, 2))
            runs.append(done.facts())
            answer = done.answer()
            if "parity" not in answer:
                # A gate that refuses exits with 1; what is not here, with 2.
                refused += [name] * (done.code == 1)
                notes.append(f"{name} {'refused' if done.code == 1 else 'not run'}: {answer['error']}")
                continue
            rows[name] = _row(answer["parity"])
            rows[name]["opened"] = _opened(kind, place / f"{kind}-{precision}", images, expected, options)
            notes += [f"{name}, opened: {what} {why}" for what, why in rows[name]["opened"].items() if what in UNOPENED]
    return Result(
        name=f"exports/{path.resolve().name}",
        unit="images/s of the fastest kind",
        ours=max((row["images_per_second"] for row in rows.values()), default=0.0),
        peer=next((row["images_per_second_source"] for row in rows.values()), None),
        accuracy=_accuracies(rows),
        numbers={"network": network, "fastest": _fastest(rows), "kinds": rows},
        runs=runs,
        claims=list(_claims(rows, refused, network)),
        notes=["the gate's own speeds, export and bundle in turns, best turn of each", *notes],
    )


UNOPENED = ("not run", "failed")


def _opened(
    kind: str, folder: Path, images: Sequence[Path], expected: Mapping[str, Said], options: argparse.Namespace
) -> dict[str, Any]:
    """What a stranger finds beside the bundle, or why nobody looked."""
    try:
        found = opened(kind, folder, images, Runtimes(options.bare, options.litert, options.torchserve))
    except NotRun as error:
        return {"not run": str(error)}
    except RuntimeError as error:  # one that fails is told among the others, which took their time
        return {"failed": str(error)}
    return {"by": found.by, **agreement(found.said, expected)}


def agreement(said: Mapping[str, Said], expected: Mapping[str, Said]) -> dict[str, int]:
    """Files that the bundle reads, how many of them were not read elsewhere, and how many got another label there."""
    unread = [name for name in expected if name not in said]
    flips = [name for name in expected if name in said and said[name] != expected[name]]
    return {"images": len(expected), "unread": len(unread), "flips": len(flips)}


def _command(path: Path, kind: str, precision: str, folder: Path, options: argparse.Namespace) -> list[str | Path]:
    words: list[str | Path] = [*sortal("export", path, "--to", kind, "--precision", precision)]
    words += ["--out", folder / f"{kind}-{precision}", "--max-loss", str(MAX_LOSS), "--json"]
    if kind == "web" and options.runtime:
        words += ["--runtime", options.runtime]
    return [options.litert, "-m", "sortal.cli.main", *words[1:]] if kind == "litert" else words


def _row(parity: dict[str, Any]) -> dict[str, Any]:
    kept = (
        "accuracy",
        "accuracy_source",
        "flips",
        "images",
        "images_per_second",
        "images_per_second_source",
        "bytes",
        "bytes_source",
    )
    change = parity["accuracy_change"]
    return {
        "max_difference": float(f"{parity['max_difference']:.2g}"),
        **{key: parity[key] for key in kept},
        "interval": None if change is None else [round(each, 4) for each in change["interval"]],
        "ratio": round(parity["images_per_second"] / parity["images_per_second_source"], 2),
    }


def _accuracies(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The worst of all kinds beside the bundle's."""
    known = [row for row in rows.values() if row["accuracy"] is not None]
    if not known:
        return {}
    return {"ours": min(row["accuracy"] for row in known), "peer": known[0]["accuracy_source"]}


def _fastest(rows: dict[str, dict[str, Any]]) -> str:
    """The kind that gains most over the bundle; a ratio of turns, so that a machine that was busier for one does not decide."""
    return max(rows, key=lambda name: float(rows[name]["ratio"]), default="")


def _claims(rows: dict[str, dict[str, Any]], refused: list[str], network: str) -> list[Claim]:
    exact = {name: row for name, row in rows.items() if name.endswith("float32")}
    flips = sum(row["flips"] for row in exact.values())
    claims = [
        Claim("every export that could be written passed its gate", bool(rows) and not refused),
        Claim(f"{len(exact)} kinds in float32 say the same labels on all images", bool(exact) and flips == 0),
    ]
    tried = {name: row["opened"] for name, row in rows.items() if "not run" not in row["opened"]}
    if tried:
        claims.append(
            Claim(f"{len(tried)} exports opened without sortal", not any("failed" in found for found in tried.values()))
        )
    same = [tried[name] for name in exact if "flips" in tried.get(name, {}) and name.split()[0] not in DECODED_ELSEWHERE]
    if same:
        text = f"without sortal, {len(same)} kinds in float32 say the bundle's labels of {same[0]['images']} files"
        claims.append(Claim(text, not any(found["flips"] or found["unread"] for found in same)))
    int8 = rows.get("onnx int8")
    if network in CLAIMED and int8 is not None:
        lost = 100 * (int8["accuracy_source"] - int8["accuracy"])
        claims.append(Claim(f"onnx int8 loses at most {MAX_LOSS} points (it lost {lost:.2f})", lost <= MAX_LOSS))
        text = f"onnx int8 is at least {FASTER} times as fast as float32 (it was {int8['ratio']})"
        claims.append(Claim(text, int8["ratio"] >= FASTER))
    return claims
