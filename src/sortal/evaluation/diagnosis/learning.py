"""How the training went: rules about its curves, its rates and the network that it began with."""

from collections.abc import Callable
from typing import Any

from sortal.evaluation.diagnosis.case import SOLVED, Case, Diagnosis, Severity, augmenting, rises, tail

USUAL = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3, "muon": 0.1}
"""Rates that are usual for each optimiser, by the tutorials."""
LOW = {"sgd": 1e-3, "adam": 1e-5, "adamw": 1e-5, "rmsprop": 1e-5, "muon": 1e-3}
"""Rates below which hardly anything is learnt in a usual number of epochs."""
LARGER = {
    "lenet5": "compact_s", "simple_cnn": "compact", "compact_s": "compact", "compact": "compact_l", "brisk_s": "brisk",
    "brisk": "brisk_r",
    "brisk_r": "brisk_l",
}  # fmt: skip
"""Of our networks, the next one that can hold more."""
LONG = 8
"""Epochs of a training that is no short one."""
FEW = 2_000
"""Training images below which a pretrained network is better left frozen, as in the plan."""


def rate_too_high(case: Case) -> Diagnosis | None:
    """The loss begins above that of a guess, jumps about while the rate is high, or never leaves the guess."""
    losses, guess, recipe = case.losses, case.guess, case.recipe
    if recipe.optimizer.name == SOLVED:
        return None  # it has no rate
    evidence = _blown(case) or _wild(case) or _stuck(case)
    if not evidence:
        return None
    rate = recipe.learning_rate
    change: dict[str, Any] = {"learning_rate": _tenth(rate)}
    if recipe.schedule.warmup < 0.1 and recipe.schedule.name not in ("step", "multi_step"):
        change["schedule.warmup"] = 0.1
    if not recipe.optimizer.clip:
        change["optimizer.clip"] = 1.0
    cure = f"a tenth of the rate, {_tenth(rate):g}, reached by a warm-up"
    if recipe.strategy == "full" and case.pretrained:
        change["strategy"] = "staged"
        cure += "; and the head first, since large steps destroy what the pretrained layers know"
    severity: Severity = "severe" if losses[-1] > 0.9 * guess else "warning" if losses[-1] > 0.2 * guess else "note"
    return Diagnosis("rate-too-high", severity, evidence, cure, change)


def _blown(case: Case) -> str:
    losses, guess = case.losses, case.guess
    if not losses or case.recipe.loss.name != "cross_entropy" or max(losses) <= 1.3 * guess:
        return ""
    epoch = losses.index(max(losses)) + 1
    return (
        f"in epoch {epoch} the training's loss was {max(losses):.2f}, where guessing costs {guess:.2f}; the learning rate is "
        f"{case.recipe.learning_rate:g}"
    )


