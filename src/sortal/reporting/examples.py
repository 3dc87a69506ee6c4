"""Examples: which images stand for each cell of the confusion matrix, the most telling first, no more than a page holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.predictions import Predictions

MOST_OF_CELL = 12
MOST = 1500
"""Images over all cells; the cells of mistakes come first, the fullest before the others."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """P pairs of an image and the cell that it stands in, for C columns of cells: row of the predictions, cell, probability of
    what the column says, how telling (higher first), and whether the cell is of mistakes.
    """

    row_P: NDArray[np.int64]
    cell_P: NDArray[np.int64]
    probability_P: NDArray[np.floating[Any]]
    telling_P: NDArray[np.floating[Any]]
    mistake_P: NDArray[np.bool_]
    columns: int


def examples(predictions: Predictions) -> list[dict[str, Any]]:
    """Rows of cell (row and column of the confusion matrix) and images (source, probability), of one split's predictions.

    Of one label an image the column is what was said; mistakes come with the surest first, right answers with the least sure.
    Of several labels the row is the label and the column 1 for wrongly given, 2 for missed and 3 for found, and the probability
    is that of the label.
    """
    placed = PLACES[predictions.task](predictions)
    cells, counts = np.unique(placed.cell_P, return_counts=True)
    order = np.lexsort((placed.row_P, -placed.telling_P, placed.cell_P))
    starts = np.concatenate([[0], np.cumsum(counts)])
    mistaken = placed.mistake_P[order][starts[:-1]] if len(cells) else np.zeros(0, dtype=bool)
    found: list[dict[str, Any]] = []
    left = MOST
    for which in np.lexsort((cells, -counts, ~mistaken)).tolist():
        taken = order[starts[which] :][: min(int(counts[which]), MOST_OF_CELL, left)]
        if not len(taken):
            break
        left -= len(taken)
        images = [
            {"source": predictions.sources[placed.row_P[each]], "probability": float(placed.probability_P[each])}
            for each in taken.tolist()
        ]
        found.append({"cell": list(divmod(int(cells[which]), placed.columns)), "images": images})
    return sorted(found, key=lambda row: row["cell"])


def _places_of_one(predictions: Predictions) -> _Placed:
    rows = np.flatnonzero(predictions.labels_N >= 0)
    labels_P, guesses_P = predictions.labels_N[rows], predictions.probs_NK[rows].argmax(axis=1)
    sure_P = predictions.probs_NK[rows, guesses_P]
    wrong_P = labels_P != guesses_P
    columns = len(predictions.classes)
    return _Placed(rows, labels_P * columns + guesses_P, sure_P, np.where(wrong_P, sure_P, -sure_P), wrong_P, columns)


def _places_of_several(predictions: Predictions) -> _Placed:
    assert predictions.said_NK is not None
    there_NK, said_NK = predictions.labels_N > 0, predictions.said_NK
    rows, labels_P = np.nonzero((there_NK | said_NK) & np.asarray((predictions.labels_N >= 0).all(axis=1))[:, None])
    outcome_P = 2 * there_NK[rows, labels_P] + said_NK[rows, labels_P]
    sure_P = predictions.probs_NK[rows, labels_P]
    return _Placed(rows, labels_P * 4 + outcome_P, sure_P, np.where(outcome_P == 1, sure_P, -sure_P), outcome_P < 3, 4)


PLACES: dict[str, Callable[[Predictions], _Placed]] = {"multi_class": _places_of_one, "multi_label": _places_of_several}
