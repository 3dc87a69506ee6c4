"""Time to an accuracy: ours, one whole command that must end at the target, beside a peer that stops when it gets there."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness import Claim, Ran, Result, ran, times_faster
from benchmarks.profiling import largest


def steps_of(*recipe: str, steps: int = 6) -> dict[str, Any]:
    """What share of the machine's bf16 matrix peak a recipe's training steps reach, and which operations their time goes to.

    Of images that have their own side, whatever side the recipe begins with. A process of its own, which measures the peak too.
    """
    told = ran(
        [sys.executable, "-m", "benchmarks.ours.stepping", *recipe, "--set", "grow.start=1", "--steps", str(steps)]
    ).answer()
    return {
        "share_of_peak": round(told["share_of_peak"], 4), "peak": told["peak_operations_per_second"],
        "peak_is": "a bf16 matrix product, operations/s; the share is that of training steps", "steps_profile": told["profile"],
    }  # fmt: skip


def compared(
    name: str,
    ours: Ran,
    peer: Ran | None,
    *,
    target: float,
    promised: float,
    notes: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> Result:
    """A ratio where both reached the target; where the peer ended before it, a bound, and it says so.

    `more` are numbers that were measured besides.
    """
    answer = ours.answer()
    metrics = answer["metrics"]["test"]
    reached_ours = metrics["accuracy"] >= target
    numbers: dict[str, Any] = {
        "ours_interval": metrics["accuracy_interval"], "ours_seconds": answer["seconds"],
        "images_per_second": answer["work"]["images_per_second"], "recipe": answer["recipe"]["model"],
        "epochs": answer["recipe"]["epochs"], "profile": largest(answer["phases"]), **(more or {}),
    }  # fmt: skip
    accuracy, runs = {"ours": metrics["accuracy"]}, [ours.facts()]
    seconds, ratio = None, None
    told = [f"ours: the whole command, ending with {metrics['accuracy']:.4f} on test"]
    if peer is not None:
        epochs = peer.lines()
        first = next((line for line in epochs if line["accuracy"] >= target), None)
        accuracy["peer"] = epochs[-1]["accuracy"] if epochs else 0.0
        numbers["peer_epochs"] = [
            (line["epoch"], round(line["accuracy"], 4), round(line["seconds_so_far"], 1)) for line in epochs
        ]
        runs.append(peer.facts())
        if first is not None:
            seconds = first["seconds_so_far"]
            told.append(f"peer: until its test accuracy first reached {target:g}, after {first['epoch']} epochs")
        else:
            told.append(f"peer: ended or was stopped after {peer.seconds:.0f} s without reaching {target:g}")
        if reached_ours and seconds is not None:
            ratio = times_faster(ours.seconds, seconds)
        elif reached_ours:
            numbers["ratio_at_least"] = round(times_faster(ours.seconds, peer.seconds), 2)
    claims = [Claim(f"at least {target:g} on test", reached_ours)]
    if peer is not None:
        least = ratio if ratio is not None else numbers.get("ratio_at_least", 0.0)
        claims.append(Claim(f"{promised:g} times as fast as the peer, or faster", least >= promised))
    return Result(
        name=name, unit="seconds", ours=ours.seconds, peer=seconds, ratio=ratio, accuracy=accuracy, numbers=numbers, runs=runs,
        claims=claims, notes=[*told, *notes],
    )  # fmt: skip
