"""Whole commands, timed: each side of a comparison is a process of its own, measured from its start to its end."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "sortal",
    "numpy",
    "pillow",
    "onnxruntime",
    "pyarrow",
    "scikit-learn",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "fastai",
    "ultralytics",
)


class CommandFailed(RuntimeError):
    """A command of a benchmark ended with a code it should not end with; the message shows the end of what it said."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One command that was run to its end."""

    command: tuple[str, ...]
    code: int
    seconds: float
    """Wall time of the whole command: interpreter, imports, work and exit."""
    cpu_seconds: float
    """Processor time of it and of the children it waited for."""
    peak_bytes: int
    """Largest resident memory of any one of its processes, or of the process that started it, where that was larger."""
    stdout: str
    stderr: str

    def answer(self) -> dict[str, Any]:
        """What a command with --json printed: one JSON object and nothing else."""
        return dict(json.loads(self.stdout))

    def lines(self) -> list[dict[str, Any]]:
        """What a peer printed: one JSON object a line; lines that are none (a library's chatter) are passed over."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    def facts(self) -> dict[str, Any]:
        """What goes into the log."""
        return {
            "command": readable(self.command), "seconds": round(self.seconds, 3), "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_megabytes": round(self.peak_bytes / 1e6), "code": self.code,
        }  # fmt: skip


def ran(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, codes: Sequence[int] = (0,)) -> Ran:
    """Run a command to its end and time it; raises `CommandFailed` for an exit code that is not among `codes`."""
    words = tuple(str(word) for word in command)
    say(f"$ {readable(words)}")
    # Files rather than pipes: a pipe that nobody reads would stop the command that we time.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=surroundings(environment))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        done = Ran(
            command=words,
            code=process.returncode,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            stdout=out.read().decode(errors="replace"),
            stderr=err.read().decode(errors="replace"),
        )
    if done.code not in codes:
        raise CommandFailed(f"exit code {done.code} from: {readable(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def surroundings(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: ours, with this package importable wherever it is started from, and what is asked for."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **(environment or {})}


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the project says of itself, and whether this run bore it out."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison. `ratio` is the peer's time over ours, so more is better; it is absent where times are not compared."""

    name: str
    unit: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """By 'ours' and 'peer', on the same images."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """What else was measured."""
    runs: Sequence[Mapping[str, Any]] = ()
    claims: Sequence[Claim] = ()
    notes: Sequence[str] = ()
    """How it was measured, and what of it was not measured but computed."""


def not_run(name: str, ours: Sequence[Ran], why: str) -> Result:
    """Ours alone, whole commands, with the reason why there is no peer beside it."""
    middle = statistics.median(each.seconds for each in ours)
    return Result(name=name, unit="seconds", ours=middle, numbers={"peer_not_run": why}, notes=[f"peer not run: {why}"])


def times_faster(ours: float, peer: float) -> float:
    """How many times as long the peer took; both in seconds, above zero."""
    if not (ours > 0 and peer > 0):
        raise ValueError(f"times must be above zero, got {ours} and {peer}")
    return peer / ours


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of repeated times, with how many there were."""
    if not seconds:
        raise ValueError("no times to summarise")
    return {
        "median": round(statistics.median(seconds), 4), "least": round(min(seconds), 4), "most": round(max(seconds), 4),
        "runs": len(seconds),
    }  # fmt: skip


def record(name: str, results: Sequence[Result], words: Sequence[str]) -> dict[str, Any]:
    """One benchmark's log entry: what was run, where, when, and what came out; the first result's figures stand on top."""
    first = asdict(results[0])
    return {
        "name": name,
        **{key: first[key] for key in ("ours", "peer", "unit", "ratio", "accuracy", "runs")},
        "date": today(),
        "commit": commit(),
        "command": readable(["python", "-m", "benchmarks", *words]),
        "machine": machine(),
        "results": [asdict(result) for result in results],
    }


def today() -> str:
    """The date, as logs are named by it."""
    return date.today().isoformat()


def log(entry: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write an entry to `YYYY-MM-DD-NAME.json`, beside and never over an earlier one of the same day."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        path = folder / f"{entry['date']}-{entry['name']}{f'-{number}' if number > 1 else ''}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(entry, indent=2, ensure_ascii=False) + "\n")
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder} holds 999 logs of {entry['name']} of {entry['date']}")


def commit() -> str:
    """The commit that was measured, with '+' behind it where files differ from it; '' outside a checkout."""
    told = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() if told.returncode == 0 else ""


def machine() -> dict[str, Any]:
    """Where it ran: processor, cores, memory, versions. The load says whether others were at work at the same time."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(pages * size / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": dict(_versions()),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or "unknown"


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def sortal(*words: object) -> list[str]:
    """The command `sortal` of the interpreter that runs the benchmark."""
    script = Path(sys.executable).with_name("sortal")
    if not script.exists():
        raise FileNotFoundError(f"{script} is not there: install the project into this environment (pip install -e '.[torch]')")
    return [str(script), *map(str, words)]


def peer(module: str, *words: object, python: str | Path = sys.executable) -> list[str]:
    """A peer's script, run by the same interpreter, or by that of an environment of its own."""
    return [str(python), "-m", f"benchmarks.peers.{module}", *map(str, words)]


def guest(module: str, package: str, python: str | Path | None, *words: object) -> Ran | str:
    """A peer that may be missing: its run, or why there is none; it is run by `python`, else here if `package` is here.

    Whatever goes wrong with it, the benchmark goes on.
    """
    if python is None and find_spec(package) is None:
        return f"{package} is not installed here, and no environment that has it was named (--{package}-python)"
    try:
        return ran(peer(module, *words, python=python or sys.executable))
    except (CommandFailed, OSError) as error:
        why = (str(error).strip().splitlines() or ["no word of it"])[-1]
        say(f"{package}: {error}")
        return f"failed: {why[-300:]}"


def readable(words: Sequence[str | Path]) -> str:
    """A command as one would type it: programs and files by name, without the folders of this machine."""
    return " ".join(_short(str(word)) for word in words)


def _short(word: str) -> str:
    return Path(word).name if word.startswith("/") else word


def say(text: str) -> None:
    """Tell whoever waits; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)
