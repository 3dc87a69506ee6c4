"""Engines: what turns recipes into trained networks. They are reached by name, so that no framework is imported unasked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from sortal.errors import MissingExtra
from sortal.events import Observer
from sortal.registry import Entry, Registry

if TYPE_CHECKING:  # what it stands on takes a second to import, and inference needs none of it
    from sortal.engines.protocol import Engine

ENGINES = Registry("engine")
ENGINES.add("torch", "sortal.engines.torch.engine:ENGINE", "PyTorch, with timm's architectures")


CATALOGUES = Registry("engine")
CATALOGUES.add("torch", "sortal.engines.torch.models.listing", "our own networks, timm's and torchvision's")


class Catalogue(Protocol):
    """What an engine can tell about its architectures, for `sortal models`."""

    def rows(self, *patterns: str) -> list[dict[str, Any]]:
        """A row for each name that is, contains or matches a pattern, with the contract's keys; raises `UnknownName`."""

    def layers(self, name: str) -> list[dict[str, Any]]:
        """The layers of one network: name, kind, output, parameters; raises `UnknownName`."""

    def measured(self, names: Sequence[str], observe: Observer) -> dict[str, dict[str, Any]]:
        """Images a second and peak memory on this machine, or the error, by name."""


def load(name: str) -> "Engine":
    """The engine of that name; raises `UnknownName`, or `MissingExtra` where its framework is not installed."""
    return cast("Engine", _loaded(ENGINES[name]))


def catalogue(name: str) -> Catalogue:
    """The architectures of that engine; raises as `load` does."""
    return cast(Catalogue, _loaded(CATALOGUES[name]))


def _loaded(entry: Entry) -> Any:
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != "sortal":
            raise MissingExtra(f"{error.name} (needed to train with {entry.name})", entry.name) from error
        raise
