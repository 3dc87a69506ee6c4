"""A bundle from a stranger: whatever was changed in it is refused with a BundleError, before anything in it is parsed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sortal import bundle, sealed
from sortal.bundle import Bundle
from sortal.errors import BundleError, DataError
from sortal.preprocess import Preprocess
from sortal.run import Run, find_bundle

ABOUT = {
    "classes": ["ant", "bee"],
    "preprocess": Preprocess(size=8, resize=9).to_dict(),
    "temperature": 1.5,
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    bundle.write(tmp_path / "bundle", graph=b"a graph", weights=b"weights", about=ABOUT)
    return tmp_path / "bundle"


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the parsed bundle.json in place, as someone would who knows the format."""
    about = json.loads((path / "bundle.json").read_text())
    change(about)
    (path / "bundle.json").write_text(json.dumps(about))


def refused(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(path)
    assert caught.value.hint, "an error says what to do about it"
    return str(caught.value)


def test_a_bundle_that_nobody_touched_is_opened(good: Path) -> None:
    found = Bundle.load(good)
    assert (found.classes, found.temperature, found.preprocess) == (("ant", "bee"), 1.5, Preprocess(size=8, resize=9))


@pytest.mark.parametrize("member", ["model.onnx", "weights.safetensors"])
def test_one_changed_byte_is_refused(good: Path, member: str) -> None:
    data = bytearray((good / member).read_bytes())
    data[3] ^= 1
    (good / member).write_bytes(data)
    assert "SHA-256" in refused(good)


@pytest.mark.parametrize("member", ["model.onnx", "weights.safetensors"])
def test_a_truncated_member_is_refused_by_its_size(good: Path, member: str) -> None:
    os.truncate(good / member, 3)
    assert "3 bytes" in refused(good)


@pytest.mark.parametrize("member", ["model.onnx", "weights.safetensors"])
def test_a_missing_member_is_refused_by_name(good: Path, member: str) -> None:
    (good / member).unlink()
    assert f"{member} is missing" in refused(good)


@pytest.mark.parametrize("name", ["code.py", ".hidden", "weights.safetensors.bak", "folder/x"])
def test_a_member_that_is_not_listed_is_refused_by_name(good: Path, name: str) -> None:
    (good / name).parent.mkdir(exist_ok=True)
    (good / name).write_bytes(b"")
    assert name.split("/")[0] in refused(good)


def test_a_symbolic_link_is_refused_even_if_it_leads_to_the_right_bytes(good: Path, tmp_path: Path) -> None:
    shutil.move(good / "model.onnx", tmp_path / "elsewhere.onnx")
    (good / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    assert "model.onnx" in refused(good)


def test_a_member_that_is_a_folder_is_refused(good: Path) -> None:
    (good / "model.onnx").unlink()
    (good / "model.onnx").mkdir()
    assert "model.onnx" in refused(good)


def test_a_member_that_is_a_pipe_is_refused_instead_of_waited_for(good: Path) -> None:
    (good / "model.onnx").unlink()
    os.mkfifo(good / "model.onnx")
    assert "model.onnx" in refused(good)


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling link"])
def test_a_bundle_json_that_is_no_file_is_refused(good: Path, kind: str) -> None:
    about = good / "bundle.json"
    about.unlink()
    {"pipe": os.mkfifo, "folder": os.mkdir, "dangling link": lambda path: path.symlink_to("nowhere")}[kind](about)
    refused(good)


def test_a_bundle_json_larger_than_any_of_ours_is_refused_unread(good: Path) -> None:
    os.truncate(good / "bundle.json", sealed.LARGEST_ABOUT + 1)  # sparse: takes no room
    assert "larger" in refused(good)


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a":' * 100_000, "", "{", "null", "[]", "7", '"x"', "\x00", "{}"],
    ids=["deep list", "deep object", "empty", "unfinished", "null", "list", "number", "string", "zero byte", "no keys"],
)
def test_a_bundle_json_that_is_no_description_of_a_bundle_is_refused(good: Path, text: str) -> None:
    (good / "bundle.json").write_text(text)
    refused(good)


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"\x80abc", b'{"format": ' + b"9" * 5000 + b"}"], ids=["utf-16", "bytes", "digits"]
)
def test_a_bundle_json_of_odd_bytes_is_refused(good: Path, data: bytes) -> None:
    (good / "bundle.json").write_bytes(data)
    refused(good)


@pytest.mark.parametrize("size", [float("inf"), float("nan"), -1, None, [], {}, "seven", pytest.param(10**400, id="huge")])
def test_a_size_that_is_no_size_is_refused(good: Path, size: object) -> None:
    rewrite(good, lambda about: about["members"]["model.onnx"].update(bytes=size))
    refused(good)


@pytest.mark.parametrize(
    "members", [None, [], "model.onnx", {}, {"model.onnx": {}}, {"../../etc/passwd": {"bytes": 1, "sha256": ""}}]
)
def test_another_list_of_members_is_refused(good: Path, members: object) -> None:
    rewrite(good, lambda about: about.update(members=members))
    refused(good)


@pytest.mark.parametrize("key", ["format", "classes", "preprocess", "temperature", "members"])
def test_a_key_that_is_missing_is_refused(good: Path, key: str) -> None:
    rewrite(good, lambda about: about.pop(key))
    assert key in refused(good)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_a_format_that_we_do_not_know_is_refused_as_such(good: Path, version: object) -> None:
    rewrite(good, lambda about: about.update(format=version))
    assert "format" in refused(good)


