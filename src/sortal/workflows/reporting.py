"""Reporting: the pictures that a report shows, and the page and figures that are made of it."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sortal import engines
from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.store import Cache
from sortal.errors import DataError
from sortal.evaluation.task import task
from sortal.events import Observer, ignore
from sortal.files import write_text
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe
from sortal.run import Run, find_bundle
from sortal.training.crossval import kept
from sortal.workflows.breaking import broken_by
from sortal.workflows.diagnosing import diagnosed
from sortal.workflows.explaining import mistakes_explained
from sortal.workflows.growing import curve_of

if TYPE_CHECKING:  # jinja2 and matplotlib are imported when a page or a figure is made
    from sortal.reporting.model import Report

INPUTS_SHOWN = 16
THUMBNAIL = 160
"""Pixels: the longest side of a mistake's picture."""
SMALL = 96
"""Pixels: the longest side of a picture behind a cell of the confusion matrix, and the like."""
TINY = 64
"""Pixels: what is no larger goes into the page as it is."""
AT_ONCE = 64
"""Images whose pixels are held at once."""
SMALLEST = 96
"""Pixels: smaller pictures are enlarged, each pixel a square, so that a person sees what there is to see."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report, its model card and its figures are."""

    report: Path
    model_card: Path
    figures: list[Path]

    def to_json(self) -> dict[str, Any]:
        figures = [str(path) for path in self.figures]
        return {"report": str(self.report), "model_card": str(self.model_card), "figures": figures}


def report(target: str | Path, *, observe: Observer = ignore) -> Written:
    """Write a run's page and card anew, and its figures for papers (PNG and SVG).

    Raises `DataError` for anything but a finished run.
    """
    from sortal.reporting.figures import write_figures

    with opened(target, observe) as (run, found, bundle, recipe, manifest, samples, pixels):
        found = _with_what_takes_time(run, found, bundle, recipe, manifest, pixels, observe)
        write_page(run, found, recipe, bundle.preprocess, samples, manifest.used)
    return Written(run.report_html, run.model_card, write_figures(found, run.figures))


class Opened(NamedTuple):
    """A finished run with its report and the pixels of its images."""

    run: Run
    report: "Report"
    bundle: Bundle
    recipe: Recipe
    manifest: Manifest
    samples: Samples
    pixels: StoredPixels


@contextlib.contextmanager
def opened(target: str | Path, observe: Observer) -> Iterator[Opened]:
    """A finished run, its images read again where no store holds them; raises `DataError` for anything else."""
    from sortal.reporting.model import Report

    run = Run(Path(target))
    if not run.report_json.exists():
        find_bundle(run.path)  # says what is wrong, unless it is a bundle, which has no images of its own
        raise DataError(f"{run.path} is a bundle, which has no report", hint="name the run that it came from")
    found = Report.load(run.report_json)
    manifest = Manifest.load(run.manifest)
    used = manifest.used
    bundle = Bundle.load(run.bundle)
    recipe = recipes.read(run.recipe)
    training = np.flatnonzero(np.array(used.column("split")) == "train")
    with StoredPixels(used, bundle.preprocess, Cache.default(recipe.store.limit)) as pixels:
        pixels.fill(observe)
        samples = Samples(used.classes, task(bundle.task).labels(used), used.keys_N, {"train": training}, pixels)
        yield Opened(run, found, bundle, recipe, manifest, samples, pixels)


def _with_what_takes_time(
    run: Run, found: "Report", bundle: Bundle, recipe: Recipe, manifest: Manifest, pixels: StoredPixels, observe: Observer
) -> "Report":
    """The report with what `sortal check RUN` found, if it was asked, and with learning curve, robustness and maps, each
    computed once and kept in `report.json`; then the diagnosis anew.
    """
    found = replace(found, findings=run.found())
    predictions = Predictions.load(run.predictions)
    cache = Cache.default(recipe.store.limit)
    if not found.learning_curve:
        found = replace(found, learning_curve=curve_of(recipe, bundle.preprocess, manifest, pixels, observe))
    if not found.robustness or "broken" not in found.robustness[0]:  # an older version took luck for a fall
        rows = broken_by(bundle, recipe, predictions, manifest.used, pixels, cache, observe=observe)
        found = replace(found, robustness=rows)
    # Older versions explained all mistakes by the bundle, and did not say by which model.
    if found.mistakes and not (found.maps and all("fold" in each for each in found.maps.values())):
        used, held = manifest.used, kept(run.held_out)
        maps = mistakes_explained(bundle, recipe, found.mistakes, used, pixels, cache, out_of_fold=held, observe=observe)
        found = replace(found, maps=maps)
    engine = engines.load(recipe.engine)
    diagnosis = diagnosed(run, found, engine, recipe, bundle.preprocess, manifest, predictions)
    found = replace(found, diagnosis=diagnosis)
    found.save(run.report_json)
    return found