def _wild(case: Case) -> str:
    """Rises of the loss while the rate is high, but for those after a restart or a thaw, which have other reasons."""
    losses, rates = case.losses, case.rates
    if len(losses) < 4 or case.recipe.schedule.restarts:
        return ""
    excused = {epoch + after for epoch in case.thawing for after in (0, 1)}
    peak = max(rates)
    jumps = [
        (number + 2, rise)
        for number, rise in enumerate(rises(losses))
        if rates[number] >= 0.3 * peak and number + 2 not in excused and rise > max(0.1 * losses[number], 0.05 * case.guess)
    ]
    if len(jumps) < max(2, len(losses) // 5):
        return ""
    epoch, rise = max(jumps, key=lambda jump: jump[1])
    return (
        f"the training's loss rose in {len(jumps)} of {len(losses) - 1} epochs, by {rise:.2f} in epoch {epoch}; the learning "
        f"rate is {case.recipe.learning_rate:g}"
    )


def _stuck(case: Case) -> str:
    losses, recipe = case.losses, case.recipe
    usual = USUAL[recipe.optimizer.name]
    if not losses or recipe.loss.name != "cross_entropy" or case.mixes or min(losses) < 0.93 * case.guess:
        return ""
    if recipe.learning_rate < 5 * usual:
        return ""
    times = recipe.learning_rate / usual
    return (
        f"after {len(losses)} epochs the training's loss is {losses[-1]:.2f}, and guessing costs {case.guess:.2f}; the rate of "
        f"{recipe.learning_rate:g} is {times:.0f} times what is usual for {recipe.optimizer.name}"
    )


def thawed_rate_too_high(case: Case) -> Diagnosis | None:
    """The loss jumps when layers that were frozen begin to learn: their rate destroys what they knew.

    That of the training rises a little at any rate, since thawed batch norms see each batch alone and thawed layers drop units:
    with a hundredth of the head's rate it went from 0.07 to 0.31 on ants and bees, where the validation's stayed. So it is
    looked at only where there is no other, and has to reach what guessing costs.
    """
    name, curve, worst = ("validation's", case.held_out, 0.0) if case.held_out else ("training's", case.losses, case.guess)
    for epoch in case.thawing:
        if 2 <= epoch <= len(curve):
            before, after = curve[epoch - 2], max(curve[epoch - 1 : epoch + 1])
            if after <= max(worst, 1.2 * before + 0.03 * case.guess):
                continue
            recipe = case.recipe
            evidence = f"layers thaw in epoch {epoch}, and the {name} loss went from {before:.3f} before it to {after:.3f}"
            if recipe.strategy == "staged":
                lower = _tenth(recipe.schedule.thawed_rate)
                evidence += f"; thawed layers learn at {recipe.schedule.thawed_rate:g} of the head's rate"
                change = {"schedule.thawed_rate": lower}
                cure = f"let what is thawed learn at {lower:g} of the head's rate, 10 to 100 times slower"
            else:
                change = {"learning_rate": _tenth(recipe.learning_rate)}
                cure = f"a tenth of the rate, {_tenth(recipe.learning_rate):g}: a head may take it, pretrained layers do not"
            return Diagnosis("thawed-rate-too-high", "warning", evidence, cure, change)
    return None


def overfitting(case: Case) -> Diagnosis | None:
    """The training images are learnt by heart: their loss falls while that of held-out images rises, or is far above it."""
    evidence = _risen(case) or _apart(case)
    if not evidence:
        return None
    change, told = _less_by_heart(case)
    # Where the best epoch is what is shipped, the later ones did no harm.
    severity: Severity = "note" if case.held_out and case.recipe.best.monitor != "last" else "warning"
    return Diagnosis("overfitting", severity, evidence, f"{told}; more images are better than all of it", change)


def _less_by_heart(case: Case) -> tuple[dict[str, Any], str]:
    """The first of what is not done yet. One at a time: of 400 small images, augmentation, dropout and decay together cost more
    than they won (validation loss 0.82, where the best epoch of the overfitted training had 0.70)."""
    recipe = case.recipe
    if case.held_out and recipe.best.monitor == "last":
        change = {"best.monitor": "log_loss", "stop.patience": max(3, recipe.epochs // 10)}
        return change, "keep the epoch that is best on validation images, and stop soon after it"
    if not recipe.augment.on:
        return augmenting(recipe), "augmentation; then dropout and weight decay"
    if recipe.head.dropout < 0.3:
        return {"head.dropout": 0.3}, "dropout before the classes; then weight decay"
    if recipe.optimizer.weight_decay < 1e-3:
        return {"optimizer.weight_decay": 1e-3}, "more weight decay"
    return {}, "a smaller network, or a pretrained one that stays frozen"


def _risen(case: Case) -> str:
    losses, held_out = case.losses, case.held_out
    if len(held_out) < 4:
        return ""
    best = min(held_out)
    at = held_out.index(best)
    last = sum(held_out[-tail(len(held_out)) :]) / tail(len(held_out))
    rose = last > 1.15 * best + 0.02 * case.guess
    fell = losses[-1] < 0.9 * losses[at] or losses[-1] < 0.02 * case.guess
    if at >= len(held_out) - 2 or not rose or not fell:
        return ""
    return (
        f"the loss on validation images was lowest in epoch {at + 1}, {best:.3f}, and has risen to {held_out[-1]:.3f} since, "
        f"while that of the training fell from {losses[at]:.3f} to {losses[-1]:.3f}"
    )


def _apart(case: Case) -> str:
    """Of training images the loss with augmentation and dropout counts, which without them would be lower still."""
    losses = case.losses
    if not losses or not case.comparable:
        return ""
    where, held_out = "validation", case.held_out[-1] if case.held_out else None
    if held_out is None and "cross_validation" in case.metrics:
        where, held_out = "held-out", case.metrics["cross_validation"].get("log_loss")
    if held_out is None or held_out - losses[-1] < 0.25 * case.guess or losses[-1] > 0.5 * held_out:
        return ""
    times = held_out / max(losses[-1], 1e-3)
    return f"the loss on training images is {losses[-1]:.3f}, on {where} images {held_out:.3f}: {times:.0f} times as high"


def underfitting(case: Case) -> Diagnosis | None:
    """Training images are hardly learnt, and it gets no better: too small a network, much regularisation, or a low rate."""
    losses, recipe = case.losses, case.recipe
    if len(losses) < 2 or recipe.loss.name != "cross_entropy":
        return None
    level = case.held_out[-1] if case.mixes and case.held_out else None if case.mixes else losses[-1]
    if level is None or level < 0.6 * case.guess:
        return None
    if case.held_out and case.held_out[-1] > level + 0.25 * case.guess:
        return None  # held-out images fare worse still: that is another matter
    ended = min(tail(len(losses)), len(losses) - 1)
    fell = losses[-1 - ended] - losses[-1]
    when = f"{ended} epochs" if ended > 1 else "one"
    evidence = (
        f"after {len(losses)} epochs the loss is {losses[-1]:.3f} on training images"
        + (f" and {case.held_out[-1]:.3f} on validation images" if case.held_out else "")
        + f", where guessing costs {case.guess:.3f}; in the last {when} it {'rose' if fell < 0 else 'fell'} by {abs(fell):.3f}"
        + " on training images"
    )
    change, cure = _more_freedom(case)
    return Diagnosis("underfitting", "warning", evidence, cure, change)


def _more_freedom(case: Case) -> tuple[dict[str, Any], str]:
    """The first of: a rate that moves, less regularisation, a model that can hold more, more epochs."""
    recipe = case.recipe
    if recipe.optimizer.name != SOLVED and recipe.learning_rate < LOW[recipe.optimizer.name]:
        rate = USUAL[recipe.optimizer.name]
        return {"learning_rate": rate}, f"the rate of {recipe.learning_rate:g} hardly moves anything: {rate:g} is usual"
    strong = {
        "augment.mixup": (recipe.augment.mixup > 0, 0.0),
        "augment.cutmix": (recipe.augment.cutmix > 0, 0.0),
        "augment.trivial_augment": (recipe.augment.trivial_augment, False),
        "augment.rand_augment": (recipe.augment.rand_augment > 0, 0),
        "augment.erase": (recipe.augment.erase > 0.25, 0.0),
        "head.dropout": (recipe.head.dropout > 0.3, 0.0),
        "optimizer.weight_decay": (recipe.optimizer.weight_decay > 0.01, 1e-4),
        "loss.label_smoothing": (recipe.loss.label_smoothing > 0.1, 0.0),
    }
    change: dict[str, Any] = {key: value for key, (much, value) in strong.items() if much}
    if change:
        return change, f"less regularisation: {', '.join(change)}"
    if recipe.strategy == "features" and recipe.head.kind == "linear":
        return {"head.kind": "mlp"}, "a head with a hidden layer; or thaw the last layers (strategy 'last_layers')"
    if recipe.model in LARGER:
        return {"model": LARGER[recipe.model]}, f"a network that can hold more, such as {LARGER[recipe.model]!r}"
    longer = min(10_000, 2 * recipe.epochs)
    return {"epochs": longer}, f"a larger network, or more epochs ({longer}), and a look at the labels"


def not_converged(case: Case) -> Diagnosis | None:
    """It was still getting better when it ended."""
    if not _still_falling(case):
        return None
    losses, held_out, count = case.losses, case.held_out, len(case.history)
    longer = min(10_000, 2 * case.recipe.epochs)
    since = -tail(count) - 1
    evidence = (
        f"in the last {tail(count)} of {count} epochs the training's loss fell from {losses[since]:.3f} to {losses[-1]:.3f}"
    )
    if held_out:
        evidence += f" and the validation's from {held_out[since]:.3f} to {held_out[-1]:.3f}, its lowest"
    return Diagnosis("not-converged", "warning", evidence, f"twice the epochs: {longer}", {"epochs": longer})


def _still_falling(case: Case) -> bool:
    """Whether the last epochs still gained as much as only the middle of a training should."""
    losses, held_out, count = case.losses, case.held_out, len(case.history)
    if count < 3 or count < case.recipe.epochs:  # what was stopped had stopped getting better
        return False
    before, last = losses[-tail(count) - 1], losses[-1]
    share = 0.1 if count >= LONG else 0.05  # a short training hardly had the time to come to rest
    if before - last < max(share * before, 0.04 * case.guess):
        return False
    if held_out:
        return (
            held_out[-1] <= min(held_out)
            and held_out[-tail(count) - 1] - held_out[-1] > 0.03 * held_out[-1] + 0.01 * case.guess
        )
    return True


def wrong_preprocessing(case: Case) -> Diagnosis | None:
    """Pretrained weights are fed otherwise than they were: other colours, or objects of another size."""
    fed, wanted = case.fed, case.wanted
    if fed is None or wanted is None or not case.pretrained:
        return None
    far = [abs(a - b) for a, b in zip(fed.mean + fed.std, wanted.mean + wanted.std, strict=False)]
    if len(fed.mean) == len(wanted.mean) and max(far) > 0.02:
        evidence = (
            f"images are normalised with mean {_numbers(fed.mean)} and deviation {_numbers(fed.std)}, the weights were trained "
            f"with {_numbers(wanted.mean)} and {_numbers(wanted.std)}"
        )
        cure = "train anew with the weights' own normalisation, which weights = 'default' brings along"
        return Diagnosis("wrong-preprocessing", "severe", evidence, cure, {"weights": "default", "weights_sha256": ""})
    if wanted.size and case.recipe.stem == "default" and fed.size < 0.6 * wanted.size:
        evidence = f"the network sees {fed.size} pixels a side, its weights were trained on {wanted.size}"
        cure = f"image_size = {wanted.size}; or, for images that are no larger themselves, stem = 'small'"
        return Diagnosis("wrong-preprocessing", "warning", evidence, cure, {"image_size": wanted.size, "resize": 0})
    return None


def no_augmentation(case: Case) -> Diagnosis | None:
    """Few images, and each is shown in the same way every time."""
    recipe = case.recipe
    if recipe.augment.on or case.mixes or not 0 < case.images < 10_000:
        return None
    evidence = (
        f"{case.images:,} training images are few, and nothing varies them: each looked the same in all {recipe.epochs} epochs"
    )
    cure = "random crops; mirrors too (augment.flip = 0.5) where a mirrored image keeps its class"
    return Diagnosis("no-augmentation", "warning" if case.images < FEW else "note", evidence, cure, augmenting(recipe))


def not_frozen(case: Case) -> Diagnosis | None:
    """All of a pretrained network is trained from the start on few images."""
    recipe = case.recipe
    if recipe.strategy != "full" or not case.pretrained or not 0 < case.images < FEW:
        return None
    trained = case.work.get("trainable_parameters")
    weights = f"all {trained:,} weights" if trained else "all weights"
    evidence = f"{weights} of a pretrained network learn from the first step on, from {case.images:,} images"
    return Diagnosis("not-frozen", "warning", evidence, "train the head first, the rest slower", {"strategy": "staged"})


def no_validation(case: Case) -> Diagnosis | None:
    """Nothing was held out while the training went on, so that its curves say nothing about other images."""
    if case.held_out or not case.history or case.recipe.split.folds:
        return None
    evidence = f"{len(case.history)} epochs, and none was judged on images that were not trained on"
    return Diagnosis("no-validation", "note", evidence, "hold a tenth back", {"split.val": 0.1})


def _tenth(rate: float) -> float:
    return float(f"{rate / 10:.3g}")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


RULES: tuple[Callable[[Case], Diagnosis | None], ...] = (
    rate_too_high,
    thawed_rate_too_high,
    overfitting,
    underfitting,
    not_converged,
    wrong_preprocessing,
    no_augmentation,
    not_frozen,
    no_validation,
)
