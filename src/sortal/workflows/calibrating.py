"""Calibrating: from what a trained network says of held-out images to all that its bundle decides by.

Nothing here sees a test image. What a decision is taken from, and what it is worth there, comes from calibrators that did not
see the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.data.samples import Samples
from sortal.decision import Conformal, DecisionRule, Novelty
from sortal.engines.graphs import LOGITS
from sortal.engines.onnx import OnnxGraph
from sortal.engines.protocol import Assembled
from sortal.errors import DataError
from sortal.evaluation import crossfit, selective
from sortal.evaluation.calibrators import Calibrator, uncalibrated
from sortal.evaluation.novelty import FEWEST, Memory, remembered, room
from sortal.evaluation.task import Task
from sortal.events import Decision
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe

MOST_THRESHOLDS = 12
"""Thresholds that a decision names; the bundle has them all."""
OUT_OF_FOLD = "out-of-fold predictions of the training images"
VALIDATION = "the validation split"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a network says of M images that it did not learn from."""

    rows_M: NDArray[np.int64]
    """Of the samples."""
    logits_MK: NDArray[np.float32]
    labels: NDArray[np.int64]
    folds_M: NDArray[np.int64] | None
    """None where they are one split."""
    features_MD: NDArray[np.float32] | None
    name: str


@dataclass(frozen=True, slots=True)
class Calibrated:
    """All that makes answers of logits, and what it was taken from.

    Attributes:
        choice: the calibrator, what it was chosen from, honest probabilities of the held-out images; None without any.
        thresholds_K: of several labels an image, from which probability on each is said; else empty.
        said_MK: which labels are said of the held-out images, by thresholds of other images; None where it is one label.
        rule: when a label is said.
        conformal, memory, novelty: None where there is nothing to take them from; `left_out` then says why.
        fitted_on: the data, in words.
    """

    held_out: HeldOut | None
    choice: crossfit.Choice | None
    calibrator: Calibrator
    thresholds_K: tuple[float, ...]
    said_MK: NDArray[np.bool_] | None
    rule: DecisionRule
    conformal: Conformal | None
    memory: Memory | None
    novelty: Novelty | None
    left_out: dict[str, str]
    fitted_on: str

    def about(self) -> dict[str, Any]:
        """The keys of `bundle.json`."""
        conformal = None if self.conformal is None else self.conformal.to_json()
        novelty = None if self.novelty is None else self.novelty.to_json()
        calibration = {
            **self.calibrator.to_json(),
            "chosen_on": self.fitted_on,
            "candidates": self.candidates,
            "conformal": conformal,
        }
        return {
            "temperature": self.calibrator.temperature,
            **({"thresholds": list(self.thresholds_K)} if self.thresholds_K else {}),
            "calibration": calibration,
            "decision": self.rule.to_json(),
            "novelty": novelty,
        }

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """Methods and their cross-fitted log loss."""
        return [] if self.choice is None else [each.to_json() for each in self.choice.candidates]


def held_out(
    assembled: Assembled,
    samples: Samples,
    preprocess: Preprocess,
    recipe: Recipe,
    out_of_fold: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
) -> HeldOut | None:
    """The logits to calibrate on: those out of fold (with each sample's fold), else of the validation split; None where there
    is neither.
    """
    if out_of_fold is not None:
        logits_NK, folds_N = out_of_fold
        rows_M = np.flatnonzero(folds_N >= 0)
        return HeldOut(rows_M, logits_NK[rows_M], samples.labels_N[rows_M], folds_N[rows_M], None, OUT_OF_FOLD)
    if "val" not in samples.splits:
        return None
    rows_M = samples.splits["val"]
    found = OnnxGraph(assembled.graph, threads=recipe.threads).outputs_of_rows(samples.pixels, rows_M, preprocess)
    return HeldOut(rows_M, found[LOGITS], samples.labels_N[rows_M], None, found["features"], VALIDATION)


def calibrated(
    held: HeldOut | None, samples: Samples, recipe: Recipe, judge: Task, groups_N: NDArray[np.int64] | None = None
) -> Calibrated:
    """Choose and fit everything; `groups_N` are those of the samples, and what is promised is then of an image of a new one."""
    memory, why_no_memory = _memory(held, samples, recipe)
    left_out = {} if memory else {"novelty": why_no_memory}
    if held is None:
        none = np.zeros((0, len(samples.classes)))
        return Calibrated(
            held_out=None,
            choice=None,
            calibrator=uncalibrated(judge.activation),
            thresholds_K=judge.fit_thresholds(none, judge.unknown(*none.shape)),
            said_MK=None,
            rule=_rule(recipe, samples.classes, None),
            conformal=None,
            memory=memory,
            novelty=memory.described() if memory else None,
            left_out=left_out | {"conformal": "nothing was held out to take the threshold from"},
            fitted_on="nothing: there is no validation split, so probabilities are not calibrated",
        )
    groups_M = None if groups_N is None else groups_N[held.rows_M]
    choice = crossfit.chosen(held.logits_MK, held.labels, judge.activation, held.folds_M, groups_M)
    thresholds_K, said_MK = _thresholds(choice, held, judge)
    one_label = held.labels.ndim == 1
    sets = crossfit.conformal(choice.probs_MK, held.labels, groups_M=groups_M) if one_label else None
    if sets is None:
        what = f"{len(held.labels)} held-out images"
        if groups_M is not None:
            what += f" of {len(np.unique(groups_M))} groups"
        left_out["conformal"] = f"{what} are too few" if one_label else "an image may have several labels"
    return Calibrated(
        held_out=held,
        choice=choice,
        calibrator=choice.calibrator,
        thresholds_K=thresholds_K,
        said_MK=said_MK,
        rule=_rule(recipe, samples.classes, (choice.probs_MK, held.labels, groups_M)),
        conformal=sets,
        memory=memory,
        novelty=memory.described() if memory else None,
        left_out=left_out,
        fitted_on=held.name,
    )