def write_page(run: Run, found: "Report", recipe: Recipe, preprocess: Preprocess, samples: Samples, used: Manifest) -> None:
    """Write `report.html`, with pictures of mistakes, of what stands behind the numbers, and of training inputs as the network
    saw them; and `model-card.md`.
    """
    from sortal.reporting.card import card
    from sortal.reporting.page import render

    shown = pictures(found, recipe, preprocess, samples, used)
    write_text(run.report_html, render(found, thumbnails=shown.cards, small=shown.small, inputs=shown.inputs))
    write_text(run.model_card, card(found))


@dataclass(frozen=True, slots=True)
class Shown:
    """The pictures of a page as JPEG or PNG files: large and small ones by source, and (caption, file) of training inputs."""

    cards: dict[str, bytes]
    small: dict[str, bytes]
    inputs: list[tuple[str, bytes]]


def pictures(found: "Report", recipe: Recipe, preprocess: Preprocess, samples: Samples, used: Manifest) -> Shown:
    """All pictures that a report's page wants, from stored pixels."""
    from sortal.reporting.pictures import wanted_small, wanted_thumbnails

    row_of = {source: row for row, source in enumerate(used.sources)}

    def drawn(sources: list[str], draw: Callable[[NDArray[np.uint8]], bytes]) -> dict[str, bytes]:
        known = [source for source in sources if source in row_of]  # a finding may name images that cannot be read
        files: dict[str, bytes] = {}
        for start in range(0, len(known), AT_ONCE):
            part = known[start : start + AT_ONCE]
            stored = samples.pixels.read(np.array([row_of[source] for source in part], dtype=np.int64))
            files |= {source: draw(pixels) for source, pixels in zip(part, stored, strict=True)}
        return files

    training = samples.splits["train"]
    chosen = training[np.linspace(0, len(training) - 1, min(INPUTS_SHOWN, len(training))).astype(np.int64)]
    views = engines.load(recipe.engine).training_views(recipe, preprocess, samples, chosen)
    labels = used.column("labels")
    captions = [", ".join(labels[row]) or "no label" for row in chosen]
    if recipe.augment.mixup or recipe.augment.cutmix:
        captions = [f"{name} and another" for name in captions]
    inputs = [(caption, picture(view)) for caption, view in zip(captions, views, strict=True)]
    return Shown(drawn(wanted_thumbnails(found), picture), drawn(wanted_small(found), small_picture), inputs)


def small_picture(pixels_SSC: NDArray[np.uint8]) -> bytes:
    """A small JPEG of a photograph; a PNG of a small picture as it is, which the page enlarges."""
    image = Image.fromarray(pixels_SSC[:, :, 0] if pixels_SSC.shape[2] == 1 else pixels_SSC)
    buffer = io.BytesIO()
    if max(image.size) <= TINY:
        image.save(buffer, "PNG")
    else:
        image.thumbnail((SMALL, SMALL), Image.Resampling.BILINEAR, reducing_gap=2.0)
        image.save(buffer, "JPEG", quality=72)
    return buffer.getvalue()


def picture(pixels_SSC: NDArray[np.uint8]) -> bytes:
    """A JPEG of a photograph; a PNG of a small picture, enlarged without smoothing."""
    image = Image.fromarray(pixels_SSC[:, :, 0] if pixels_SSC.shape[2] == 1 else pixels_SSC)
    buffer = io.BytesIO()
    if max(image.size) < SMALLEST:
        factor = -(-SMALLEST // max(image.size))
        image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(buffer, "PNG")
    else:
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
