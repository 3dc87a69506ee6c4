"""Each command is one workflow call, and its result on standard output."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sortal.cli import check
from sortal.data.store import Cache, RowStore
from sortal.preprocess import MAX_PIXELS
from sortal.recipe import presets, read

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


EXPLAINED = {
    "maps": [
        {"source": "a/[b].jpg", "label": "ants", "probability": 0.93, "method": "grad_cam", "path": "explained/[b].png"},
    ],
    "errors": [],
}  # fmt: skip

WRITTEN = {"report": "runs/a/report.html", "model_card": "runs/a/model-card.md", "figures": ["runs/a/figures/x.png"]}


def path_of(value: str | list[str]) -> Path | list[Path]:
    return [Path(name) for name in value] if isinstance(value, list) else Path(value)


def result(values: dict, **more: object) -> SimpleNamespace:
    return SimpleNamespace(to_json=lambda: values, **more)


@pytest.fixture
def workflows(calls):
    """Every workflow in place, each answering with the smallest whole result."""
    calls.answer("check", result(HEALTH, severe=False))
    calls.answer("train", result(TRAINED))
    calls.answer("demo", result(TRAINED))
    calls.answer("evaluate", result(EVALUATED))
    calls.answer("explain", result(EXPLAINED, errors=[]))
    calls.answer("report", result(WRITTEN, **{name: path_of(value) for name, value in WRITTEN.items()}))
    calls.answer("edit", result({"manifests": ["runs/a/manifest-2.parquet"]}, manifests=[Path("runs/a/manifest-2.parquet")]))
    return calls


COMMANDS = [
    (["check", "photos"], HEALTH),
    (["train", "photos"], TRAINED),
    (["demo"], TRAINED),
    (["evaluate", "runs/a"], EVALUATED),
    (["explain", "runs/a", "a/[b].jpg"], EXPLAINED),
    (["report", "runs/a"], WRITTEN),
    (["report", "runs/a", "--edit"], {"manifests": ["runs/a/manifest-2.parquet"]}),
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
    sortal("check", "photos", "--max-pixels", "1000", "--fix", "new.parquet")
    args, kwargs = workflows.seen[-1]
    assert args == (Path("photos"),)
    assert (kwargs["max_pixels"], kwargs["fix"]) == (1000, Path("new.parquet"))


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
    for said in (
        "12 images in 2 classes",
        "ants",
        " 1  severe  unreadable",
        "1 file is empty",
        "example  [red]a.jpg",
        "cure     remove it",
    ):
        assert said in out


def test_check_says_what_it_left_out_and_what_it_fixed(sortal, workflows) -> None:
    left_out = [{"what": "label errors", "reason": "cleanlab is not installed"}]
    moved = [{"source": "[red]a.jpg", "from": "test", "to": "train"}]
    quarantined = [{"source": "b.jpg", "reason": "is blank"}]
    fixed = {"manifest": "new.parquet", "grouped": 4, "moved": moved, "quarantined": quarantined}
    workflows.answer("check", result({**HEALTH, "left_out": left_out, "fixed": fixed}, severe=False))
    out = sortal("check", "photos").out
    for said in (
        "left out: label errors, since cleanlab is not installed",
        "new.parquet",
        "4 images",
        "[red]a.jpg: test to train",
    ):
        assert said in out
    assert "b.jpg: is blank" in out


def test_check_without_findings_says_so(sortal, workflows) -> None:
    workflows.answer("check", result({**HEALTH, "findings": []}, severe=False))
    assert "nothing found" in sortal("check", "photos").out


def test_the_worst_findings_come_first(sortal, workflows) -> None:
    findings = [{**FINDING, "severity": severity, "detail": severity} for severity in ("note", "severe", "warning")]
    workflows.answer("check", result({**HEALTH, "findings": findings}, severe=True))
    out = sortal("check", "photos").out
    assert out.index("1  severe") < out.index("2  warning") < out.index("3  note")


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


def test_what_train_says_to_type_next_is_quoted_and_on_one_line(sortal, calls) -> None:
    for name, told in (
        ("it's a run", """'it'"'"'s a run'"""), ("-x", "./-x"), (f"runs/{'a long name ' * 9}x", f"'runs/{'a long name ' * 9}x'")
    ):  # fmt: skip
        calls.answer("train", result({**TRAINED, "run": name}))
        out = sortal("train", "photos").out
        assert f"next     sortal predict {told} photo.jpg\n" in out
        assert f"         sortal report {told}\n" in out


def test_evaluate_passes_data_on(sortal, workflows) -> None:
    sortal("evaluate", "runs/a", "others")
    assert workflows.seen[-1][0] == (Path("runs/a"), Path("others"))


def test_evaluate_prints_scores_classes_and_confusion(sortal, workflows) -> None:
    out = sortal("evaluate", "runs/a").out
    for said in ("0.900 (0.826 to 0.945)", "precision", "macro average", "true \\ predicted", "55"):
        assert said in out


def test_evaluate_prints_scores_of_several_labels_and_no_matrix_of_classes(sortal, calls) -> None:
    intervals = {"mean_average_precision": [0.7, 0.9], "subset_accuracy": [0.5, 0.7]}
    scores = {"mean_average_precision": 0.8, "micro_f1": 0.75, "macro_f1": 0.7, "subset_accuracy": 0.6, "log_loss": 0.3}
    none = {"mean_average_precision": None, "micro_f1": 1.0, "macro_f1": None, "subset_accuracy": 1.0, "log_loss": 0.1}
    rest = {"images": 100, "calibration_error": 0.02}
    empty = [{**per_class("ants", 0), "precision": None, "recall": None, "f1": None, "reason": "no images of it here"}]
    values = {
        "metrics": {
            "val": scores | rest | {"intervals": intervals},
            "test": none | rest | {"intervals": {"subset_accuracy": [0.9, 1]}},
        },
        "per_class": {"val": [per_class("ants", 40)], "test": empty},
        "confusion": {"val": [[[50, 10], [8, 32]]], "test": [[[100, 0], [0, 0]]]},
        "classes": ["ants"],
    }
    calls.answer("evaluate", result(values))
    outcome = sortal("evaluate", "runs/a")
    assert outcome.code == 0
    for said in ("0.800 (0.700 to 0.900)", "0.600", "micro average", "exactly right", "95% interval 0.500 to 0.700"):
        assert said in outcome.out
    assert "true \\ predicted" not in outcome.out


def test_report_names_what_it_wrote(sortal, workflows) -> None:
    assert sortal("report", "runs/a").out == "runs/a/report.html\nruns/a/model-card.md\nruns/a/figures/x.png\n"


def test_report_edit_passes_the_port_on_and_names_the_new_manifests(sortal, workflows) -> None:
    assert sortal("report", "runs/a", "--edit", "--port", "8123").out == "runs/a/manifest-2.parquet\n"
    args, kwargs = workflows.seen[-1]
    assert (args, kwargs["port"]) == ((Path("runs/a"),), 8123)


@pytest.mark.parametrize("words", [["--port", "80"], ["--edit", "--port", "65536"], ["--edit", "--port", "-1"]])
def test_a_port_that_would_say_nothing_is_refused(sortal, workflows, words: list[str]) -> None:
    assert sortal("report", "runs/a", *words).code == 2
    assert workflows.seen == []


def test_recipes_lists_names_and_prints_one_that_can_be_read_again(sortal, tmp_path: Path) -> None:
    names = [row["name"] for row in json.loads(sortal("recipes", "--json").out)["recipes"]]
    assert "photos" in names
    for name in names:
        file = tmp_path / f"{name}.toml"
        file.write_text(sortal("recipes", name).out)
        assert read(file) == presets.named(name)


def test_a_recipe_as_json_holds_its_fields_and_its_description(sortal) -> None:
    row = json.loads(sortal("recipes", "photos", "--json").out)["recipes"][0]
    assert row["recipe"] == presets.named("photos").model_dump(mode="json")
    assert row["description"]


def test_an_unknown_recipe_or_data_set_names_the_nearest(sortal) -> None:
    assert "did you mean 'photos'" in sortal("recipes", "foto").err
    assert "did you mean 'fashion-mnist'" in sortal("data", "fashion-minst").err


def test_data_lists_the_standard_sets(sortal) -> None:
    out = sortal("data").out
    assert "fashion-mnist" in out
    assert "inaturalist" in out
    one = json.loads(sortal("data", "cifar-10", "--json").out)["datasets"]
    assert [(row["name"], row["classes"], row["resolution"]) for row in one] == [("cifar-10", 10, "32 x 32")]


def test_data_without_its_files_is_a_mistake_with_a_cure(sortal, tmp_path: Path) -> None:
    outcome = sortal("data", "mnist", "--from", tmp_path, "--to", tmp_path / "mnist.parquet")
    assert outcome.code == 2
    assert "hint: " in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache with one store of two rows of pixels."""
    monkeypatch.setenv("SORTAL_CACHE", str(tmp_path / "cache"))
    found = Cache.default()
    with RowStore(found, "pixels", "8x8", (8, 8, 3), np.uint8) as store:
        store.append(["00" * 32, "11" * 32], iter([np.zeros((2, 8, 8, 3), np.uint8)]))
    return found


