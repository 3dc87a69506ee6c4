"""The recipe: everything a run needs, frozen and validated, and its TOML form."""

from sortal.recipe.augment import Augment
from sortal.recipe.learning import Average, Best, Grow, Loss, Optimizer, Sampler, Schedule, Start, Stop
from sortal.recipe.model import Head, Recipe, Split, Store, Thaw
from sortal.recipe.text import STRATEGIES, check_settings, flattened, override, parse, parsed, read, without_the_idle, write

__all__ = [
    "STRATEGIES", "Augment", "Average", "Best", "Grow", "Head", "Loss", "Optimizer", "Recipe", "Sampler", "Schedule", "Split",
    "Start", "Stop", "Store", "Thaw", "check_settings", "flattened", "override", "parse", "parsed", "read",
    "without_the_idle", "write",
]  # fmt: skip
