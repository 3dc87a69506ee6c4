"""What a report says of several labels an image."""

import doctest
import re
from pathlib import Path

import numpy as np

from sortal.evaluation.scores import score
from sortal.predictions import Predictions
from sortal.reporting import telling
from sortal.reporting.figures import write_figures
from sortal.reporting.model import Report, build
from sortal.reporting.page import render

CLASSES = ("cat", "dog", "fox")


def small(said: list[list[int]], labels: list[list[int]], probs: list[list[float]]) -> Report:
    predictions = Predictions(
        sources=tuple(f"{row}.jpg" for row in range(len(labels))),
        classes=CLASSES,
        probs_NK=np.array(probs, dtype=np.float32),
        labels_N=np.array(labels),
        splits_N=("test",) * len(labels),
        said_NK=np.array(said) > 0,
        thresholds_K=(0.5, 0.5, 0.5),
    )
    return build(name="r", created="2031-05-04T13:37:00", scores=score(predictions), predictions=predictions, chosen={})


REPORT = small(
    said=[[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]],
    labels=[[1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0]],
    probs=[[0.9, 0.7, 0.1], [0.1, 0.2, 0.1], [0.4, 0.1, 0.05], [0.8, 0.1, 0.1]],
)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(telling).failed == 0


def test_the_first_sentence_counts_images_with_exactly_their_labels() -> None:
    assert REPORT.headline.answer.startswith("50.0% of images it was not trained on get exactly their labels; the 95% interval")
    assert (REPORT.headline.accuracy, REPORT.headline.images) == (0.5, 4)


def test_it_is_compared_with_always_saying_the_commonest_set_of_labels() -> None:
    assert (REPORT.headline.baseline_class, REPORT.headline.baseline) == ("cat", 0.5)
    nothing = small(said=[[0, 0, 0]], labels=[[0, 0, 0]], probs=[[0.1, 0.1, 0.1]])
    assert (nothing.headline.baseline_class, nothing.headline.baseline) == ("no label", 1.0)


def test_a_mistake_tells_what_was_missed_and_what_was_wrong_the_surest_decision_first() -> None:
    first, second = REPORT.mistakes
    assert (first["source"], first["missed"], first["wrong"]) == ("2.jpg", ["cat", "fox"], [])
    assert (first["label"], first["predicted"], round(first["probability"], 2)) == ("cat, fox", "no label", 0.95)
    assert (first["surest"], second["surest"]) == ("fox", "dog")
    page = re.sub("<[^>]*>", "", render(REPORT))
    assert "missed fox, 95.0% sure" in page
    assert "wrongly dog, 70.0% sure" in page
    assert (second["source"], second["missed"], second["wrong"], round(second["probability"], 2)) == ("0.jpg", [], ["dog"], 0.7)


def test_the_page_has_each_labels_counts_and_threshold_and_no_matrix_of_classes(several_labels: Report) -> None:
    page = render(several_labels)
    counts = several_labels.confusion["test"][1]
    assert "Wrongly given" in page
    assert f'<th scope="row">dog</th><td class="n">{counts[1][1]}</td><td class="n">{counts[1][0]}</td>' in page
    assert '<data value="0.6">0.600</data>' in page  # the last label's threshold
    assert 'class="matrix' not in page
    assert "<b>bike</b>" not in page


def test_a_label_without_images_and_a_split_without_labels_still_make_a_page_and_figures(tmp_path: Path) -> None:
    assert "no images of it here" in render(REPORT)
    assert {path.stem for path in write_figures(REPORT, tmp_path / "a")} == {"reliability", "f1"}
    nothing = small(said=[[0, 0, 0]] * 2, labels=[[0, 0, 0]] * 2, probs=[[0.1, 0.2, 0.3]] * 2)
    assert "100.0%" in render(nothing)
    write_figures(nothing, tmp_path / "b")


def test_a_report_is_read_again_as_it_was_written(several_labels: Report, tmp_path: Path) -> None:
    several_labels.save(tmp_path / "report.json")
    again = Report.load(tmp_path / "report.json")
    assert again.task == "multi_label"
    assert again.to_json() == several_labels.to_json()
