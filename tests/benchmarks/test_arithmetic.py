"""The arithmetic of the benchmarks: ratios, extrapolation, paired intervals, and logs that are never overwritten."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    calibration,
    crossval,
    fashion,
    gpu_cifar10,
    harness,
    imbalance,
    kills,
    peaks,
    photographs,
    predict_folder,
    profiling,
    rates,
    suite,
    transfer,
)
from benchmarks.__main__ import BENCHMARKS, module_of, show


def test_the_ratio_is_the_peers_time_over_ours() -> None:
    assert harness.times_faster(2.0, 30.0) == 15.0


@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_a_time_that_is_none_gives_no_ratio(times: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        harness.times_faster(*times)


def test_a_spread_is_told_by_its_median_and_its_ends() -> None:
    assert harness.spread([3.0, 1.0, 2.0, 10.0]) == {"median": 2.5, "least": 1.0, "most": 10.0, "runs": 4}


def test_a_command_is_timed_from_start_to_end_and_its_output_kept_apart() -> None:
    done = harness.ran(
        [sys.executable, "-c", "import sys,time; time.sleep(0.2); print('{\"a\": 1}'); print('b', file=sys.stderr)"]
    )
    assert (done.answer(), done.lines(), done.stderr.strip()) == ({"a": 1}, [{"a": 1}], "b")
    assert 0.2 <= done.seconds < 30
    assert done.peak_bytes > 1_000_000


def test_a_command_that_fails_stops_the_benchmark_with_what_it_said() -> None:
    with pytest.raises(harness.CommandFailed, match="no good") as caught:
        harness.ran([sys.executable, "-c", "import sys; sys.exit('no good')"])
    assert "exit code 1" in str(caught.value)


def test_a_command_is_written_without_the_folders_of_the_machine() -> None:
    assert harness.readable(["/home/me/bin/sortal", "train", Path("/tmp/x/photos"), "--json"]) == "sortal train photos --json"


def test_epochs_that_were_not_run_are_added_at_the_mean_of_those_that_were() -> None:
    assert transfer.extrapolated(70.0, [21.0, 20.0, 19.0], 25) == 70.0 + 22 * 20.0


def test_a_complete_run_is_not_extrapolated() -> None:
    assert transfer.extrapolated(70.0, [2.0] * 25, 25) == 70.0


def _ran(seconds: float, stdout: str) -> harness.Ran:
    return harness.Ran(("x",), 0, seconds, seconds, 0, stdout, "")


def _epochs(*accuracies: float) -> str:
    return "\n".join(json.dumps({"epoch": n + 1, "seconds": 20.0, "accuracy": a}) for n, a in enumerate(accuracies))


def test_an_extrapolated_result_says_so_and_a_complete_one_does_not() -> None:
    ours = [_ran(10.0, json.dumps({"metrics": {"val": {"accuracy": 0.95, "accuracy_interval": [0.9, 0.98]}}}))]
    three = transfer.against_seeds(ours, _ran(70.0, _epochs(0.8, 0.9, 0.91)))
    assert (three.peer, three.ratio) == (70.0 + 22 * 20.0, 51.0)
    assert any("EXTRAPOLATED" in note for note in three.notes)
    whole = transfer.against_seeds(ours, _ran(510.0, _epochs(*[0.9] * 25)))
    assert (whole.peer, whole.ratio) == (510.0, 51.0)
    assert not any("EXTRAPOLATED" in note for note in whole.notes)


def test_a_ratio_below_the_promise_breaks_the_claim() -> None:
    ours = [_ran(100.0, json.dumps({"metrics": {"val": {"accuracy": 0.95, "accuracy_interval": [0.9, 0.98]}}}))]
    result = transfer.against_fastai(ours, _ran(250.0, _epochs(0.9, 0.95)), epochs=4)
    assert [claim.holds for claim in result.claims] == [False]


def _cold(seconds: float = 10.0) -> list[harness.Ran]:
    return [_ran(seconds, json.dumps({"metrics": {"val": {"accuracy": 0.95}}, "phases": {"features": 4.0}}))]


def _guest(*seconds: float) -> harness.Ran:
    lines = [{"epoch": n + 1, "seconds": each, "accuracy": 0.5, "versions": {"x": "1"}} for n, each in enumerate(seconds)]
    return _ran(sum(seconds) + 5, "\n".join(map(json.dumps, lines)))


def test_of_a_peer_without_weights_an_epoch_after_the_first_is_compared_and_no_accuracy() -> None:
    result = transfer.by_epoch(transfer.KERAS, _cold(), [9.0, 0.5, 0.5], _guest(60.0, 10.0, 12.0, 11.0))
    assert result.numbers["seconds_an_epoch"] == {"ours": 0.5, "peer": 11.0}
    assert (result.accuracy, result.claims) == ({}, ())
    assert any("means nothing" in note for note in result.notes)


def test_whole_commands_are_compared_only_where_a_peer_ran_as_many_epochs_as_its_documentation() -> None:
    short = transfer.by_epoch(transfer.KERAS, _cold(), [1.0, 1.0], _guest(*[10.0] * 19))
    assert (short.ours, short.peer, short.ratio) == (10.0, None, None)
    assert any("19 of its documentation's 20" in note for note in short.notes)
    whole = transfer.by_epoch(transfer.KERAS, _cold(), [1.0, 1.0], _guest(*[10.0] * 20))
    assert (whole.ours, whole.peer, whole.ratio) == (10.0, 205.0, 20.5)
    with pytest.raises(ValueError, match="after the first"):
        transfer.later([3.0])


def test_a_peer_that_is_not_there_is_not_run_and_the_result_says_why(tmp_path: Path) -> None:
    nowhere = harness.guest("keras_transfer", "no_such_package", None)
    assert isinstance(nowhere, str)
    assert "--no_such_package-python" in nowhere
    no_interpreter = harness.guest("keras_transfer", "keras", tmp_path / "bin" / "python")
    assert isinstance(no_interpreter, str)
    assert "No such file" in no_interpreter
    broken = harness.guest("no_such_peer", "keras", sys.executable)
    assert isinstance(broken, str)
    assert "no_such_peer" in broken
    for result in (
        transfer.by_epoch(transfer.KERAS, _cold(), [1.0, 1.0], broken), transfer.against_fastai(_cold(), broken, epochs=4)
    ):  # fmt: skip
        assert (result.peer, result.ratio, result.numbers["peer_not_run"]) == (None, None, broken)


def test_our_epochs_are_read_from_what_the_run_wrote_down(tmp_path: Path) -> None:
    events = [{"event": "Note", "text": "x"}, *({"event": "EpochDone", "seconds": each} for each in (3.0, 1.0))]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + "\n")
    assert transfer.epoch_seconds(tmp_path / "events.jsonl") == [3.0, 1.0]


def test_a_second_run_that_computes_anything_breaks_the_claim() -> None:
    metrics = {"val": {"accuracy": 0.95}}
    first = [_ran(9.0, json.dumps({"metrics": metrics}))]
    for work, holds in (({"decoded": 0, "features_computed": 0}, True), ({"decoded": 0, "features_computed": 1}, False)):
        result = transfer.second_time(first, _ran(5.0, json.dumps({"metrics": metrics, "work": work})))
        assert [claim.holds for claim in result.claims] == [holds]


def _fashion(accuracy: float) -> harness.Ran:
    answer = {
        "metrics": {"test": {"accuracy": accuracy, "accuracy_interval": [0, 1]}}, "seconds": {},
        "work": {"images_per_second": 1},
    }  # fmt: skip
    return _ran(100.0, json.dumps(answer))


def _cnn(*accuracies: float) -> harness.Ran:
    lines = [{"epoch": n + 1, "accuracy": a, "seconds_so_far": 300.0 * (n + 1)} for n, a in enumerate(accuracies)]
    return _ran(610.0, "\n".join(map(json.dumps, lines)))


def test_time_to_accuracy_has_a_ratio_only_if_both_reached_it() -> None:
    made = _ran(1.0, "{}")
    assert fashion.compared("fashion", made, _fashion(0.935), _cnn(0.9, 0.92)).ratio == 6.1
    assert fashion.compared("fashion", made, _fashion(0.935), _cnn(0.9, 0.919)).ratio is None
    assert fashion.compared("fashion", made, _fashion(0.919), _cnn(0.9, 0.92)).ratio is None


def test_of_a_peer_that_was_stopped_before_it_got_there_only_a_bound_is_told() -> None:
    made = _ran(1.0, "{}")
    stopped = fashion.compared("fashion", made, _fashion(0.935), _cnn(0.9, 0.919))
    assert stopped.numbers["ratio_at_least"] == 6.1
    assert any("stopped before" in note for note in stopped.notes)
    for answer, cnn in [(0.935, _cnn(0.9, 0.92)), (0.919, _cnn(0.9, 0.919))]:
        assert "ratio_at_least" not in fashion.compared("fashion", made, _fashion(answer), cnn).numbers


def test_the_first_epoch_that_reaches_the_target_counts() -> None:
    epochs = [{"accuracy": 0.9}, {"accuracy": 0.92, "epoch": 2}, {"accuracy": 0.95}]
    assert fashion.first_reaching(epochs, 0.92) == epochs[1]
    assert fashion.first_reaching(epochs, 0.96) is None


def test_the_paired_difference_of_equal_answers_is_nothing() -> None:
    same = np.array([[True, False, True], [True, True, False]])
    assert crossval.paired_difference(same, same) == (0.0, (0.0, 0.0))


def test_the_paired_difference_is_positive_where_ours_is_better() -> None:
    ours, other = np.ones((2, 4), dtype=bool), np.zeros((2, 4), dtype=bool)
    assert crossval.paired_difference(ours, other) == (1.0, (1.0, 1.0))


def test_more_repeats_on_the_same_images_do_not_narrow_the_interval() -> None:
    random = np.random.default_rng(0)
    ours, other = random.random((1, 200)) < 0.9, random.random((1, 200)) < 0.8
    once = crossval.paired_difference(ours, other)
    many = crossval.paired_difference(np.repeat(ours, 50, axis=0), np.repeat(other, 50, axis=0))
    assert many[0] == pytest.approx(once[0])
    assert many[1] == pytest.approx(once[1])


def test_the_interval_is_that_of_the_normal_approximation_where_images_are_many() -> None:
    random = np.random.default_rng(1)
    ours, other = random.random((1, 4000)) < 0.9, random.random((1, 4000)) < 0.85
    difference_N = ours[0].astype(float) - other[0]
    mean, (low, high) = crossval.paired_difference(ours, other)
    half = 1.96 * difference_N.std() / np.sqrt(4000)
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.002)


def test_arrays_of_different_shapes_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same shape"):
        crossval.paired_difference(np.ones((1, 3), dtype=bool), np.ones((1, 4), dtype=bool))


def test_macro_f1_of_answers_is_that_of_the_package_and_rows_may_count_more_than_once() -> None:
    from sortal.evaluation import metrics

    random = np.random.default_rng(0)
    labels_N, answers_SN = random.integers(0, 4, 50), random.integers(0, 4, (2, 50))
    counts_BN = np.stack([np.ones(50), np.bincount(random.integers(0, 50, 50), minlength=50)])
    found_BS = imbalance.macro_f1(answers_SN, labels_N, counts_BN)
    for counts_N, found_S in zip(counts_BN, found_BS, strict=True):
        rows = np.repeat(np.arange(50), counts_N.astype(int))
        expected = [metrics.macro_f1(np.eye(4)[answers_N[rows]], labels_N[rows]) for answers_N in answers_SN]
        assert found_S == pytest.approx(expected)


def _imbalance(ours_errors: list[int], plain_errors: list[int]) -> harness.Result:
    """Of 300 images, so many wrong by seed, each seed others."""
    labels_N = np.arange(300) % 3

    def answers(errors: list[int]) -> np.ndarray:
        rows = [(np.roll(np.arange(300), 37 * seed) < wrong).astype(int) for seed, wrong in enumerate(errors)]
        return (labels_N + np.array(rows)) % 3

    return imbalance.compared(labels_N, answers(ours_errors), answers(plain_errors))


@pytest.mark.parametrize(
    ("ours", "plain", "holds"),
    [
        ([30, 32, 31], [60, 62, 61], [True, True]),
        ([60, 62, 61], [30, 32, 31], [False, False]),
        ([60, 60, 60], [60, 60, 60], [False, False]),
        ([30, 90, 30], [90, 100, 100], [True, False]),  # another seed could well turn it around
        ([30], [90], [True, False]),  # of one seed nothing can be said
    ],
)
def test_a_planned_recipe_is_better_only_by_more_than_images_and_seeds_explain(
    ours: list[int], plain: list[int], holds: list[bool]
) -> None:
    assert [claim.holds for claim in _imbalance(ours, plain).claims] == holds


def test_the_interval_over_seeds_is_students() -> None:
    low, high = imbalance.seed_interval(np.array([0.01, 0.02, 0.03]))
    assert (low, high) == pytest.approx((0.02 - 4.3027 * 0.01 / 3**0.5, 0.02 + 4.3027 * 0.01 / 3**0.5), rel=1e-4)


def test_class_i_keeps_its_share_of_training_images_and_all_of_its_test_images(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"image": b"", "label": name, "split": split}
        for split, each in (("train", 12), ("test", 2))
        for _ in range(each)
        for name in ("b", "a", "c")
    ]
    whole, thinned = tmp_path / "whole.parquet", tmp_path / "thin.parquet"
    pq.write_table(pa.Table.from_pylist(rows), whole)
    assert imbalance.thin_out(whole, thinned, "bac") == [12, 6, 4]
    thin = pq.read_table(thinned)
    assert thin["split"].to_pylist().count("test") == 6
    assert imbalance.thin_out(whole, thinned, "bac", each=6) == [6, 3, 2]
    assert pq.read_table(thinned)["split"].to_pylist().count("test") == 3


def test_a_log_of_the_same_day_stands_beside_the_first(tmp_path: Path) -> None:
    entry = {"name": "x", "date": "2026-01-02"}
    assert [harness.log({**entry, "n": n}, tmp_path).name for n in range(2)] == ["2026-01-02-x.json", "2026-01-02-x-2.json"]
    assert json.loads((tmp_path / "2026-01-02-x.json").read_text())["n"] == 0


def test_a_record_is_json_with_machine_and_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
    result = harness.Result(
        name="x", unit="seconds", ours=1.0, peer=2.0, ratio=2.0, accuracy={"ours": 0.9, "peer": 0.8},
        numbers={"interval": (0.1, 0.2)},
        claims=[harness.Claim("twice as fast", True), harness.Claim("three times", False)], notes=["once"],
    )  # fmt: skip
    entry = json.loads(json.dumps(harness.record("x", [result], ["x", "--json"])))
    assert entry["command"] == "python -m benchmarks x --json"
    assert entry["machine"]["cores"] >= 1
    assert entry["results"][0]["ratio"] == 2.0
    show(entry)
    shown = capsys.readouterr().out
    assert "| 2.00 |" in shown
    assert "DOES NOT HOLD: three times" in shown


def test_a_command_is_killed_at_its_moment_and_one_that_is_done_is_not(tmp_path: Path) -> None:
    sleeps, ends = [sys.executable, "-c", "import time; time.sleep(60)"], [sys.executable, "-c", "pass"]
    killed = kills.kill_at(sleeps, {}, tmp_path, 0.2)
    assert killed is not None
    assert 0.2 <= killed["seconds"] < 30
    assert killed["stage"] == "nothing written"
    assert kills.kill_at(ends, {}, tmp_path, 30.0) is None


@pytest.mark.parametrize("passed", [0, 2])
def test_an_aimed_kill_lets_checkpoints_pass_and_waits_for_one_that_is_being_written(passed: int, tmp_path: Path) -> None:
    writes = """
