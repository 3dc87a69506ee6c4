"""The recipe: everything a run needs, frozen and validated, and its TOML form."""

from sortal.recipe.augment import Augment
from sortal.recipe.learning import Average, Best, Grow, Loss, Optimizer, Sampler, Schedule, Start, Stop
from sortal.recipe.model import Head, Recipe, Split, Store, Thaw
from sortal.recipe.text import check_settings, flattened, override, parse, parsed, read, write

__all__ = [
    "Augment", "Average", "Best", "Grow", "Head", "Loss", "Optimizer", "Recipe", "Sampler", "Schedule", "Split", "Start",
    "Stop", "Store", "Thaw", "check_settings", "flattened", "override", "parse", "parsed", "read", "write",
]  # fmt: skip
