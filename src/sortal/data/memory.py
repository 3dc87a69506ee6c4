"""How much memory is free."""

import contextlib
import os
from pathlib import Path


def free_memory() -> int:
    """Bytes of memory that this process may still take, by the system and by the limit of a container around it."""
    candidates = [_system_memory()]
    with contextlib.suppress(OSError, ValueError):  # no cgroup, or one without a limit ('max')
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        candidates.append(max(0, limit - int(Path("/sys/fs/cgroup/memory.current").read_text())))
    return min(candidates)


def _system_memory() -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    # Where the system does not say what is free, half of what there is counts as free.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
