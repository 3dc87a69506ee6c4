"""`sortal check` on CIFAR-10's 60,000 files, time and memory; beside it cleanvision and imagededup on the same files.

Near copies and broken files are planted first, so that it is also told what each finds. Whole commands, one after the other.
The peers have an interpreter of their own (`--peer-python`), since neither is a dependency of ours; without one only ours is
run."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, CommandFailed, Ran, Result, ran, say, sortal
from benchmarks.photographs import warm
from benchmarks.planted import copied, copies_found, groups_of, images_of, split_folder
from benchmarks.planting import KINDS, Planted, plant_faults

SECONDS, MEGABYTES = 360.0, 2_000
PEERS = ("cleanvision", "imagededup")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as a folder, or zip of one, with train/ and test/")
    parser.add_argument("--each", type=int, default=0, help="so many images of each class; 0: all")
    parser.add_argument("--copies", type=int, default=40, help="near copies of each of the five kinds")
    parser.add_argument("--broken", type=int, default=50, help="broken files")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has cleanvision and imagededup")


def run(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="check-") as name:
        work = Path(name)
        data = copied(split_folder(options.data, work / "unpacked"), work / "images", each=options.each, seed=options.seed)
        faults = plant_faults(data, copies=options.copies, wrong=0.0, broken=options.broken, seed=options.seed)
        (work / "planted.json").write_text(json.dumps(asdict(faults)))
        say(f"{warm(data) / 1e6:.0f} MB of images")
        cache = {"SORTAL_CACHE": str(work / "cache")}
        # Exit code 1 says that something severe was found, which was planted.
        cold, again = (ran(sortal("check", data, "--json"), environment=cache, codes=(0, 1)) for _ in range(2))
        peers = {peer: _peer(options.peer_python, peer, data, work) for peer in PEERS if options.peer_python}
        failed = [peer for peer, done in peers.items() if isinstance(done, str)]
        for path in faults.broken if failed else ():
            (data / path).unlink()
        # Who stumbles over a broken file gets another chance without any.
        peers |= {f"{peer} without broken files": _peer(options.peer_python, peer, data, work) for peer in failed}
    return [compared(faults, cold, again, peers)]


def _peer(python: Path, peer: str, data: Path, work: Path) -> Ran | str:
    """What a peer did, or how it failed: broken files are among the images."""
    words = [python, "-m", "benchmarks.peers.finders", "--peer", peer, "--data", data, "--planted", work / "planted.json"]
    try:
        return ran(words)
    except CommandFailed as error:
        return str(error).strip().splitlines()[-1]


def compared(faults: Planted, cold: Ran, again: Ran, peers: dict[str, Ran | str]) -> Result:
    answer = cold.answer()
    recall = copies_found(faults, groups_of(answer["findings"]), [])["recall"]
    of_broken = len(set(faults.broken) & images_of(answer["findings"], "unreadable")) / max(1, len(faults.broken))
    numbers: dict[str, Any] = {
        "images": answer["images"], "seconds_again": round(again.seconds, 1), "peak_megabytes": round(cold.peak_bytes / 1e6),
        "recall": recall, "broken": of_broken,
    }  # fmt: skip
    notes = ["recall of planted copies by kind; a peer counts if it puts copy and source into one set"]
    for name, done in peers.items():
        if isinstance(done, str):
            notes.append(f"{name} did not finish: {done}")
            continue
        told = done.lines()[-1]
        of_kind = {kind: sum(how == kind for _, how in faults.copies.values()) for kind in KINDS}
        numbers[name] = {
            "seconds": round(done.seconds, 1), "peak_megabytes": round(done.peak_bytes / 1e6),
            "recall": {kind: round(told["hits"].get(kind, 0) / max(1, of_kind[kind]), 4) for kind in KINDS},
            "broken": told["broken"] / max(1, len(faults.broken)), "images_in_sets": told["images_in_sets"],
        }  # fmt: skip
    numbers["images_in_sets"] = len({source for group in groups_of(answer["findings"]) for source in group})
    claims = [
        Claim(f"{cold.seconds:.0f} s from an empty cache, {SECONDS:.0f} allowed", cold.seconds <= SECONDS),
        Claim(f"{cold.peak_bytes / 1e6:.0f} MB at the peak, {MEGABYTES} allowed", cold.peak_bytes <= MEGABYTES * 1e6),
    ]
    runs = [done.facts() for done in (cold, again, *peers.values()) if not isinstance(done, str)]
    return Result("check/files", "s", round(cold.seconds, 1), numbers=numbers, runs=runs, claims=claims, notes=notes)
