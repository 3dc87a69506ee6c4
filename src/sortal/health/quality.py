"""Quality: images that show little or nothing, and images unlike the others in size or shape. By numbers, without a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.health.finding import Finding, Kind, Severity, counted, some

Numbers = NDArray[np.floating]

BLANK = 3.0
"""Deviation of grey levels (0 to 255) below which nothing is to be seen."""
DARK, BRIGHT = 40, 215
"""Grey levels. All but a hundredth of a very dark picture is below the one, of a very bright one above the other: a thing on a
black or white ground is neither."""
BLURRED = 0.12
"""Steps between neighbours at 64 pixels, as a share of the contrast. The least of 398 photographs and of 5,200 pictures of
CIFAR-10 have 0.15 and 0.18; photographs of 500 pixels blurred by 8 have 0.12 in the median."""
DRAWN, FEW_COLOURS, USUALLY = 0.6, 0.015, 0.5
"""A placeholder is a drawing among photographs: one colour has most of it, and there are few colours. Not so where more than
`SOME` of the pictures have a colour for half of themselves: then drawings are what the set is made of."""
SOME, FEWEST = 0.05, 10
"""Share of the pictures, each counted once however often it was saved, and the number below which a share says nothing."""
OFTEN = 10
"""Times as often as three quarters of the pictures that a drawing was saved, from which on it is a placeholder in any company:
no digit is drawn ten times to the same pixel (of 5,500 clothes and 1,797 digits none is there twice). A class of drawings that
were all saved ten times, to weigh more, is none."""
SMALL, LARGE = 4, 8
"""Times the median of the shorter sides that one may be smaller or larger."""
LONG = 3.0
"""Longer to shorter side that is odd, unless half as much is usual."""
UNLIKE = "keep what images to come will be like, remove the rest"


@dataclass(frozen=True, slots=True)
class Looks:
    """What N images look like: columns of numbers, as `data.looks` measures them, and sizes in pixels."""

    widths_N: Numbers
    heights_N: Numbers
    darkest_N: Numbers
    lightest_N: Numbers
    contrast_N: Numbers
    detail_N: Numbers
    commonest_N: Numbers
    colours_N: Numbers


def quality(sources: Sequence[str], looks: Looks, pictures_N: NDArray[np.int64] | None = None) -> list[Finding]:
    """Placeholders, then blank, dark, bright, blurred, small, large and long images: at most one finding of each.

    `pictures_N` is equal for rows of the same picture; None where no two are.
    """
    if not sources:
        return []
    pictures_N = np.arange(len(sources)) if pictures_N is None else pictures_N
    placeholder_N, blank_N = placeholders(looks, pictures_N), blanks(looks)
    most = int(np.unique(pictures_N[placeholder_N], return_counts=True)[1].max(initial=0))
    times = f" (one of them {most:,} times)" if most > 1 else ""
    shown_N = ~blank_N & ~placeholder_N
    sides_N = np.minimum(looks.widths_N, looks.heights_N)
    middle = float(np.median(sides_N))
    ratios_N = np.maximum(looks.widths_N, looks.heights_N) / np.maximum(sides_N, 1)
    long = max(LONG, 2 * float(np.percentile(ratios_N, 95)))
    sizes = [f"{width:.0f} x {height:.0f}" for width, height in zip(looks.widths_N, looks.heights_N, strict=True)]
    lines: list[tuple[Kind, Severity, NDArray[np.bool_], str, str, Sequence[str]]] = [
        ("placeholder", "warning", placeholder_N, f"like a placeholder, a drawing among photographs{times}",
         "look, and remove what stands for a picture that could not be found", ()),
        ("quality", "warning", blank_N, "blank, of one even colour", "remove what shows nothing", ()),
        ("quality", "note", shown_N & (looks.lightest_N < DARK), "very dark", UNLIKE, ()),
        ("quality", "note", shown_N & (looks.darkest_N > BRIGHT), "very bright", UNLIKE, ()),
        ("quality", "note", shown_N & (looks.detail_N < BLURRED), "blurred, or with hardly any detail", UNLIKE, ()),
        ("quality", "note", sides_N * SMALL < middle, f"far smaller than most ({middle:.0f} pixels)",
         "find larger versions, if the images to come will be larger", sizes),
        ("quality", "note", sides_N > LARGE * middle, f"far larger than most ({middle:.0f} pixels)",
         "nothing, if the things on them are seen from the same distance", sizes),
        ("quality", "note", ratios_N > long, "far from square, of which training sees the middle alone",
         "cut to the subject, if that is not in the middle", sizes),
    ]  # fmt: skip
    return [finding for line in lines for finding in _told(sources, *line)]


def blanks(looks: Looks) -> NDArray[np.bool_]:
    """Which images show one even colour, shape (N,)."""
    return np.asarray(looks.contrast_N < BLANK)


def placeholders(looks: Looks, pictures_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images look like a drawing among photographs, or like a drawing that was saved again and again, shape (N,).

    `pictures_N` is equal for rows of the same picture. How often one was saved does not make a set one of drawings.
    """
    drawn_N = (looks.commonest_N >= DRAWN) & (looks.colours_N <= FEW_COLOURS) & ~blanks(looks)
    _, first_P, which_N, times_P = np.unique(pictures_N, return_index=True, return_inverse=True, return_counts=True)
    even = int((looks.commonest_N[first_P] > USUALLY).sum())
    if len(first_P) >= FEWEST and even <= max(1, SOME * len(first_P)):
        return np.asarray(drawn_N)
    often_P = times_P >= OFTEN * np.percentile(times_P, 75) if len(times_P) else times_P > 0
    return np.asarray(drawn_N & often_P[which_N])


def _told(
    sources: Sequence[str],
    kind: Kind,
    severity: Severity,
    which_N: NDArray[np.bool_],
    what: str,
    cure: str,
    tags: Sequence[str],
) -> list[Finding]:
    rows = np.flatnonzero(which_N).tolist()
    if not rows:
        return []
    named = some([f"{sources[row]} ({tags[row]})" if tags else sources[row] for row in rows])
    detail = f"{counted(len(rows), 'image')} {what}: {named}"
    return [Finding(kind, severity, tuple(sources[row] for row in rows), detail, cure)]
