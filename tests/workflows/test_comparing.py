"""`sortal compare`: on the same images or not at all, and then pair by pair."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sortal.cli.main import main
from sortal.errors import DataError
from sortal.manifest import SCHEMA, Manifest
from sortal.predictions import Predictions
from sortal.workflows import comparing
from sortal.workflows.comparing import compare


def predictions(*, wrong: int = 0, images: int = 60, seed: int = 0, classes: tuple[str, ...] = ("ant", "bee")) -> Predictions:
    """Predictions of a test split, the first `wrong` of them wrong."""
    labels_N = np.arange(images) % 2
    said_N = np.where(np.arange(images) < wrong, 1 - labels_N, labels_N)
    probs_NK = np.full((images, len(classes)), 0.2, dtype=np.float32)
    probs_NK[np.arange(images), said_N] = 0.8
    order = np.random.default_rng(seed).permutation(images)
    return Predictions(
        sources=tuple(f"{row:03d}.jpg" for row in order),
        classes=classes,
        probs_NK=probs_NK[order],
        labels_N=labels_N[order].astype(np.int64),
        splits_N=("test",) * images,
    )


def saved(folder: Path, name: str, found: Predictions) -> Path:
    found.save(folder / name)
    return folder / name


def test_the_rows_are_matched_by_image_not_by_place(tmp_path: Path) -> None:
    a, b = saved(tmp_path, "a.parquet", predictions(wrong=9)), saved(tmp_path, "b.parquet", predictions(wrong=1, seed=1))
    found = compare([a, b]).to_json()
    (told,) = found["differences"]
    assert (told["only_a_right"], told["only_b_right"], told["images"]) == (0, 8, 60)
    assert told["mean"] == pytest.approx(8 / 60)
    assert told["p_value"] == pytest.approx(2 / 2**8)
    assert [row["accuracy"] for row in found["runs"]] == [pytest.approx(51 / 60), pytest.approx(59 / 60)]
    assert told["log_loss"]["mean"] < 0


def test_every_pair_of_three_is_compared(tmp_path: Path) -> None:
    files = [saved(tmp_path, f"{wrong}.parquet", predictions(wrong=wrong)) for wrong in (0, 2, 4)]
    pairs = [(row["a"], row["b"]) for row in compare(files).differences]
    assert pairs == [(str(a), str(b)) for a, b in ((files[0], files[1]), (files[0], files[2]), (files[1], files[2]))]


def test_other_images_are_refused_with_how_many_are_the_same_and_which_are_missing_where(tmp_path: Path) -> None:
    a, b = saved(tmp_path, "a.parquet", predictions()), saved(tmp_path, "b.parquet", predictions(images=58))
    with pytest.raises(
        DataError, match=r"on 60, .* on 58, of which 58 are the same; only in .*a\.parquet: '058\.jpg', '059\.jpg'$"
    ):
        compare([a, b])


def judged(folder: Path, *, set_aside: tuple[str, ...] = (), elsewhere: tuple[str, ...] = (), wrong: int = 0) -> Path:
    """A run that judged sixty images but for those that were set aside before it, and those that stand in another split."""
    found = predictions(wrong=wrong)
    rows = [
        {"source": source, "content": f"of {source}", "labels": [found.classes[label]]}
        | {
            "split": "train" if source in elsewhere else "test",
            "exclusion": "set aside by hand" if source in set_aside else None,
        }
        for source, label in zip(found.sources, found.labels_N, strict=True)
    ]
    folder.mkdir()
    Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), found.classes, "/photos").save(folder / "manifest.parquet")
    kept = [source not in set_aside + elsewhere for source in found.sources]
    found.where(np.array(kept)).save(folder / "predictions.parquet")
    return folder


def test_images_that_a_run_had_set_aside_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = judged(tmp_path / "a", wrong=9), judged(tmp_path / "b", wrong=9, set_aside=("000.jpg", "059.jpg"))
    c = judged(tmp_path / "c", set_aside=("059.jpg", "030.jpg"))
    found = compare([a, b]).to_json()
    assert (found["images"], found["left_out"]) == (58, 2)
    assert [row["accuracy"] for row in found["runs"]] == [pytest.approx(50 / 58)] * 2
    assert found["differences"][0]["mean"] == 0
    three = compare([b, a, c])
    assert (three.images, three.left_out) == (57, 3)
    assert main(["compare", str(a), str(b)]) == 0
    assert "left out: 2 images that a run had set aside" in capsys.readouterr().out
    assert main(["compare", str(a), str(judged(tmp_path / "d", set_aside=("003.jpg",)))]) == 0
    assert "left out: 1 image that" in capsys.readouterr().out


def test_what_a_run_was_trained_on_is_not_left_out_but_refused(tmp_path: Path) -> None:
    a = judged(tmp_path / "a")
    b = judged(tmp_path / "b", set_aside=("000.jpg",), elsewhere=("001.jpg",))
    with pytest.raises(DataError, match="of which 58 are the same"):
        compare([a, b])


def test_runs_that_share_no_image_are_refused_also_where_all_were_set_aside(tmp_path: Path) -> None:
    names = [f"{row:03d}.jpg" for row in range(60)]
    a, b = judged(tmp_path / "a", set_aside=tuple(names[:30])), judged(tmp_path / "b", set_aside=tuple(names[30:]))
    with pytest.raises(DataError, match="of which 0 are the same"):
        compare([a, b])


def test_files_of_predictions_have_set_nothing_aside(tmp_path: Path) -> None:
    a, b = judged(tmp_path / "a", set_aside=("000.jpg",)), saved(tmp_path, "b.parquet", predictions())
    with pytest.raises(DataError, match="of which 59 are the same"):
        compare([a, b])


def test_other_labels_of_the_same_images_are_refused_by_name(tmp_path: Path) -> None:
    other = predictions()
    labels_N = other.labels_N.copy()
    labels_N[3] = 1 - labels_N[3]
    a, b = saved(tmp_path, "a.parquet", predictions()), saved(tmp_path, "b.parquet", replace(other, labels_N=labels_N))
    with pytest.raises(DataError, match=f"1 images have other labels .*{other.sources[3]}"):
        compare([a, b])


def test_other_classes_and_other_splits_are_refused(tmp_path: Path) -> None:
    a = saved(tmp_path, "a.parquet", predictions())
    wasps = saved(tmp_path, "b.parquet", predictions(classes=("ant", "wasp")))
    with pytest.raises(DataError, match="'wasp'"):
        compare([a, wasps])
    validation = saved(tmp_path, "c.parquet", replace(predictions(), splits_N=("val",) * 60))
    with pytest.raises(DataError, match="different splits"):
        compare([a, validation])


def test_one_run_or_the_same_one_twice_is_refused(tmp_path: Path) -> None:
    a = saved(tmp_path, "a.parquet", predictions())
    with pytest.raises(DataError, match="two runs"):
        compare([a])
    with pytest.raises(DataError, match="twice"):
        compare([a, a])


def test_the_order_of_the_classes_does_not_matter(tmp_path: Path) -> None:
    plain = predictions(wrong=5)
    turned = Predictions(plain.sources, ("bee", "ant"), plain.probs_NK[:, ::-1].copy(), 1 - plain.labels_N, plain.splits_N)
    a, b = saved(tmp_path, "a.parquet", plain), saved(tmp_path, "b.parquet", turned)
    assert compare([a, b]).differences[0]["mean"] == 0


def test_the_command_prints_the_contracts_object_and_says_in_words_what_it_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = saved(tmp_path, "a.parquet", predictions(wrong=3)), saved(tmp_path, "b.parquet", predictions(wrong=1))
    assert main(["compare", str(a), str(b), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"runs", "differences"} <= told.keys()
    assert {"a", "b", "mean", "interval", "p_value", "images_needed"} <= told["differences"][0].keys()
    assert main(["compare", str(a), str(b)]) == 0
    assert "may be no better" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", str(a)]) == 2


def test_of_one_group_of_images_nothing_is_said_that_json_could_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_groups", lambda *_: np.zeros(60, np.int64))
    a, b = saved(tmp_path, "a.parquet", predictions(wrong=9)), saved(tmp_path, "b.parquet", predictions(wrong=1))
    (told,) = compare([a, b]).to_json()["differences"]
    assert told["log_loss"]["interval"] == [None, None]
    assert np.isfinite(told["log_loss"]["mean"])
    assert [run["log_loss_interval"] for run in compare([a, b]).runs] == [None, None]
    json.dumps(told, allow_nan=False)


def test_the_log_loss_of_each_run_has_an_interval(tmp_path: Path) -> None:
    a, b = saved(tmp_path, "a.parquet", predictions(wrong=9)), saved(tmp_path, "b.parquet", predictions(wrong=1))
    for run in compare([a, b]).runs:
        low, high = run["log_loss_interval"]
        assert 0 <= low < run["log_loss"] < high
