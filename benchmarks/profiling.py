"""Where the time of a piece of torch work goes: shares of the processor's time by operation."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

SHOWN = 8
"""Operations that a profile names."""


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Operations by the share of the time that they take themselves, the largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return {event.key: round(event.self_cpu_time_total / total, 3) for event in events[:SHOWN]}