def told(found: Calibrated, classes: Sequence[str]) -> list[Decision]:
    """What was chosen, and why, for a person."""
    calibrator = found.calibrator
    why = "fitted" if found.choice is None else crossfit.told(found.choice)
    reason = f"{why} on {found.fitted_on}"
    value = f"temperature {calibrator.temperature:.3f}" if calibrator.method == "temperature" else calibrator.method
    decisions = [Decision("calibration", value, reason)]
    if found.thresholds_K:
        pairs = list(zip(classes, found.thresholds_K, strict=True))
        named = ", ".join(f"{name} {threshold:.2f}" for name, threshold in pairs[:MOST_THRESHOLDS])
        more = f" and {len(pairs) - MOST_THRESHOLDS:,} more" if len(pairs) > MOST_THRESHOLDS else ""
        decisions.append(Decision("thresholds", named + more, f"each label's best F1 on {found.fitted_on}"))
    if found.rule.threshold and found.choice is not None and found.held_out is not None:
        worth = selective.judged(replace(found.rule, novelty=1.0), found.choice.probs_MK, found.held_out.labels)
        what = "never says a label" if not worth["coverage"] else f"a label is said of {100 * worth['coverage']:.1f}%"
        wrong = "" if worth["accuracy"] is None else f", {100 * (1 - worth['accuracy']):.1f}% of them wrong"
        decisions.append(Decision("decision", f"from {found.rule.threshold:.3f} on", f"{what}{wrong} on {found.fitted_on}"))
    return decisions


def check_decision(recipe: Recipe, manifest: Manifest) -> None:
    """Raise `DataError` for a rule that these images cannot give, before anything is trained."""
    decide, classes = recipe.decision, manifest.classes
    named = set(decide.costs) | {name for costs in decide.costs.values() for name in costs}
    strange = sorted(named - set(classes))
    if strange:
        raise DataError(
            f"decision.costs names {', '.join(map(repr, strange))}; the classes are {', '.join(map(repr, classes))}",
            hint="name classes as the images do",
        )
    if not decide.error_rate:
        return
    held = manifest.split("train" if recipe.split.folds else "val")
    names = [name for name in held.column("group") if name is not None]
    count = len(held) - len(names) + len(set(names))
    fewest = int(np.ceil(1 / decide.error_rate - 1))
    if count < fewest:
        grouped = count < len(held)  # then images of one group are no more than one
        what = f"{count} {'groups of ' if grouped else ''}held-out images (folds or a validation split)"
        raise DataError(
            f"decision.error_rate = {decide.error_rate:g} cannot be shown with {what}: it takes {fewest:,}",
            hint="set split.val=0.2 or split.folds=5, ask for a larger error rate, or give more "
            + ("groups" if grouped else "images"),
        )


def _memory(held: HeldOut | None, samples: Samples, recipe: Recipe) -> tuple[Memory | None, str]:
    """The familiar images' features; or why there are none."""
    if recipe.strategy == "features" and samples.features is not None:
        rows_M = samples.splits["train"]
        most = max(1, room(samples.features.shape[0]))
        if len(rows_M) > most:  # reading all of a large store to keep a few would take time
            rows_M = rows_M[np.linspace(0, len(rows_M) - 1, most).astype(np.int64)]
        features_MD = samples.features.plain(rows_M)
    elif held is not None and held.features_MD is not None:
        # The network learnt its features from the training images, to which it is no stranger.
        features_MD = held.features_MD
    elif held is not None and held.name == OUT_OF_FOLD:
        return None, "cross-validation keeps no features of a network that learnt"
    else:
        return None, "there is no validation split, whose images the network did not learn its features from"
    memory = remembered(features_MD)
    return memory, "" if memory else f"fewer than {FEWEST} familiar images can be remembered"


def _rule(
    recipe: Recipe,
    classes: Sequence[str],
    shown: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64] | None] | None,
) -> DecisionRule:
    """The recipe's wish as a rule of the bundle; `shown` are honest probabilities, labels and groups of held-out images."""
    decide = recipe.decision
    costs_KK: tuple[tuple[float, ...], ...] = ()
    if decide.costs:
        costs_KK = tuple(
            tuple(0.0 if true == said else decide.costs.get(true, {}).get(said, 1.0) for said in classes) for true in classes
        )
    return DecisionRule(
        threshold=selective.threshold_for(decide.error_rate, *shown) if decide.error_rate and shown is not None else 0.0,
        costs_KK=costs_KK,
        abstain_cost=decide.abstain_cost or None,
        novelty=decide.novelty,
    )


def _thresholds(choice: crossfit.Choice, held: HeldOut, judge: Task) -> tuple[tuple[float, ...], NDArray[np.bool_] | None]:
    """Each label's threshold, and which labels are said of the held-out images by thresholds of other folds."""
    thresholds_K = judge.fit_thresholds(choice.calibrator(held.logits_MK), held.labels)
    if not thresholds_K or held.folds_M is None:
        return thresholds_K, None
    thresholds_MK = np.zeros(held.logits_MK.shape)
    for fold in np.unique(held.folds_M):
        held_M = held.folds_M == fold
        thresholds_MK[held_M] = judge.fit_thresholds(choice.probs_MK[~held_M], held.labels[~held_M])
    return thresholds_K, judge.said(choice.probs_MK, thresholds_MK)
