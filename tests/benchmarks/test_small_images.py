"""The benchmarks of small images: what their arithmetic says of runs that are made up."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import harness, peak_share, peer_rates, reaching, train_step
from benchmarks.peers import cifar_jpeg


def ran(seconds: float, *lines: dict[str, Any]) -> harness.Ran:
    return harness.Ran(("x",), 0, seconds, seconds, 0, "\n".join(map(json.dumps, lines)), "")


def ours(accuracy: float, seconds: float = 100.0) -> harness.Ran:
    answer = {
        "metrics": {"test": {"accuracy": accuracy, "accuracy_interval": [0, 1]}}, "seconds": {},
        "work": {"images_per_second": 1}, "recipe": {"model": "brisk", "epochs": 2}, "phases": {"scan": 25.0, "train": 75.0},
    }  # fmt: skip
    return ran(seconds, answer)


def peer(*accuracies: float) -> harness.Ran:
    lines = [{"epoch": n + 1, "accuracy": a, "seconds_so_far": 300.0 * (n + 1)} for n, a in enumerate(accuracies)]
    return ran(1000.0, *lines)


def compared(mine: harness.Ran, theirs: harness.Ran | None) -> harness.Result:
    return reaching.compared("x", mine, theirs, target=0.8, promised=5.0)


def test_the_peers_time_is_that_of_its_first_look_at_the_target() -> None:
    result = compared(ours(0.81), peer(0.7, 0.8, 0.9))
    assert (result.ours, result.peer, result.ratio) == (100.0, 600.0, 6.0)
    assert [claim.holds for claim in result.claims] == [True, True]


def test_ours_below_the_target_has_no_ratio_and_breaks_both_claims() -> None:
    result = compared(ours(0.79), peer(0.7, 0.8))
    assert result.ratio is None
    assert "ratio_at_least" not in result.numbers
    assert [claim.holds for claim in result.claims] == [False, False]


def test_of_a_peer_that_never_got_there_only_a_bound_is_told() -> None:
    result = compared(ours(0.81), peer(0.7, 0.79))
    assert (result.ratio, result.peer, result.numbers["ratio_at_least"]) == (None, None, 10.0)
    assert any("without reaching" in note for note in result.notes)
    assert [claim.holds for claim in result.claims] == [True, True]
    slow = compared(ours(0.81, seconds=500.0), peer(0.7, 0.79))
    assert [claim.holds for claim in slow.claims] == [True, False]


def test_without_a_peer_nothing_is_compared() -> None:
    result = compared(ours(0.81), None)
    assert (result.ratio, len(result.claims)) == (None, 1)


def test_a_time_to_an_accuracy_says_where_it_goes_and_what_was_measured_besides() -> None:
    result = reaching.compared("x", ours(0.81), None, target=0.8, promised=5.0, more={"share_of_peak": 0.4})
    assert list(result.numbers["profile"].items()) == [("train", 0.75), ("scan", 0.25)]
    assert result.numbers["share_of_peak"] == 0.4


def test_held_out_images_are_as_many_as_were_asked_for_and_of_all_classes() -> None:
    held_N = cifar_jpeg.held_out(1_000, 100)
    assert held_N.sum() == 100
    assert [int(held_N[low : low + 100].sum()) for low in range(0, 1_000, 100)] == [10] * 10
    assert not cifar_jpeg.held_out(10, 0).any()
    with pytest.raises(ValueError, match="none would be left"):
        cifar_jpeg.held_out(10, 10)


def test_a_rate_is_chosen_by_its_mean_accuracy_and_those_as_good_are_named() -> None:
    def at(accuracy: float) -> harness.Ran:
        return ran(1.0, {"epoch": 1, "loss": 9.0, "accuracy": 0.0}, {"epoch": 2, "loss": 1.0, "accuracy": accuracy})

    tried = [(0.1, at(0.1)), (0.01, at(0.50)), (0.01, at(0.60)), (0.003, at(0.53)), (0.003, at(0.54)), (0.001, at(0.3))]
    result = peer_rates.chosen(tried, 1_000)
    assert result.ours == 0.01
    assert result.numbers["accuracy_by_rate"] == {"0.1": 0.1, "0.01": 0.55, "0.003": 0.535, "0.001": 0.3}
    assert result.numbers["not_told_from_the_best"] == [0.003]


def steps(rate: float, share: float) -> harness.Ran:
    answer = {
        "images_per_second": rate, "operations_per_image": 1.0, "operations_per_second": 1.0,
        "peak_operations_per_second": 1.0, "share_of_peak": share, "precision": "bf16", "layout": "channels_last",
        "profile": {},
    }  # fmt: skip
    return ran(1.0, answer)


def test_steps_are_compared_by_their_medians() -> None:
    seeds = [steps(100, 0), steps(90, 0), steps(110, 0)]
    result = train_step.compared([steps(250, 0.6), steps(300, 0.7), steps(10, 0.1)], seeds)
    assert (result.ours, result.peer, result.ratio) == (250, 100, 2.5)
    assert [claim.holds for claim in result.claims] == [True]
    slower = train_step.compared([steps(229, 0.6)], [steps(100, 0)])
    assert [claim.holds for claim in slower.claims] == [False]


@pytest.mark.parametrize(("share", "holds"), [(0.71, True), (0.69, False)])
def test_the_share_of_the_peak_is_held_against_its_promise(share: float, holds: bool) -> None:
    result = peak_share.compared([steps(1, share)] * 3, [steps(1, 0.5)] * 3)
    assert (result.ours, result.peer) == (share, 0.5)
    assert [claim.holds for claim in result.claims] == [holds]


def test_pictures_come_from_folders_and_from_a_zip_of_them_alike(tmp_path: Path) -> None:
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for split, shade in (("train", 10), ("train", 20), ("test", 30)):
            for label in ("dog", "cat"):
                data = io.BytesIO()
                Image.new("RGB", (32, 32), (shade, 0, 0)).save(data, "PNG")
                file.writestr(f"cifar/{split}/{label}/{shade}.png", data.getvalue())
        file.extractall(tmp_path / "folders")
    for data in (archive, tmp_path / "folders"):
        pixels, labels = cifar_jpeg.load(data, "train")
        assert pixels.shape == (4, 32, 32, 3)
        assert labels.tolist() == [0, 0, 1, 1]
        assert pixels[:, 0, 0, 0].tolist() == [10, 20, 10, 20]
    few, _ = cifar_jpeg.load(archive, "train", images=2)
    assert len(few) == 2
    assert np.array_equal(cifar_jpeg.load(archive, "test")[1], [0, 1])