import os, sys, time
place = sys.argv[1]
for number in range(5):
    with open(f"{place}/.checkpoint.safetensors.1-a.part", "w") as file:
        file.write(str(number))
    time.sleep(0.3)
    os.replace(f"{place}/.checkpoint.safetensors.1-a.part", f"{place}/checkpoint.safetensors")
    time.sleep(0.3)
"""
    killed = kills.kill_at([sys.executable, "-c", writes, str(tmp_path)], {}, tmp_path, 0.0, aimed=passed)
    assert killed is not None
    assert killed["half_written"] == ["checkpoint"]
    whole = [path.read_text() for path in tmp_path.glob("checkpoint.safetensors")]
    assert whole == [str(passed - 1)] * bool(passed)


def test_a_command_that_fails_by_itself_is_not_taken_for_killed(tmp_path: Path) -> None:
    with pytest.raises(harness.CommandFailed, match="exit code 1"):
        kills.kill_at([sys.executable, "-c", "raise SystemExit(1)"], {}, tmp_path, 30.0)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_has_its_module(name: str) -> None:
    assert (harness.ROOT / f"{module_of(name).replace('.', '/')}.py").is_file()


def _rates(*values: float, **more: object) -> list[harness.Ran]:
    return [_ran(1.0, json.dumps({"images_per_second": value, **more})) for value in values]


def test_rates_are_compared_by_their_medians_and_the_claim_by_the_ratio() -> None:
    result = rates.faster("x", _rates(30, 10, 20, accuracy=0.9), _rates(10, 9, 1, accuracy=0.8), 2.0)
    assert (result.ours, result.peer, result.ratio) == (20, 9, pytest.approx(20 / 9))
    assert result.accuracy == {"ours": 0.9, "peer": 0.8}
    assert [claim.holds for claim in result.claims] == [True]
    assert [claim.holds for claim in rates.faster("x", _rates(20), _rates(19), 2.0).claims] == [False]
    with pytest.raises(ValueError, match="above zero"):
        rates.faster("x", _rates(0), _rates(1), 1.0)


def test_a_share_of_a_peak_is_the_median_rate_times_what_each_takes() -> None:
    assert rates.of_peak(_rates(10, 30, 20), 1000.0, 5.0) == {"share_of_peak": 0.1, "peak": 1000.0}


def test_profiles_name_the_largest_shares_first() -> None:
    times = {str(number): float(number) for number in range(1, 11)}
    found = profiling.largest(times)
    assert list(found) == ["10", "9", "8", "7", "6", "5", "4", "3"]
    assert found["10"] == round(10 / 55, 3)
    busy = profiling.functions(lambda: [sorted(range(100_000), key=lambda each: -each) for _ in range(3)])
    assert next(iter(busy)) in ("<built-in method builtins.sorted>", "benchmarks/test_arithmetic.py:<lambda>")


def test_a_program_is_profiled_with_its_own_words_and_output() -> None:
    profile = profiling.command("json.tool", "--help")
    assert any(name.startswith("python3.11/argparse.py") or "argparse" in name or "built-in" in name for name in profile)
    with pytest.raises(harness.CommandFailed):
        profiling.command("json.tool", "--no-such-option")


def test_the_peak_of_decoding_is_that_of_the_files_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no JPEG"):
        peaks.decoding(tmp_path, 4)
    photographs.draw(tmp_path, each=2, side=32)
    assert peaks.decoding(tmp_path, 6) > 0


def test_sides_are_run_in_turn() -> None:
    order = [sys.executable, "-c", "print('{}')"]
    first, second = rates.in_turn([lambda number: [*order, str(number)], lambda _: order], 2)
    assert [len(first), len(second)] == [2, 2]
    assert first[1].command[-1] == "1"


def test_a_commented_jpeg_is_another_file_of_the_same_picture() -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, "JPEG")
    one, other = (photographs.commented(buffer.getvalue(), text) for text in ("number 1", "number 2"))
    assert one != other
    pictures = [np.asarray(Image.open(io.BytesIO(data))) for data in (buffer.getvalue(), one, other)]
    assert all((picture == pictures[0]).all() for picture in pictures)


def test_photographs_are_gathered_from_all_splits_and_come_again_only_where_that_is_asked_for(tmp_path: Path) -> None:
    for split in ("train", "val"):
        photographs.draw(tmp_path / "data" / split, each=2, side=32, seed=len(split))
    once = photographs.gathered(tmp_path / "data", tmp_path / "once", 100)
    assert sorted(path.name for path in once.iterdir()) == ["spots", "stripes"]
    assert len(list(once.rglob("*.jpg"))) == 8
    assert len(list(photographs.gathered(tmp_path / "data", tmp_path / "again", 20, again=True).rglob("*.jpg"))) == 20


def test_answers_are_right_where_they_name_their_photographs_folder(tmp_path: Path) -> None:
    folder = photographs.draw(tmp_path / "photographs", each=1, side=32)
    lines = ["source,label,probability", f"{folder}/stripes/000.jpg,stripes,0.9", f"{folder}/spots/000.jpg,stripes,0.6"]
    (tmp_path / "answers.csv").write_text("\n".join(lines))
    assert predict_folder.right(tmp_path / "answers.csv", folder) == 0.5
    (tmp_path / "answers.csv").write_text("\n".join(lines[:2]))
    with pytest.raises(ValueError, match="not one for each photograph"):
        predict_folder.right(tmp_path / "answers.csv", folder)


def _result(*, holds: bool) -> dict[str, object]:
    claim = {"text": "2 times as many", "holds": holds}
    return {
        "name": "x", "ours": 20.0, "peer": 9.0, "unit": "images/s", "ratio": 2.222, "accuracy": {"ours": 0.9, "peer": 0.8},
        "claims": [claim], "numbers": {},
    }  # fmt: skip


def test_the_table_says_what_was_reached_and_what_was_not_run() -> None:
    rows = [suite.row(_result(holds=True)), suite.row(_result(holds=False)), suite.without("y", "not run: no data")]
    reached, missed, nothing = suite.table(rows).splitlines()[2:]
    assert "| 2.22 | 2 times as many: reached | 0.9000, 0.8000 |" in reached
    assert "NOT reached" in missed
    assert "not run: no data" in nothing


def test_a_row_without_a_ratio_still_says_ours_and_whether_the_target_was_reached() -> None:
    bound = suite.row(_result(holds=True) | {"ratio": None, "peer": None, "numbers": {"ratio_at_least": 31.0}})
    short = suite.row(_result(holds=False) | {"ratio": None, "numbers": {"device": "a card"}}) | {"said": "full run of a day"}
    alone = suite.row(
        _result(holds=True) | {"ratio": None, "peer": None, "claims": [], "numbers": {"peer_not_run": "no wheel"}}
    )
    told = suite.table([bound, short, alone]).splitlines()[2:]
    assert "| 20 images/s | - | at least 31.00 |" in told[0]
    assert "x (a card; full run of a day)" in told[1]
    assert "NOT reached" in told[1]
    assert "x (peer not run: no wheel) | 20 images/s | - | - |" in told[2]


def test_the_accelerators_peer_is_timed_without_its_second_training() -> None:
    def ours(seconds: float, accuracy: float) -> harness.Ran:
        keys = dict.fromkeys(("model", "epochs", "batch_size", "precision", "compiled", "test_views"))
        return _said(
            seconds, metrics={"test": {"accuracy": accuracy, "accuracy_interval": [0, 1]}}, seconds={"train": 4.0},
            work={"images_per_second": 1}, recipe=keys,
        )  # fmt: skip

    def theirs(seconds: float, accuracy: float) -> harness.Ran:
        return _said(seconds, accuracy=accuracy, seconds=3.0, warm_up_seconds=60.0)

    steps = {"images_per_second": 1.0, "share_of_peak": 0.1, "profile": {}}
    result = gpu_cifar10.reached(
        [ours(40, 0.91), ours(30, 0.93), ours(35, 0.92)],
        [theirs(103, 0.91), theirs(73, 0.90), theirs(83, 0.92)],
        "a card",
        steps,
    )
    assert (result.ours, result.peer, result.ratio) == (35, 80, 80 / 35)
    assert result.accuracy == {"ours": 0.92, "peer": 0.91}
    assert result.numbers["training_alone"] == {"ours": 4.0, "peer": 3.0, "ratio": 0.75}
    assert [claim.holds for claim in result.claims] == [True, True]
    worse = gpu_cifar10.reached([ours(40, 0.90)], [theirs(103, 0.91)], "a card", steps)
    assert (worse.ratio, [claim.holds for claim in worse.claims]) == (None, [False, False])


def test_an_epoch_of_a_resnet_is_fifty_thousand_images_at_its_rate() -> None:
    rest = dict.fromkeys(("share_of_peak", "precision", "layout", "compiled", "profile"))
    quick, slow = (gpu_cifar10.epoch(_said(1.0, images_per_second=rate, **rest), "a card") for rate in (50_000.0, 20_000.0))
    assert (quick.ours, slow.ours) == (1.0, 2.5)
    assert [result.claims[0].holds for result in (quick, slow)] == [True, False]


def _judged(name: str, log_loss: tuple[float, float], error: tuple[float, float]) -> dict[str, object]:
    return {
        "network": name, "log_loss_before": log_loss[0], "log_loss": log_loss[1], "error_before": error[0], "error": error[1],
    }  # fmt: skip


def test_calibration_keeps_its_promises_only_where_no_network_breaks_them() -> None:
    good = [_judged("one", (0.5, 0.4), (0.1, 0.05)), _judged("two", (0.3, 0.3), (0.03, 0.03))]
    assert [claim.holds for claim in calibration.judged(good).claims] == [True, True]
    assert calibration.judged(good).ours == 1.0
    bad = calibration.judged([*good, _judged("three", (0.2, 0.21), (0.08, 0.05))])
    assert [claim.holds for claim in bad.claims] == [False, False]
    assert all("three" in claim.text for claim in bad.claims)


def _said(wall: float, **answer: object) -> harness.Ran:
    return harness.Ran(("x",), 0, wall, wall, 0, json.dumps(answer), "")


def test_what_has_no_short_form_is_cited_from_its_newest_log_with_its_commit(tmp_path: Path) -> None:
    for day in ("2026-11-25", "2026-11-26"):
        entry = {"date": day, "commit": f"of {day}", "results": [_result(holds=True)]}
        (tmp_path / f"{day}-cifar10-080.json").write_text(json.dumps(entry))
    (tmp_path / "2026-11-26-cifar10-080-2.json").write_text(json.dumps(entry | {"commit": "of the second"}))
    row = suite.cited("cifar10-080", tmp_path)
    assert (row["ratio"], "commit of the second" in row["said"]) == (2.222, True)
    assert suite.cited("cifar10-090", tmp_path)["ratio"] is None


def test_how_long_the_suite_takes_counts_only_what_is_run() -> None:
    entries = [suite.Entry("a", 2, 10), suite.Entry("b", None, 60)]
    assert (suite.minutes(entries, quick=True), suite.minutes(entries, quick=False)) == (2, 70)
    names = [entry.name for entry in suite.SUITE]
    assert set(names) <= BENCHMARKS.keys()
    assert len(set(names)) == len(names)


def test_one_result_stands_on_top_of_its_entry() -> None:
    entry = harness.record("x", [rates.faster("x", _rates(20), _rates(10), 2.0)], ["x"])
    assert (entry["ours"], entry["peer"], entry["ratio"], entry["unit"]) == (20, 10, 2.0, "images/s")
    assert entry["machine"]["cores"]
