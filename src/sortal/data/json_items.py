"""The items of a JSON file's lists, one at a time: files of gigabytes are read in the memory of their largest item."""

import json
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, TextIO

from sortal.errors import DataError

BLOCK = 1 << 20
LARGEST = 64 << 20  # characters of one item
GAP = re.compile(r"[\s,:]*")
ENDS = tuple(" \t\r\n,:]}")
HINT = "fetch the file again from where the data set is published"


def items(path: Path, wanted: Container[str]) -> Iterator[tuple[str, Any]]:
    """(key, item) for every item of the lists that a file's one object has under the wanted keys, in the file's order.

    Other keys are passed over. Raises `DataError` for a file that is cut short or no such JSON.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from _Reader(file).items(wanted)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged, cut short or no JSON object: {error}", hint=HINT) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}", hint="check its permissions and the disk"
        ) from error


class _Reader:
    """A window on the text that moves forwards."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text = ""
        self.place = 0
        self.decoder = json.JSONDecoder()

    def items(self, wanted: Container[str]) -> Iterator[tuple[str, Any]]:
        self.expect("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise ValueError(f"{key!r} stands where a key should")
            if self.peek() != "[":
                self.value()
                continue
            self.expect("[")
            while self.peek() != "]":
                item = self.value()
                if key in wanted:
                    yield key, item
            self.expect("]")

    def peek(self) -> str:
        """The next character that is neither space, comma nor colon; commas and colons are taken on trust."""
        while True:
            gap = GAP.match(self.text, self.place)
            assert gap is not None
            self.place = gap.end()
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                raise ValueError("it ends too early")

    def expect(self, mark: str) -> None:
        if (found := self.peek()) != mark:
            raise ValueError(f"{found!r} stands where {mark!r} should")
        self.place += 1

    def value(self) -> Any:
        """The next value. A number that the window cuts looks whole, so what counts is what comes behind it."""
        self.peek()
        while True:
            problem = None
            try:
                value, end = self.decoder.raw_decode(self.text, self.place)
                if self.text[end : end + 1] in ENDS:
                    self.place = end
                    return value
            except json.JSONDecodeError as error:
                problem = error
            if len(self.text) - self.place > LARGEST or not self.more():
                raise problem or ValueError("a value does not end")

    def more(self) -> bool:
        # At least as much as is held: an item that spans many blocks is then parsed a few times, not once a block.
        block = self.file.read(max(BLOCK, len(self.text) - self.place))
        self.text = self.text[self.place :] + block
        self.place = 0
        return bool(block)
