"""Tables of names: each name leads to a "module:attribute" address that is imported only on use, with one line about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from sortal.errors import UnknownName


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered thing: where it is and what it is."""

    name: str
    address: str
    about: str

    def load(self) -> Any:
        """Import and return it."""
        module, _, attribute = self.address.partition(":")
        found = import_module(module)
        return getattr(found, attribute) if attribute else found


@dataclass(frozen=True, slots=True)
class Registry:
    """A table of entries of one kind, such as 'model' or 'recipe'."""

    kind: str
    hint: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, name: str, address: str, about: str) -> None:
        """Register `name`; a name that is taken is a programmer's mistake."""
        assert name not in self.entries, f"{self.kind} {name!r} is registered twice"
        self.entries[name] = Entry(name, address, about)

    def __getitem__(self, name: str) -> Entry:
        if name not in self.entries:
            raise UnknownName(self.kind, name, self.entries, hint=self.hint)
        return self.entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())
