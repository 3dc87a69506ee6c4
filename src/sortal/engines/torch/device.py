"""The device that torch computes on: which one, made repeatable, and what its running out of memory is called."""

import contextlib
import os
from collections.abc import Iterator

import torch

from sortal.errors import MachineFailed, NotSupported

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")
"""What torch says, in a plain RuntimeError, where the processor's memory is used up."""


def accelerator() -> str:
    """'cuda' if there is one, else ''."""
    return "cuda" if torch.cuda.is_available() else ""


def device() -> torch.device:
    """Where networks are trained: the accelerator if there is one, else the processor."""
    return torch.device(accelerator() or "cpu")


def make_repeatable(deterministic: bool) -> None:
    """Have an accelerator use only kernels that give the same bits each time, or whichever it likes best."""
    if not accelerator():
        return  # the processor's kernels repeat themselves as they are
    # cuBLAS repeats itself only with work space of a fixed size, which it looks up when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def wait(place: torch.device) -> None:
    """Until all work under way on the device is done, so that a clock measures it."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


@contextlib.contextmanager
def failures_explained() -> Iterator[None]:
    """Turn torch's ways to say that memory is used up, or that a kernel cannot repeat itself, into errors with a cure."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise MachineFailed(
                "out of memory",
                hint="close other programs and go on with --resume, or begin a run with a smaller batch_size or image_size",
            ) from error
        if "does not have a deterministic implementation" in str(error):
            raise NotSupported(
                f"this network has a part that cannot repeat itself on this accelerator: {str(error).splitlines()[0]}",
                hint="set deterministic = false: a resumed run then ends a little differently",
            ) from error
        raise
