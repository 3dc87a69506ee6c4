"""What the training cost: rules about time and memory."""

from collections.abc import Callable
from typing import Any

from sortal.evaluation.diagnosis.case import Case, Diagnosis

LONG = 300.0
"""Seconds from which it is worth asking where they went."""
PARTS = {"prepare": "preparing the images", "train": "the training itself", "finish": "what comes after the training"}
OUT_OF_MEMORY = "out of memory"


def slow(case: Case) -> Diagnosis | None:
    """It took long, and one part of it most of that."""
    spent = {part: float(case.seconds.get(part, 0)) for part in PARTS}
    total = float(case.seconds.get("total", 0))
    part = max(spent, key=lambda each: spent[each])
    if total < LONG or spent[part] < 0.5 * total:
        return None
    speed = case.work.get("images_per_second")
    evidence = f"{PARTS[part]} took {spent[part]:.0f} of {total:.0f} seconds"
    if part == "train" and speed:
        evidence += f", {speed:g} images/s"
    if part == "prepare" and (case.work.get("decoded") or case.work.get("features_computed")):
        evidence += (
            f" ({case.work.get('decoded', 0):,} images decoded, {case.work.get('features_computed', 0):,} features computed)"
        )
    change, cure = {"train": _training, "prepare": _preparing, "finish": _finishing}[part](case)
    return Diagnosis("slow", "note", evidence, cure, change)


def _training(case: Case) -> tuple[dict[str, Any], str]:
    recipe = case.recipe
    if recipe.keeps_frozen and recipe.frozen == "pixels" and not case.mixes:
        return {"frozen": "stored"}, "store what the frozen part gives, instead of computing it in every step"
    if recipe.precision == "float32" and recipe.strategy != "features":
        return {"precision": "auto", "layout": "auto"}, "let precision and layout be measured: bf16 is often twice as fast"
    if case.pretrained and recipe.strategy in ("full", "staged", "progressive"):
        return {"strategy": "last_layers"}, "train the last layers alone; or a smaller model, smaller images, an accelerator"
    if recipe.image_size > 64:
        smaller = max(64, int(recipe.image_size * 0.75) // 32 * 32)
        return {"image_size": smaller, "resize": 0}, f"smaller images ({smaller} pixels), a smaller model, or an accelerator"
    return {"epochs": max(1, recipe.epochs // 2)}, "fewer epochs, a smaller model, or an accelerator"


def _preparing(case: Case) -> tuple[dict[str, Any], str]:
    if case.recipe.frozen == "stored" and case.recipe.augment.views > 1 and case.work.get("features_computed"):
        half = case.recipe.augment.views // 2
        return {
            "augment.views": half
        }, f"fewer views of each image ({half}); the next run on these images finds all of it stored"
    return {}, "nothing: the next run on these images finds them decoded, as long as the stores have room (`sortal cache`)"


def _finishing(case: Case) -> tuple[dict[str, Any], str]:
    return {}, "a smaller validation or test split is judged sooner; the model itself does not need it"


def short_of_memory(case: Case) -> Diagnosis | None:
    """Memory ran out, and the batch went through in parts."""
    told = [warning for warning in case.warnings if OUT_OF_MEMORY in warning]
    recipe = case.recipe
    if not told:
        return None
    part = recipe.micro_batch or recipe.batch_size
    evidence = f"{told[0]}. In the end {part} of a batch of {recipe.batch_size} went through at once"
    if part < recipe.batch_size:
        times = -(-recipe.batch_size // part) * recipe.optimizer.accumulate
        change: dict[str, Any] = {"batch_size": part, "micro_batch": 0, "optimizer.accumulate": times}
        cure = f"batches of {part}, of which {times} make a step: the same learning, and nothing is tried that cannot fit"
        return Diagnosis("short-of-memory", "note", evidence, cure, change)
    smaller = max(32, int(recipe.image_size * 0.75) // 32 * 32)
    cure = f"images of {smaller} pixels, a smaller model, or precision = 'bf16'"
    return Diagnosis("short-of-memory", "note", evidence, cure, {"image_size": smaller, "resize": 0})


RULES: tuple[Callable[[Case], Diagnosis | None], ...] = (slow, short_of_memory)
