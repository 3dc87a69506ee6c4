"""`sortal serve` beside LitServe and plain FastAPI with ONNX Runtime: the same graph, the same JPEGs, one core each in turn.

The server runs on one core and the load generator on another (`taskset`). Then ours alone: an open-loop overload that asks for
ten times what it can do, memory over many requests, and SIGTERM under load. A peer that is not here is not run, and the
result says why.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from benchmarks.harness import ROOT, Claim, Result, say, surroundings
from benchmarks.load import CLOSED

PARTS = ("peers", "overload", "memory", "term")
FASTER = 1.5
GOODPUT = 0.9
OVERLOAD, LEAST_OVERLOAD = 10, 2
"""How many times its peak is asked of the server, and how much of that the one core of the generator has to send at least."""
GROWTH = 1.05
"""What memory at the end may be, as a multiple of that after the first tenth of the requests."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run or a bundle: EfficientNet-Lite0 on ants and bees")
    parser.add_argument("images", type=Path, help="a folder of JPEGs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--clients", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--seconds", type=float, default=30, help="of each closed loop")
    parser.add_argument("--rounds", type=int, default=2, help="how often the servers take turns")
    parser.add_argument("--overload-seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=100_000, help="of the part on memory")
    parser.add_argument("--cores", type=int, nargs=2, default=[1, 0], help="of the server, of the load generator")
    parser.add_argument(
        "--peers-python", type=Path, default=Path(sys.executable), help="an interpreter that has litserve and fastapi"
    )
    parser.add_argument("--runtime", default="auto")


def run(options: argparse.Namespace) -> list[Result]:
    found: list[Result] = []
    for part in options.parts:
        found += {"peers": peers, "overload": overload, "memory": memory, "term": term}[part](options)
    return found


@contextlib.contextmanager
def serving(command: Sequence[str], port: int, core: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A server on one core, from when it answers a request until it is ended."""
    say(f"$ taskset -c {core} {' '.join(Path(word).name if '/' in word else word for word in command)}")
    # A file rather than a pipe, which would stop a server that says much.
    with tempfile.TemporaryFile() as said, _started(command, core, said) as process:
        deadline = time.monotonic() + 120
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                said.seek(0)
                raise NotStarted(said.read().decode(errors="replace").strip()[-500:] or "it said nothing")
            time.sleep(0.2)
        yield process


class NotStarted(RuntimeError):
    """A server that answers no request; the message is the end of what it said."""


@contextlib.contextmanager
def _started(command: Sequence[str], core: int, said: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    words = ["taskset", "-c", str(core), *command]
    process = subprocess.Popen(words, env=surroundings(), stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
        # LitServe leaves its workers to themselves; the group is our own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        return bool(connection.recv(1))
    return False


def ours(options: argparse.Namespace, port: int, *words: str) -> list[str]:
    command = [sys.executable, "-m", "sortal.cli.main", "serve", f"m={options.run}", "--port", str(port)]
    return [*command, "--runtime", options.runtime, *words]


def load(options: argparse.Namespace, port: int, **settings: Any) -> dict[str, Any]:
    """Run the load generator on its core and give what it printed."""
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    command = ["taskset", "-c", str(options.cores[1]), sys.executable, "-m", "benchmarks.load", "--port", str(port)]
    done = subprocess.run(
        [*command, "--images", str(options.images), *words],
        cwd=ROOT,
        env=surroundings(),
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(json.loads(done.stdout))
    say(f"  {settings}: {found}")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def peers(options: argparse.Namespace) -> list[Result]:
    """Requests a second and p99 of all three, in turn."""
    folder = options.run / "bundle" if (options.run / "bundle").is_dir() else options.run
    here = ROOT / "benchmarks" / "peers"
    python = str(options.peers_python)

    def command(who: str, port: int) -> list[str]:
        if who == "ours":
            return ours(options, port)
        if who == "fastapi":
            return [python, str(here / "fastapi_server.py"), str(folder), str(port)]
        size, wait = ("8", "0.01") if who == "litserve-8" else ("1", "0")
        return [python, str(here / "litserve_server.py"), str(folder), str(port), size, wait]

    told: dict[str, dict[int, list[dict[str, Any]]]] = {}
    absent = {who: why for who, package in PEERS.items() if (why := _missing(python, package))}
    for _ in range(options.rounds):
        for who in ("ours", *PEERS):
            if who in absent:
                continue
            port = free_port()
            try:
                with serving(command(who, port), port, options.cores[0]):
                    load(options, port, clients=8, seconds=3, warm=0)
                    for clients in options.clients:
                        found = load(options, port, clients=clients, seconds=options.seconds)
                        told.setdefault(who, {}).setdefault(clients, []).append(found)
            except NotStarted as error:
                if who == "ours":
                    raise
                absent[who] = f"it did not start: {error}"
    return [compared(told, absent, clients) for clients in options.clients]


PEERS = {"litserve-8": "litserve", "litserve-1": "litserve", "fastapi": "fastapi"}
"""Servers beside ours, and the package of each."""


def _missing(python: str, package: str) -> str:
    """Why a peer cannot run in a Python, or ''."""
    try:
        found = subprocess.run([python, "-c", f"import {package}"], capture_output=True, text=True, env=surroundings())
    except OSError as error:
        return f"{python}: {error.strerror}"
    if found.returncode == 0:
        return ""
    return f"{python} has no {package} that can be imported: {found.stderr.strip().rpartition(chr(10))[2]}"


def compared(told: Mapping[str, Mapping[int, list[dict[str, Any]]]], absent: Mapping[str, str], clients: int) -> Result:
    """Ours beside LitServe, where it ran, with so many clients; peers of `absent` are told with the reason."""
    best = {who: max(some[clients], key=lambda each: each["per_second"]) for who, some in told.items() if some.get(clients)}
    rounds = [best[who] for who in best if who.startswith("litserve")]
    litserve = max(rounds, key=lambda each: float(each["per_second"])) if rounds else None
    mine = best["ours"]
    ratio = mine["per_second"] / litserve["per_second"] if litserve and litserve["per_second"] else None
    claims = [Claim("every request of ours was answered", set(mine["statuses"]) == {"200"})]
    if litserve and ratio:
        claims += [
            Claim(f"{FASTER} times LitServe's requests a second or more", ratio >= FASTER),
            Claim("at an equal or lower p99", mine["p99"] <= litserve["p99"]),
        ]
    return Result(
        name=f"serving/{clients} clients",
        unit="requests a second",
        ours=mine["per_second"],
        peer=litserve["per_second"] if litserve else None,
        ratio=None if ratio is None else round(ratio, 3),
        numbers=best,
        runs=[{"who": who, **each} for who, some in told.items() for each in some.get(clients, [])],
        claims=claims,
        notes=[
            "the best round of each counts; LitServe's is the better of no batches and batches of 8 with 10 ms to wait",
            *(f"{who} not run: {why}" for who, why in absent.items()),
        ],
    )


def overload(options: argparse.Namespace) -> list[Result]:
    """Ten times the capacity is asked for, whatever is answered; how much of it was sent is told."""
    port = free_port()
    with serving(ours(options, port), port, options.cores[0]):
        peak = load(options, port, clients=50, seconds=min(20.0, options.overload_seconds))
        rate = OVERLOAD * peak["per_second"]
        found = load(options, port, clients=900, rate=rate, seconds=options.overload_seconds, warm=5)
        after = load(options, port, clients=50, seconds=5)
    return [overloaded(rate, peak, found, after)]


def overloaded(rate: float, peak: dict[str, Any], found: dict[str, Any], after: dict[str, Any]) -> Result:
    """What was kept of the peak while `rate` was asked for; of the load it counts what reached the server."""
    kept, times = found["per_second"] / peak["per_second"], found["sent_per_second"] / peak["per_second"]
    return Result(
        name="serving/overload",
        unit="answers a second",
        ours=found["per_second"],
        peer=peak["per_second"],
        numbers={
            "rate asked for": round(rate, 1),
            "rate sent": found["sent_per_second"],
            "sent, in peaks": round(times, 2),
            "kept": round(kept, 3),
            "peak": peak,
            "overload": found,
            "after": after,
        },
        claims=[
            Claim(f"{LEAST_OVERLOAD} times the peak or more was really sent", times >= LEAST_OVERLOAD),
            Claim(f"{GOODPUT:.0%} of the peak is kept", kept >= GOODPUT),
            Claim("everything else that was sent got a 503", set(found["statuses"]) - {str(CLOSED)} <= {"200", "503"}),
            Claim("a refusal takes less than a second", found.get("refused_p99", 0) < 1),
        ],
        notes=[
            "'peer' is the same server's own peak with 50 clients",
            f"asked for was {OVERLOAD} times the peak; what found no connection has status 0 and was not sent",
        ],
    )


def memory(options: argparse.Namespace) -> list[Result]:
    """Resident memory of the server and its decoders while it answers many requests."""
    port = free_port()
    with serving(ours(options, port), port, options.cores[0]) as process:
        seen = []
        for number in range(11):
            wanted = options.requests // 10 if number else 200
            load(options, port, clients=50, requests=wanted, seconds=3600, warm=0)
            seen.append(resident(process.pid))
    first, last = seen[1], seen[-1]
    return [
        Result(
            name="serving/memory",
            unit="bytes at the end",
            ours=last,
            peer=first,
            numbers={"after each tenth": seen, "growth": round(last / first, 4)},
            claims=[Claim(f"no more than {GROWTH} times what it was after a tenth", last <= GROWTH * first)],
            notes=[f"{options.requests} requests; 'peer' is the same server after a tenth of them"],
        )
    ]


def resident(pid: int) -> int:
    """Resident bytes of a process and of those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in (pid, *children))
    return pages * os.sysconf("SC_PAGE_SIZE")


def term(options: argparse.Namespace) -> list[Result]:
    """SIGTERM in the middle of a load of 100 clients."""
    port = free_port()
    with serving(ours(options, port), port, options.cores[0]) as process:
        settings = ["--clients", "100", "--seconds", "8", "--warm", "0", "--images", str(options.images)]
        command = ["taskset", "-c", str(options.cores[1]), sys.executable, "-m", "benchmarks.load", "--port", str(port)]
        generator = subprocess.Popen([*command, *settings], cwd=ROOT, env=surroundings(), stdout=subprocess.PIPE, text=True)
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
        text, _ = generator.communicate(timeout=60)
    found = dict(json.loads(text))
    say(f"  SIGTERM: code {code}, {found}")
    lost = found.get("cut", 0)
    return [
        Result(
            name="serving/SIGTERM",
            unit="requests lost",
            ours=lost,
            numbers={**found, "code": code},
            claims=[
                Claim("no request that was sent is left without an answer", lost == 0),
                Claim("it exits with 0", code == 0),
            ],
            notes=["connections that were refused after the end are no requests; they count among the statuses as 0"],
        )
    ]
