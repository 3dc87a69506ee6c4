"""`python -m benchmarks NAME`: run one benchmark, print what came out, and with --log keep it under benchmarks/results/."""

import argparse
import json
import sys
from importlib import import_module
from typing import Any

from benchmarks.harness import log, record, say
from benchmarks.suite import main as suite
from benchmarks.suite import row, table

BENCHMARKS = {
    "transfer": "a folder of photographs: ours, the seeds' way, fastai, Keras, ultralytics; whole commands, accuracy, epochs",
    "crossval": "repeated cross-validation of the planned recipe against a plain linear head, paired",
    "fashion": "Fashion-MNIST: ours and the seeds' SimpleCNN, time to a test accuracy of 0.92",
    "ladder": "the seeds' networks on the data sets they name: accuracy, epochs, minutes; up to an hour each",
    "imbalance": "a Fashion-MNIST whose classes are ten to one: the planned recipe against plain training, paired macro F1",
    "cifar10-080": "CIFAR-10: ours and the seeds' CIFAR10CNN, time to a test accuracy of 0.80",
    "peer-rates": "a working rate for the seeds' CIFAR10CNN, chosen on held-out training images",
    "cifar10-090": "CIFAR-10: ours and airbench94 on this processor, time to a test accuracy of 0.90",
    "gpu-cifar10": "CIFAR-10 on an accelerator: ours and airbench94_muon, and the epochs of a ResNet-18",
    "train-step": "CIFAR10CNN in training: images a second, ours and the seeds' loop",
    "peak-share": "a residual network in training: share of the measured bf16 matrix peak",
    "exports": "every kind of export of the runs that are named: agreement, accuracy, speed and size beside the bundle",
    "finetune-step": "EfficientNet-Lite0 trained whole at 224 pixels: images a second, ours and timm's float32 loop",
    "features": "frozen features from JPEG files: images a second, ours and eager torch behind torchvision's loader",
    "photos-epoch": "epochs over photographs of 12 megapixels: ours and ImageFolder behind a DataLoader",
    "augment": "augmentation of 32 pixels: whole batches of ours and torchvision's v2 image by image",
    "predict-folder": "a folder of photographs predicted: ours, a plain torch loop, ultralytics; whole commands",
    "kills": "SIGKILL at random moments, then resume: are the weights the same bytes?",
    "startup": "how long `sortal --help` and `sortal predict` take from a cold start, with torch not importable",
    "serving": "sortal serve beside LitServe and FastAPI: load, overload, memory, SIGTERM",
    "report-page": "the page of 10,000 test images in Chromium: megabytes, and seconds until it can be used",
    "check": "`sortal check` on 60,000 small files, time and memory, beside cleanvision and imagededup",
    "planted": "near copies, wrong labels, broken files and a border planted into two sets: what `sortal check` finds of them",
    "calibration": "what validation chose: log loss and calibration error on test images before and after, of real networks",
    "memory": "peak memory of scan and train on few and on many large photographs",
}
MODULES = {"check": "check_files", "report-page": "report_page"}
"""Where a benchmark has another name than its module."""


def module_of(name: str) -> str:
    """Where a benchmark stands: 'train-step' in benchmarks/train_step.py."""
    return f"benchmarks.{MODULES.get(name, name.replace('-', '_'))}"


def main(words: list[str]) -> int:
    """Run the benchmark that `words` name, or the suite of them; 0, or 1 where a claim did not hold."""
    if words[:1] == ["suite"]:
        return suite(words[1:])
    about = "\n".join(f"  {name:14} {text}" for name, text in BENCHMARKS.items())
    about += f"\n  {'suite':14} all that measure speed, as a table of ratios"
    first = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=f"benchmarks:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    first.add_argument("name", choices=BENCHMARKS, metavar="NAME")
    name = first.parse_args(words[:1] or ["--help"]).name

    module = import_module(module_of(name))
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=module.__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--log", action="store_true", help="write the result to benchmarks/results/, under today's date")
    module.arguments(parser)
    entry = record(name, module.run(parser.parse_args(words[1:])), words)

    print(json.dumps(entry, indent=2, ensure_ascii=False)) if "--json" in words else show(entry)
    if "--log" in words:
        say(f"written to {log(entry)}")
    return 0 if all(claim["holds"] for result in entry["results"] for claim in result["claims"]) else 1


def show(entry: dict[str, Any]) -> None:
    """The results for a person: one table, and what is behind each of its rows."""
    print(table(row(result) for result in entry["results"]))
    for result in entry["results"]:
        print(f"\n{result['name']}")
        for key, value in result["numbers"].items():
            print(f"  {key}: {value}")
        for note in result["notes"]:
            print(f"  ({note})")
        for claim in result["claims"]:
            print(f"  {'holds' if claim['holds'] else 'DOES NOT HOLD'}: {claim['text']}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
