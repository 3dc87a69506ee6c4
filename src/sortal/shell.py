"""What a person is told to type: each word as a shell takes it, whatever a folder is called."""

import os
import shlex
from pathlib import Path


def typed(*words: str | Path) -> str:
    """A command whose words are quoted where a shell would split, expand or end them. A path never reads as an option, and
    what does not print is spelt out as bash and zsh read it.

    >>> print(typed("sortal", "predict", Path("runs/my run"), "photo.jpg"))
    sortal predict 'runs/my run' photo.jpg
    >>> print(typed(Path("-x")), typed(Path("it's")), typed(Path("a\\x1bb")))
    ./-x 'it'"'"'s' $'a\\x1bb'
    """
    return " ".join(_quoted(_no_option(word) if isinstance(word, Path) else word) for word in words)


def _no_option(path: Path) -> str:
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_spelt, word)) + "'"


def _spelt(mark: str) -> str:
    if mark in "\\'":
        return f"\\{mark}"
    return mark if mark.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(mark))