def test_cache_lists_stores_with_their_rows_and_bytes(sortal, cache: Cache) -> None:
    values = json.loads(sortal("cache", "--json").out)
    assert values["root"] == str(cache.root)
    assert [(row["kind"], row["rows"]) for row in values["stores"]] == [("pixels", 2)]
    assert "pixels" in sortal("cache").out


def test_clearing_the_cache_empties_it_and_says_how_much_went(sortal, cache: Cache) -> None:
    values = json.loads(sortal("cache", "--clear", "--json").out)
    assert values["stores"] == []
    assert values["freed"] > 0
    assert "stores: none" in sortal("cache").out


def test_models_lists_what_a_pattern_matches(sortal) -> None:
    rows = json.loads(sortal("models", "cifar10*", "--json").out)["models"]
    assert [row["name"] for row in rows] == ["cifar10_cnn"]


def test_models_with_a_whole_name_prints_its_layers(sortal) -> None:
    out = sortal("models", "lenet5").out
    assert "6 x 28 x 28" in out
    assert "parameters: 62,006" in out
    assert json.loads(sortal("models", "lenet5", "--json").out)["models"][0]["layers"][0]["output"] == [6, 28, 28]


def test_models_that_match_nothing_are_a_mistake(sortal) -> None:
    outcome = sortal("models", "lenet6")
    assert outcome.code == 2
    assert "did you mean 'lenet5'" in outcome.err


