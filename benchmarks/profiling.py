"""Where time goes: shares of a piece of torch work by operation, of any work by function, of a whole command by function.

`python -m benchmarks.profiling MODULE WORDS...` runs a module as a program does and prints, as its last line, which functions
its main thread's time went to. What is profiled takes longer, so it is a run of its own and is not timed.
"""

import cProfile
import json
import pstats
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.harness import ran

SHOWN = 8
"""Operations or functions that a profile names."""


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Operations of torch by the share of the time that they take themselves, the largest first."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    return largest({event.key: event.self_cpu_time_total for event in profiler.key_averages()})


def functions(work: Callable[[], object]) -> dict[str, float]:
    """Functions by the share of the main thread's time that they take themselves, the largest first.

    Waiting for other threads and processes is a function too: a lock's `acquire`, `poll`, a queue's `get`.
    """
    profiler = cProfile.Profile()
    profiler.runcall(work)
    times: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        key = name if file == "~" else f"{Path(file).parent.name}/{Path(file).name}:{name}"
        times[key] = times.get(key, 0.0) + own
    return largest(times)


def largest(times: Mapping[str, float]) -> dict[str, float]:
    """The shares in 0..1 of the largest `SHOWN` of all."""
    total = sum(times.values())
    return {name: round(times[name] / total, 3) for name in sorted(times, key=lambda name: -times[name])[:SHOWN]}


def command(module: str, *words: object) -> dict[str, float]:
    """`functions` of a whole program, in a process of its own."""
    done = ran([sys.executable, "-m", "benchmarks.profiling", module, *map(str, words)])
    return dict(json.loads(done.stdout.splitlines()[-1])["profile"])


def main() -> None:
    module, *words = sys.argv[1:]
    sys.argv = [module, *words]

    def program() -> None:
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code:
                raise

    print(json.dumps({"profile": functions(program)}), flush=True)


if __name__ == "__main__":
    main()
