"""What can go wrong, as a small tree; every error carries a hint that says what to do about it.

SortalError                     exit code
├── DataError (ValueError)          2       the images, labels or table given cannot be used
├── UnreadableImage (ValueError)    1       one image cannot be read; the others can
├── RecipeError (ValueError)        2       all problems of a recipe at once
├── UnknownName (LookupError)       2       no such model, recipe, data set or split; the nearest is named
├── WeightsError (ValueError)       2       a weights file that does not fit the model
├── BundleError (ValueError)        2       a bundle or run that is damaged or incomplete
├── RunExists (FileExistsError)     2       the folder holds another run; nothing was touched
├── MissingExtra (ImportError)      2       an optional dependency is not installed
├── NotSupported (ValueError)       2       what this engine or combination cannot do
├── ParityError (ArithmeticError)   1       an export that does not agree with its model
├── Diverged (ArithmeticError)      1       a training whose loss is no number any more
└── MachineFailed (OSError)         3       disk full, device lost, out of memory; what was finished is kept
    └── OutOfMemory                 3       with everything as it was before: less at once may still do
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class SortalError(Exception):
    """Base of all errors of ours: `str(error)` says what and where, `error.hint` says what to do."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class DataError(SortalError, ValueError):
    """The images, labels or table given cannot be used."""


class UnreadableImage(SortalError, ValueError):
    """One image cannot be read; its message is the reason, without the name of the file."""

    exit_code = 1


class RecipeError(SortalError, ValueError):
    """A recipe with problems; `problems` lists every one as 'key: what is wrong'."""

    def __init__(self, problems: Sequence[str], *, place: str = "the recipe", hint: str = "") -> None:
        super().__init__("\n  ".join([f"{place} has problems:", *problems]), hint=hint)
        self.problems = tuple(problems)


class UnknownName(SortalError, LookupError):
    """A name that stands in no table; the nearest names are in the hint."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        near = get_close_matches(name, list(known), n=3, cutoff=0.5)
        guess = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
        super().__init__(f"there is no {kind} called {name!r}", hint=f"{guess}{hint}".strip())


class WeightsError(SortalError, ValueError):
    """A weights file that cannot be read or whose tensors do not fit the model."""


class BundleError(SortalError, ValueError):
    """A bundle, run or checkpoint that is damaged, changed or incomplete."""


class RunExists(SortalError, FileExistsError):
    """The folder asked for holds something else; nothing was touched."""


class MissingExtra(SortalError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed", hint=f'pip install "sortal[{extra}]"')


class NotSupported(SortalError, ValueError):
    """What this engine, or this combination of options, cannot do."""


class ParityError(SortalError, ArithmeticError):
    """An exported graph whose answers differ from the model's."""

    exit_code = 1


class Diverged(SortalError, ArithmeticError):
    """A training whose loss is no number any more."""

    exit_code = 1


class MachineFailed(SortalError, OSError):
    """The machine failed: disk full, device lost, out of memory. What was finished is kept."""

    exit_code = 3


class OutOfMemory(MachineFailed):
    """Memory ran out in the middle of something that left nothing behind: it can be tried again with less at once."""