@pytest.mark.parametrize(
    "temperature", [0, -1.0, float("nan"), float("inf"), pytest.param(10**400, id="huge"), "hot", None, []]
)
def test_a_temperature_that_no_softmax_can_use_is_refused(good: Path, temperature: object) -> None:
    rewrite(good, lambda about: about.update(temperature=temperature))
    refused(good)


@pytest.mark.parametrize("thresholds", [None, [], [0.5], [0.5, 2], [0.5, float("nan")], [0.5, "low"], [0.5, True], 0.5])
def test_thresholds_that_are_not_one_for_each_label_are_refused(good: Path, thresholds: object) -> None:
    rewrite(good, lambda about: about.update(task="multi-label", thresholds=[0.5, 0.25]))
    assert Bundle.load(good).thresholds == (0.5, 0.25)
    rewrite(good, lambda about: about.update(thresholds=thresholds))
    refused(good)


@pytest.mark.parametrize("task", ["multi_label", "", None, ["multi-label"], 1])
def test_a_task_that_we_do_not_know_is_refused(good: Path, task: object) -> None:
    rewrite(good, lambda about: about.update(task=task))
    refused(good)


def test_thresholds_of_a_bundle_that_gives_one_label_are_refused(good: Path) -> None:
    rewrite(good, lambda about: about.update(task="multi-class", thresholds=[0.5, 0.5]))
    refused(good)


@pytest.mark.parametrize("classes", ["antbee", [], ["ant", "ant"], ["ant", 7], [["ant"], ["bee"]], {"ant": 0, "bee": 1}, None])
def test_classes_that_are_no_list_of_different_names_are_refused(good: Path, classes: object) -> None:
    rewrite(good, lambda about: about.update(classes=classes))
    refused(good)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", -1), ("size", 0), ("size", 10**9), ("size", "8"), ("size", 8.5), ("size", None), ("resize", 7),
        ("resize", 10**9),
        ("channels", 0), ("channels", 2), ("channels", 10**6), ("interpolation", "eval"), ("interpolation", None),
        ("mean", [0.5]), ("mean", ["a", "b", "c"]), ("mean", 0.5), ("std", [0.5, 0.5, 0.0]), ("std", [1, 1, float("nan")]),
        ("max_pixels", 0), ("max_pixels", "many"), ("unknown", 1),
    ],
)  # fmt: skip
def test_a_preprocessing_that_cannot_be_done_is_refused(good: Path, key: str, value: object) -> None:
    rewrite(good, lambda about: about["preprocess"].update({key: value}))
    refused(good)


@pytest.mark.parametrize("preprocess", [None, [], "none", {}, 3])
def test_a_preprocessing_that_is_none_is_refused(good: Path, preprocess: object) -> None:
    rewrite(good, lambda about: about.update(preprocess=preprocess))
    refused(good)


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    assert "holds no bundle" in refused(tmp_path)
    assert "holds no bundle" in refused(tmp_path / "nowhere")


def test_a_file_in_the_place_of_a_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am no folder")
    refused(tmp_path / "file")


def test_a_folder_that_is_neither_run_nor_bundle_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a run nor a bundle"):
        find_bundle(tmp_path)


def begun(path: Path) -> Run:
    run = Run(path)
    with run.begun({"data": "x"}):
        return run


def test_a_run_without_a_bundle_says_how_to_finish_it(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with pytest.raises(BundleError) as caught:
        find_bundle(run.path)
    assert f"--resume --out {run.path}" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": []}', "[" * 200_000, b"\xed\xa0\x80"])
def test_a_damaged_run_json_is_refused(tmp_path: Path, text: str | bytes) -> None:
    run = begun(tmp_path / "run")
    run.about.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleError, match=r"run\.json"):
        run.read_about()


def test_a_run_of_another_format_is_told_which_version_to_use(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    run.about.write_text('{"format": 2}')
    with pytest.raises(BundleError, match="format 2") as caught:
        run.read_about()
    assert "version" in caught.value.hint
    assert "damaged" not in str(caught.value)


def test_a_bundle_that_is_written_again_replaces_the_first_whole(good: Path) -> None:
    again = bundle.write(good, graph=b"another graph", weights=b"weights", about=ABOUT)
    assert again.graph.read_bytes() == b"another graph"
    assert sorted(os.listdir(good.parent)) == ["bundle"]
    assert sorted(os.listdir(good)) == ["bundle.json", "model.onnx", "weights.safetensors"]


def test_a_bundle_without_decision_calibration_and_novelty_is_read_as_it_was_meant(good: Path) -> None:
    found = Bundle.load(good)
    assert found.decision.always_the_likeliest
    assert (found.conformal, found.novelty) == (None, None)


@pytest.mark.parametrize("value", [[], 7, {}, {"method": "magic"}, {"method": "vector", "conformal": {}}])
@pytest.mark.parametrize("key", ["decision", "calibration", "novelty"])
def test_a_layer_that_is_no_such_layer_is_refused(good: Path, key: str, value: object) -> None:
    rewrite(good, lambda about: about.update({key: value}))
    assert key in refused(good) or "conformal" in refused(good)
