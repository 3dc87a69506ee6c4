"""Exports: every kind of every run that is named, whole commands; agreement, accuracy, speed and size beside the bundle.

Speeds are those of the parity gate: export and bundle in turns on the same images, the best turn of each. They compare with
each other on one machine, not with another day's. The peer is the bundle's own float32 graph in ONNX Runtime.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, Result, ran, sortal

KINDS = (
    ("onnx", "float32"), ("onnx", "float16"), ("onnx", "int8"), ("openvino", "float32"), ("openvino", "bfloat16"),
    ("openvino", "int8"), ("torchscript", "float32"), ("torch-export", "float32"), ("safetensors", "float32"),
    ("torchserve", "float32"), ("web", "float32"), ("web", "int8"), ("litert", "float32"),
)  # fmt: skip
FASTER = 1.5
"""What int8 in ONNX Runtime is to be of float32 in ONNX Runtime, for the networks below."""
CLAIMED = ("tf_efficientnet_lite0", "resnet18")
MAX_LOSS = 0.5


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs of `sortal train`, whose images are where they were")
    parser.add_argument("--runtime", type=Path, help="the package onnxruntime-web, where there is no network")
    parser.add_argument(
        "--litert", type=Path, help="the Python of an environment with sortal[litert]; without it LiteRT is left out"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="KIND", help="these kinds alone")


def run(options: argparse.Namespace) -> list[Result]:
    return [_exports(path, options) for path in options.runs]


def _exports(path: Path, options: argparse.Namespace) -> Result:
    network = json.loads((path / "bundle" / "bundle.json").read_text())["recipe"]["model"]
    rows, runs, notes = {}, [], []
    with tempfile.TemporaryDirectory(prefix="exports-") as folder:
        for kind, precision in KINDS:
            if (options.only and kind not in options.only) or (kind == "litert" and options.litert is None):
                continue
            done = ran(_command(path, kind, precision, Path(folder), options), codes=(0, 1, 2))
            runs.append(done.facts())
            answer = done.answer()
            if "parity" in answer:
                rows[f"{kind} {precision}"] = _row(answer["parity"])
            else:
                notes.append(f"{kind} {precision}: {answer['error']}")
    return Result(
        name=f"exports/{path.resolve().name}",
        unit="images/s of the fastest kind",
        ours=max((row["images_per_second"] for row in rows.values()), default=0.0),
        peer=next((row["images_per_second_source"] for row in rows.values()), None),
        accuracy=_accuracies(rows),
        numbers={"network": network, "fastest": _fastest(rows), "kinds": rows},
        runs=runs,
        claims=list(_claims(rows, notes, network)),
        notes=["the gate's own speeds, export and bundle in turns, best turn of each", *notes],
    )


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


def _claims(rows: dict[str, dict[str, Any]], notes: list[str], network: str) -> list[Claim]:
    exact = {name: row for name, row in rows.items() if name.endswith("float32")}
    flips = sum(row["flips"] for row in exact.values())
    claims = [
        Claim("every export that was asked for passed its gate", not notes),
        Claim(f"{len(exact)} kinds in float32 say the same labels on all images", bool(exact) and flips == 0),
    ]
    int8 = rows.get("onnx int8")
    if network in CLAIMED and int8 is not None:
        lost = 100 * (int8["accuracy_source"] - int8["accuracy"])
        claims.append(Claim(f"onnx int8 loses at most {MAX_LOSS} points (it lost {lost:.2f})", lost <= MAX_LOSS))
        text = f"onnx int8 is at least {FASTER} times as fast as float32 (it was {int8['ratio']})"
        claims.append(Claim(text, int8["ratio"] >= FASTER))
    return claims
