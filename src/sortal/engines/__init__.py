"""Engines: what turns recipes into trained networks. They are reached by name, so that no framework is imported unasked."""

from typing import cast

from sortal.engines.protocol import Engine
from sortal.errors import MissingExtra
from sortal.registry import Registry

ENGINES = Registry("engine")
ENGINES.add("torch", "sortal.engines.torch.engine:ENGINE", "PyTorch, with timm's architectures")


def load(name: str) -> Engine:
    """The engine of that name; raises `UnknownName`, or `MissingExtra` where its framework is not installed."""
    entry = ENGINES[name]
    try:
        return cast(Engine, entry.load())
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != "sortal":
            raise MissingExtra(f"{error.name} (needed to train with {name})", name) from error
        raise
