"""Two sides in turn, several times: medians of what each did in a second, and the ratio."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.harness import Claim, Ran, Result, ran, spread

Command = Sequence[str]


def in_turn(commands: Sequence[Callable[[int], Command]], repeats: int) -> list[list[Ran]]:
    """Every side once, then every side again, so that what disturbs the machine disturbs all; runs by side.

    A side is a function of the number of the run.
    """
    runs: list[list[Ran]] = [[] for _ in commands]
    for number in range(repeats):
        for side, command in zip(runs, commands, strict=True):
            side.append(ran(command(number)))
    return runs


def told(runs: Sequence[Ran], key: str) -> list[float]:
    """What each run said under a key, in the last JSON object that it printed."""
    return [float(run.lines()[-1][key]) for run in runs]


def of_peak(runs: Sequence[Ran], peak: float, each: float = 1.0, *, key: str = "images_per_second") -> dict[str, float]:
    """What share of a peak the median rate is: of images a second, each of which takes `each` of the peak's unit."""
    return {"share_of_peak": round(statistics.median(told(runs, key)) * each / peak, 4), "peak": peak}


def faster(
    name: str,
    ours: Sequence[Ran],
    theirs: Sequence[Ran],
    promised: float,
    *,
    key: str = "images_per_second",
    numbers: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """How many times as many images a second: medians of ours over the peer's; accuracies and profiles of the last runs."""
    rates, others = told(ours, key), told(theirs, key)
    middle, other = statistics.median(rates), statistics.median(others)
    if not (middle > 0 and other > 0):
        raise ValueError(f"rates must be above zero, got {middle} and {other}")
    ratio = middle / other
    last, last_peer = ours[-1].lines()[-1], theirs[-1].lines()[-1]
    accuracy = (
        {"ours": last["accuracy"], "peer": last_peer["accuracy"]} if "accuracy" in last and "accuracy" in last_peer else {}
    )
    return Result(
        name=name, unit="images/s", ours=middle, peer=other, ratio=ratio, accuracy=accuracy,
        numbers={
            "ours_spread": spread(rates), "peer_spread": spread(others),
            **({"profile": last["profile"]} if "profile" in last else {}),
            **({"peer_profile": last_peer["profile"]} if "profile" in last_peer else {}),
            **(numbers or {}),
        },
        runs=[each.facts() for pair in zip(ours, theirs, strict=True) for each in pair],
        claims=[Claim(f"{promised:g} times as many images a second, or more", ratio >= promised)],
        notes=[f"in turn, {len(rates)} times; medians", *notes],
    )  # fmt: skip
