"""Each command is one workflow call, and its result on standard output."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sortal.cli import check
from sortal.preprocess import MAX_PIXELS

FINDING = {
    "kind": "unreadable",
    "severity": "severe",
    "images": ["[red]a.jpg"],
    "detail": "1 file is empty",
    "cure": "remove it",
}
HEALTH = {"images": 12, "classes": {"ants": 4, "bees": 8}, "splits": {"train": 12}, "findings": [FINDING]}
SCORES = {
    "images": 100, "accuracy": 0.9, "accuracy_interval": [0.826, 0.945], "top5": None, "macro_f1": 0.89, "weighted_f1": 0.9,
    "log_loss": 0.3, "calibration_error": 0.02, "calibration_error_before": 0.05,
}  # fmt: skip
TRAINED = {
    "run": "runs/a", "recipe": {}, "reasons": [], "splits": {"train": 100}, "work": {},
    "excluded": [{"source": "x.jpg", "reason": "empty file"}],
    "metrics": {"cross_validation": SCORES},
    "seconds": {"total": 75.0, "prepare": 3.0, "train": 71.6, "finish": 0.4},
}  # fmt: skip


def per_class(name: str, support: int) -> dict:
    return {"class": name, "precision": 0.9, "recall": 0.8, "f1": 0.85, "support": support, "reason": None}


EVALUATED = {
    "metrics": {"test": SCORES},
    "per_class": {"test": [per_class("ants", 40), per_class("bees", 60)]},
    "confusion": {"test": [[35, 5], [5, 55]]},
    "classes": ["ants", "bees"],
}


def result(values: dict, **more: object) -> SimpleNamespace:
    return SimpleNamespace(to_json=lambda: values, **more)


@pytest.fixture
def workflows(calls):
    """Every workflow in place, each answering with the smallest whole result."""
    calls.answer("check", result(HEALTH, severe=False))
    calls.answer("train", result(TRAINED))
    calls.answer("demo", result(TRAINED))
    calls.answer("evaluate", result(EVALUATED))
    written = {"report": "runs/a/report.html", "figures": ["runs/a/figures/x.png"]}
    calls.answer("report", result(written, report=Path(written["report"]), figures=[Path(name) for name in written["figures"]]))
    return calls


COMMANDS = [
    (["check", "photos"], HEALTH),
    (["train", "photos"], TRAINED),
    (["demo"], TRAINED),
    (["evaluate", "runs/a"], EVALUATED),
    (["report", "runs/a"], {"report": "runs/a/report.html", "figures": ["runs/a/figures/x.png"]}),
]


@pytest.mark.parametrize(("words", "values"), COMMANDS)
def test_json_is_exactly_the_result(sortal, workflows, words: list[str], values: dict) -> None:
    outcome = sortal(*words, "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == values


def test_json_stays_alone_when_a_library_prints(sortal, workflows) -> None:
    def chatty(*args: object, **kwargs: object) -> SimpleNamespace:
        print("hello from a library")
        return result(TRAINED)

    workflows.answer("train", chatty)
    outcome = sortal("train", "photos", "--json")
    assert json.loads(outcome.out) == TRAINED
    assert "hello from a library" in outcome.err


@pytest.mark.parametrize(("words", "values"), COMMANDS)
def test_tables_fit_80_columns(sortal, workflows, words: list[str], values: dict) -> None:
    outcome = sortal(*words)
    assert outcome.code == 0
    assert max(len(line.rstrip()) for line in outcome.out.splitlines()) <= 80


def test_check_passes_its_options_on(sortal, workflows) -> None:
    sortal("check", "photos", "--max-pixels", "1000")
    args, kwargs = workflows.seen[-1]
    assert args == (Path("photos"),)
    assert kwargs["max_pixels"] == 1000


def test_checks_limit_is_the_packages(sortal, workflows) -> None:
    sortal("check", "photos")
    assert workflows.seen[-1][1]["max_pixels"] == MAX_PIXELS
    assert check.command.params[1].default == MAX_PIXELS


def test_check_exits_with_1_if_a_finding_is_severe(sortal, workflows) -> None:
    workflows.answer("check", result(HEALTH, severe=True))
    assert sortal("check", "photos").code == 1
    assert sortal("check", "photos", "--json").code == 1


def test_check_names_counts_findings_images_and_cures(sortal, workflows) -> None:
    out = sortal("check", "photos").out
    for said in ("12 images in 2 classes", "ants", "severe: 1 file is empty", "[red]a.jpg", "cure: remove it"):
        assert said in out


def test_check_without_findings_says_so(sortal, workflows) -> None:
    workflows.answer("check", result({**HEALTH, "findings": []}, severe=False))
    assert "nothing found" in sortal("check", "photos").out


def test_the_worst_findings_come_first(sortal, workflows) -> None:
    findings = [{**FINDING, "severity": severity, "detail": severity} for severity in ("note", "severe", "warning")]
    workflows.answer("check", result({**HEALTH, "findings": findings}, severe=True))
    out = sortal("check", "photos").out
    assert out.index("severe: ") < out.index("warning: ") < out.index("note: ")


def test_train_passes_its_options_on(sortal, workflows) -> None:
    sortal("train", "photos", "--recipe", "r.toml", "--set", "epochs=3", "--set", "seed=1", "--out", "runs/a", "--seed", "7")
    args, kwargs = workflows.seen[-1]
    kwargs.pop("observe")
    assert args == (Path("photos"),)
    assert kwargs == {"recipe": "r.toml", "settings": ("epochs=3", "seed=1"), "out": Path("runs/a"), "resume": False, "seed": 7}


def test_resuming_needs_no_data(sortal, workflows) -> None:
    assert sortal("train", "--resume", "--out", "runs/a").code == 0
    args, kwargs = workflows.seen[-1]
    assert args == (None,)
    assert kwargs["resume"] is True


def test_train_says_how_good_what_was_left_out_how_long_and_where_to_go_on(sortal, workflows) -> None:
    out = sortal("train", "photos").out
    for said in (
        "cross-validation",
        "0.900 (0.826 to 0.945)",
        "1 image was set aside",
        "x.jpg: empty file",
        "took 1 min 15 s (prepare 3.0 s, train 1 min 12 s, finish 400 ms)",
        "runs/a/report.html",
        "sortal predict runs/a photo.jpg",
    ):
        assert said in out


def test_evaluate_passes_data_on(sortal, workflows) -> None:
    sortal("evaluate", "runs/a", "others")
    assert workflows.seen[-1][0] == (Path("runs/a"), Path("others"))


def test_evaluate_prints_scores_classes_and_confusion(sortal, workflows) -> None:
    out = sortal("evaluate", "runs/a").out
    for said in ("0.900 (0.826 to 0.945)", "precision", "macro average", "true \\ predicted", "55"):
        assert said in out


def test_report_names_what_it_wrote(sortal, workflows) -> None:
    assert sortal("report", "runs/a").out == "runs/a/report.html\nruns/a/figures/x.png\n"
