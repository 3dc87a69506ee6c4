"""All benchmarks of speed, one after the other: a table of ratios, with JSON beside it.

Each is a process of its own; `--quick` runs those that have a short form. A time to an accuracy has none: its row cites the
newest log in benchmarks/results/. A benchmark whose data is not at hand, or that fails, is a row that says so.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, commit, log, machine, say, surroundings, today


@dataclass(frozen=True, slots=True)
class Entry:
    """A benchmark of the suite."""

    name: str
    quick: float | None
    """Minutes on two cores; None where there is no short form."""
    full: float
    data: str = ""
    """'photos' where it takes photographs, which are drawn if there are none; 'cifar10' where it cannot do without."""


SUITE = (
    Entry("cifar10-080", None, 75, "cifar10"),
    Entry("cifar10-090", None, 60, "cifar10"),
    Entry("train-step", 2, 12, "cifar10"),
    Entry("peak-share", 2, 10),
    Entry("finetune-step", 2, 8),
    Entry("features", 2, 15, "photos"),
    Entry("photos-epoch", 2, 12, "photos"),
    Entry("augment", 1, 4),
    Entry("predict-folder", 2, 15, "photos"),
)


def main(words: list[str]) -> int:
    """Run the suite; 0, or 1 where a ratio was not reached or a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short, noisier forms, under two minutes each")
    parser.add_argument("--photos", type=Path, help="folder, or zip of one, of photographs in folders by class")
    parser.add_argument("--cifar10", type=Path, help="CIFAR-10 as folders, or a zip of them")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--log", action="store_true", help="write the table's JSON to benchmarks/results/")
    options = parser.parse_args(words)
    chosen = [entry for entry in SUITE if not options.only or entry.name in options.only]
    say(f"this takes about {minutes(chosen, quick=options.quick):.0f} minutes on two cores that do nothing else")
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    for entry in chosen:
        found = rows_of(entry, options)
        rows += found
        say(table(found))
    took = time.monotonic() - began
    told = {
        "name": "suite", "date": today(), "commit": commit(), "quick": options.quick, "seconds": round(took),
        "machine": machine(), "rows": rows,
    }  # fmt: skip
    place = log(told) if options.log else _beside(told)
    print(table(rows))
    print(f"took {took / 60:.1f} minutes; the same as JSON: {place}")
    return (
        0 if all(row["reached"] for row in rows if row["reached"] is not None) and not any(row["failed"] for row in rows) else 1
    )


def minutes(entries: Iterable[Entry], *, quick: bool) -> float:
    """About how long they take; what has no short form is not run in a quick suite."""
    return sum((entry.quick or 0) if quick else entry.full for entry in entries)


def rows_of(entry: Entry, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run one benchmark and give its rows; or the row that says why there is no ratio."""
    if options.quick and entry.quick is None:
        return [cited(entry.name)]
    data = {"photos": options.photos, "cifar10": options.cifar10}.get(entry.data)
    if entry.data == "cifar10" and data is None:
        return [without(entry.name, "not run: name CIFAR-10 with --cifar10")]
    words = [sys.executable, "-m", "benchmarks", entry.name, "--json", *["--quick"] * options.quick]
    words += ["--data", str(data)] if data is not None else []
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, env=surroundings(), cwd=ROOT)
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError):
        return [without(entry.name, f"failed with exit code {done.returncode}", failed=True)]
    return [row(result) for result in results]


def row(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as the table shows it."""
    claims = result["claims"]
    return {
        **{key: result[key] for key in ("name", "ours", "peer", "unit", "ratio", "accuracy")},
        "ratio_at_least": result["numbers"].get("ratio_at_least"), "device": result["numbers"].get("device", ""),
        "target": "; ".join(claim["text"] for claim in claims),
        "reached": all(claim["holds"] for claim in claims) if claims else None, "failed": False,
        "said": f"peer not run: {why}" if (why := result["numbers"].get("peer_not_run")) else "",
    }  # fmt: skip


def without(name: str, said: str, *, failed: bool = False) -> dict[str, Any]:
    """A row without figures, and why."""
    return {
        "name": name, "ours": None, "peer": None, "unit": "", "ratio": None, "ratio_at_least": None, "device": "",
        "accuracy": {}, "target": "", "reached": None,
        "failed": failed, "said": said,
    }  # fmt: skip


def cited(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """The row of a benchmark that has no short form: what its newest log says, with its date and commit."""
    named = re.compile(rf"(\d{{4}}-\d\d-\d\d)-{re.escape(name)}(?:-(\d+))?\.json")
    found = [(match[1], int(match[2] or 1), path) for path in folder.iterdir() if (match := named.fullmatch(path.name))]
    logs = [path for _, _, path in sorted(found)]
    if not logs:
        return without(name, "no short form, and no log of a full run yet")
    entry = json.loads(logs[-1].read_text(encoding="utf-8"))
    return row(entry["results"][0]) | {"said": f"full run of {entry['date']}, commit {entry['commit']} ({logs[-1].name})"}


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as Markdown."""
    lines = ["| benchmark | ours | peer | ratio | target | accuracy, ours and peer |", "|---|---|---|---|---|---|"]
    for each in rows:
        if each["ours"] is None:
            lines.append(f"| {each['name']} | {each['said']} | | | | |")
            continue
        ours, theirs = (f"{each[side]:.4g} {each['unit']}" if each[side] is not None else "-" for side in ("ours", "peer"))
        least = f"at least {each['ratio_at_least']:.2f}" if each["ratio_at_least"] is not None else "-"
        ratio = f"{each['ratio']:.2f}" if each["ratio"] is not None else least
        reached = "" if each["reached"] is None else ": reached" if each["reached"] else ": NOT reached"
        accuracy = ", ".join(f"{value:.4f}" for value in each["accuracy"].values())
        said = "; ".join(part for part in (each["device"], each["said"]) if part)
        named = f"{each['name']} ({said})" if said else each["name"]
        lines.append(f"| {named} | {ours} | {theirs} | {ratio} | {each['target']}{reached} | {accuracy} |")
    return "\n".join(lines)


def _beside(told: Mapping[str, Any]) -> Path:
    """Into the build folder, where it stands in nobody's way."""
    path = ROOT / "build" / "bench.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
