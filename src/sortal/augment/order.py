"""Which operations come when, and which images get them: stages in the recipe's order, and the chances and groups of it."""

import numpy as np
from numpy.typing import NDArray

from sortal.augment import draws
from sortal.augment.parameters import Position, coins
from sortal.recipe import Augment

COPIES = ("crop", "flip", "vertical_flip", "quarter_turns")
"""Operations that only move whole pixels, as long as a crop is not resized."""
AFFINE = ("shear", "rotate", "zoom", "translate")
"""Operations that `parameters.affine` does at once, in this order."""
STRAIGHT = COPIES + AFFINE
"""Operations that move an image without bending it: neighbours among them are one stage, with one interpolation."""

Stage = tuple[str, ...]
Chosen = dict[str, NDArray[np.bool_]]
"""Operations that not all images get, each with which of them do, shape (N,)."""


def stages(spec: Augment) -> list[Stage]:
    """What is done, in order. A crop is always there, if only that of the centre, and comes first where the order omits it."""
    on = spec.on
    named = [name for name in spec.order if name in on or name == "crop"]
    found: list[Stage] = []
    for name in named if "crop" in named else ["crop", *named]:
        # A padded crop copies bytes, and its border is not that of an interpolation: it does not join what came before.
        joins = name in STRAIGHT and not (name == "crop" and spec.crop == "padded")
        if joins and found and found[-1][-1] in STRAIGHT:
            found[-1] = (*found[-1], name)
        else:
            found.append((name,))
    return found


def by_copying(stage: Stage, spec: Augment) -> bool:
    """Whether a stage of straight operations needs no interpolation."""
    return set(stage) <= set(COPIES[1:] if spec.crop == "resized" else COPIES)


def stretches(stage: Stage, chosen: Chosen) -> list[Stage]:
    """The stage's operations one by one, but neighbours that are one matrix together: affine ones that every image gets."""
    found: list[Stage] = []
    for name in stage:
        last = found[-1][-1] if found else ""
        both_for_all = last in AFFINE and name in AFFINE and not {last, name} & chosen.keys()
        if both_for_all and AFFINE.index(last) < AFFINE.index(name):
            found[-1] = (*found[-1], name)
        else:
            found.append((name,))
    return found


def chosen(at: Position, spec: Augment) -> Chosen:
    """Who gets what, by `chance` and `one_of`."""
    found = {name: coins(at, f"chance {name}", share) for name, share in spec.chance.items()}
    for number, group in enumerate(spec.one_of):
        uniform_N2 = at.uniform(f"one_of {number}", 2)
        drawn_N = draws.integers(uniform_N2[:, 0], 0, len(group) - 1)
        for place, name in enumerate(group):
            found[name] = (drawn_N == place) & (uniform_N2[:, 1] < spec.one_of_chance)
    return found
