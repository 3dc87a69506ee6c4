"""What was measured of this machine, remembered so that it is measured once: small JSON files in the cache, by question."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sortal.data.store import Cache
from sortal.files import write_text

CROWDED, SPARE = 0.3, 0.7
"""Cores that other programs use from which they are in the way, and cores left idle from which they are not."""


def remembered(
    cache: Cache, question: Mapping[str, Any], measure: Callable[[], dict[str, Any]], *, keep: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """The answer to `question` (plain JSON values), from the cache if it was asked before, else by measuring now.

    A file that cannot be read is measured again; the answer is `measure`'s own where the question is new, and is kept only if
    `keep`, which is asked after it, allows it.
    """
    text = json.dumps(question, sort_keys=True)
    path = cache.root / "measured" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    try:
        known = json.loads(path.read_text())
        if known["question"] == json.loads(text):
            return dict(known["answer"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not asked yet, or a damaged file: either way it is measured, and the file is replaced
    answer = measure()
    if keep():
        write_text(path, json.dumps({"question": question, "answer": answer}, indent=2))
    return answer


class Bystander:
    """Watches, from when it is made, whether other programs take processor time that we would have used.

    It reads what Linux counts for all cores; elsewhere nothing is known, and nobody is in the way.
    """

    def __init__(self, counters: Path = Path("/proc/stat")) -> None:
        self._counters = counters
        self._began = self._now()

    @property
    def in_the_way(self) -> bool:
        """Whether others used a good part of a core, and less than that was left idle."""
        if self._began is None or (now := self._now()) is None:
            return False
        wall, all_busy, all_idle, own = (after - before for after, before in zip(now, self._began, strict=True))
        return wall > 0 and (all_busy - own) / wall > CROWDED and all_idle / wall < SPARE

    def _now(self) -> tuple[float, float, float, float] | None:
        """Seconds: of the clock, of all cores at work and idle, and of our own process."""
        try:
            fields = self._counters.read_text().splitlines()[0].split()[1:9]
            user, nice, system, idle, waiting, *rest = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields)
        except (OSError, ValueError, IndexError, AttributeError):
            return None
        return time.perf_counter(), user + nice + system + sum(rest), idle + waiting, time.process_time()
