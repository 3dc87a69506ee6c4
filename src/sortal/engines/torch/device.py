"""The device that torch computes on: which one, made repeatable, and what its running out of memory is called."""

import contextlib
import ctypes
import gc
import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

# cuBLAS repeats itself only with work space of a fixed size, which it looks up when it is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

from sortal.errors import MachineFailed, NotSupported
from sortal.plan import Machine

CPUINFO = Path("/proc/cpuinfo")
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What torch says in a plain RuntimeError where the processor's memory is used up, or a library on an accelerator got none."""


def accelerator() -> str:
    """'cuda' if there is one, else ''."""
    return "cuda" if torch.cuda.is_available() else ""


def device() -> torch.device:
    """Where networks are trained: the accelerator if there is one, else the processor."""
    return torch.device(accelerator() or "cpu")


def machine() -> Machine:
    """What is computed on here."""
    there = accelerator()
    name, instructions = _processor()
    return Machine(os.cpu_count() or 1, there, torch.cuda.get_device_name() if there else name, "" if there else instructions)


def _processor() -> tuple[str, str]:
    """The name that the processor gives itself, and a digest of the instruction sets that it says it has; of Linux's."""
    said: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    name = said.get("model name") or platform.processor() or platform.machine()
    features = said.get("flags") or said.get("Features") or ""
    return name, hashlib.sha256(features.encode()).hexdigest()[:8] if features else ""


def make_repeatable(deterministic: bool) -> None:
    """Have an accelerator use only kernels that give the same bits each time, or whichever it likes best."""
    if not accelerator():
        return  # the processor's kernels repeat themselves as they are
    torch.use_deterministic_algorithms(deterministic)
    # What is called float32 is float32: a bundle's graph computes in it, and TF32 has 11 of its 24 bits.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic


MMAP_MAX, TRIM_THRESHOLD = -4, -1
"""glibc's names in malloc.h: M_MMAP_MAX and M_TRIM_THRESHOLD."""


def keep_memory(place: torch.device) -> None:
    """Have the C library keep what a training has freed for its next step, where the processor trains.

    As it comes, glibc gives each large tensor back to the system, which makes its pages anew, one by one and zeroed, in every
    step: a tenth to a fifth of a step's time on small images, measured here. Other C libraries are left as they are.
    """
    if place.type != "cpu" or not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)


def wait(place: torch.device) -> None:
    """Until all work under way on the device is done, so that a clock measures it."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def release(place: torch.device) -> None:
    """Give back what an attempt that ran out of memory has left: tensors that its error still holds, the allocator's pieces."""
    gc.collect()  # an error and the frames that it went through can hold each other
    if place.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def failures_explained(memory: type[MachineFailed] = MachineFailed) -> Iterator[None]:
    """Turn torch's ways to say what it cannot do into errors with a cure; memory that is used up becomes a `memory`."""
    try:
        yield
    except (RuntimeError, MemoryError, ValueError) as error:
        said = str(error)
        if "Expected more than 1 value per channel" in said:
            raise NotSupported(
                "this network has a batch norm that a single image gives nothing to normalise with",
                hint="set batch_size to 2 or more",
            ) from error
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in said for words in OUT_OF_MEMORY):
            raise memory(
                "out of memory",
                hint="close other programs and go on with --resume, or begin a run with a smaller batch_size or image_size",
            ) from error
        if "does not have a deterministic implementation" in said:
            raise NotSupported(
                f"this network has a part that cannot repeat itself on this accelerator: {said.splitlines()[0]}",
                hint="set deterministic = false: a resumed run then ends a little differently",
            ) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise NotSupported(
                f"this network cannot be compiled here: {said.splitlines()[0]}", hint="set compiled = 'off'"
            ) from error
        if "not implemented for 'Half'" in said:
            raise NotSupported(
                f"this network has a part that this device does not compute in half precision: {said.splitlines()[0]}",
                hint="set precision = 'bf16' or 'float32'",
            ) from error
        raise