def test_models_in_another_librarys_spelling_are_a_mistake_that_names_ours(sortal) -> None:
    outcome = sortal("models", "mobilenet_v2")
    assert outcome.code == 2
    assert "model = 'mobilenetv2_100'" in outcome.err


def test_models_measured_here_have_a_line_each_and_failures_are_told(sortal, monkeypatch) -> None:
    from sortal.engines.torch.models import speed

    fast = {f"{kind}_images_per_second": 123.4 for kind in ("training", "inference")}
    fast |= {"training_memory": 2_000_000_000, "inference_memory": None, "device": "a machine", "precision": "float32"}
    answers = {"lenet5": fast, "compact_s": {"error": "out of memory"}}
    monkeypatch.setattr(speed, "in_own_process", answers.__getitem__)
    shown = sortal("models", "lenet5", "compact_s", "--measure")
    assert shown.code == 0
    assert "2.0 GB" in shown.out
    assert "123" in shown.out
    assert "compact_s: out of memory" in shown.out
    rows = json.loads(sortal("models", "lenet5", "compact_s", "--measure", "--json").out)["models"]
    assert {row["name"]: row["measured"] for row in rows} == answers


@pytest.mark.parametrize("words", [[], ["resnet*"]])
def test_measuring_everything_at_once_is_refused(sortal, words) -> None:
    outcome = sortal("models", *words, "--measure")
    assert outcome.code == 2
    assert "name up to 40" in outcome.err


def test_explain_passes_its_options_on(sortal, workflows) -> None:
    sortal("explain", "runs/a", "x.jpg", "photos", "--method", "occlusion", "--out", "pictures")
    args, kwargs = workflows.seen[-1]
    kwargs.pop("observe")
    assert args == (Path("runs/a"), (Path("x.jpg"), Path("photos")))
    assert kwargs == {"method": "occlusion", "out": Path("pictures")}


def test_explain_names_label_probability_and_picture(sortal, workflows) -> None:
    out = sortal("explain", "runs/a", "a/[b].jpg").out
    for said in ("a/[b].jpg", "ants", "0.930", "explained/[b].png"):
        assert said in out


def test_explain_exits_with_1_if_an_image_cannot_be_read_and_tells_the_others(sortal, workflows) -> None:
    errors = [{"source": "bad\x1b[2J.jpg", "reason": "not an image"}]
    workflows.answer("explain", result({**EXPLAINED, "errors": errors}, errors=errors))
    outcome = sortal("explain", "runs/a", "a/[b].jpg", "bad.jpg")
    assert outcome.code == 1
    assert "ants" in outcome.out
    assert r"error: bad\x1b[2J.jpg: not an image" in outcome.err
    as_json = sortal("explain", "runs/a", "a/[b].jpg", "bad.jpg", "--json")
    assert as_json.code == 1
    assert json.loads(as_json.out)["errors"] == errors


def test_explain_needs_an_image(sortal, workflows) -> None:
    assert sortal("explain", "runs/a").code == 2
