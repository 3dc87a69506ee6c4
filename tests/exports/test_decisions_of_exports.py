"""The decision layer through what an export is used by: what each of them says is what `predict` says, silence included."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sortal import bundle, workflows
from sortal.bundle import Bundle
from sortal.decision import DecisionRule
from sortal.engines.onnx import predictor
from sortal.errors import ParityError
from sortal.exports import browser, describe
from sortal.exports.code import imported
from sortal.preprocess import network_pixels, stored_pixels
from sortal.run import Run
from sortal.workflows import exporting
from tests.exports.conftest import RECIPE
from tests.exports.test_exporting import Stub

NODE = shutil.which("node")
STUB = """export const env = { wasm: {} };
export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
"""
"""Stands for onnxruntime-web: the session is the test's own."""
ASK = """import { readFileSync } from "node:fs";
import { classify, decide } from "./classify.js";
const { about, rows } = JSON.parse(readFileSync(0, "utf8"));
const said = [];
for (const { probabilities, novelty } of rows) {
  const found = { probabilities: { data: probabilities }, ...(novelty === null ? {} : { novelty: { data: [novelty] } }) };
  const model = { about, session: { run: async () => found } };
  said.push(decide(about, await classify(model, { rgb: new Uint8Array(3), width: 1, height: 1 })));
}
console.log(JSON.stringify(said));
"""


@pytest.fixture(scope="module")
def abstaining(trained: Run, squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The trained bundle with a rule by which about half of the images get no label, some for being novel; and images."""
    images = sorted(squares.rglob("*.png"))
    opened = Bundle.load(trained.bundle)
    answers = workflows.load(trained.bundle).answers(images)
    likeliest_N = np.sort([each.probs_K.max() for each in answers if each.probs_K is not None])
    assert opened.novelty is not None
    shares_N = np.sort(opened.novelty.shares(np.array([each.distance for each in answers])))
    third, most = len(images) // 3, 3 * len(images) // 4
    rule = DecisionRule(
        threshold=float(likeliest_N[third - 1 : third + 1].mean()), novelty=float(shares_N[most : most + 2].mean())
    )
    about = {key: value for key, value in opened.about.items() if key not in ("format", "members")}
    place = tmp_path_factory.mktemp("abstaining") / "bundle"
    bundle.write(
        place,
        graph=opened.graph.read_bytes(),
        weights=opened.weights.read_bytes(),
        about={**about, "decision": rule.to_json()},
    )
    said = workflows.load(place).predict(images)
    assert 10 < said.count(None) < len(images) - 10
    return place, images


@pytest.fixture(scope="module")
def several(own_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A bundle whose images have any number of labels, and images."""
    from tests.conftest import patches

    folder = tmp_path_factory.mktemp("several")
    table = patches.__wrapped__(folder)()  # type: ignore[attr-defined]
    run = workflows.train(table, recipe=RECIPE.model_copy(update={"epochs": 2}), out=folder / "run").run
    images = sorted(table.parent.glob("*.png"))
    assert {len(labels) for labels in workflows.load(run.path).predict(images)} > {1}
    return run.bundle, images


@pytest.fixture(params=["abstaining", "several"])
def given(request: pytest.FixtureRequest) -> tuple[Path, list[Path]]:
    found: tuple[Path, list[Path]] = request.getfixturevalue(request.param)
    return found


def exported(given: tuple[Path, list[Path]], to: str, out: Path) -> Path:
    place, images = given
    beside = images[0].parent
    data = beside / "labels.csv" if (beside / "labels.csv").is_file() else beside.parent
    return workflows.export(place, to=to, data=data, out=out).path


def as_sets(said: Any) -> list[set[str | None]]:
    """One label, none or several, however they are told."""
    return [set(each) if isinstance(each, list) else {each} for each in said]


# What resamples in its graph may fall to the other side of a threshold that lies between two images.
@pytest.mark.parametrize(
    ("to", "program", "most"), [("safetensors", "example.py", 0), ("onnx", "example.py", 0), ("onnx", "any_size.py", 2)]
)
def test_the_export_s_own_program_says_what_predict_says(
    given: tuple[Path, list[Path]], to: str, program: str, most: int, tmp_path: Path
) -> None:
    folder = exported(given, to, tmp_path / "out")
    words = [sys.executable, "-W", "ignore", str(folder / program), *map(str, given[1])]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=True)
    said = [json.loads(line)["said"] for line in done.stdout.splitlines()]
    expected = as_sets(workflows.load(given[0]).predict(given[1]))
    assert sum(one != other for one, other in zip(as_sets(said), expected, strict=True)) <= most


def test_torchserve_s_handler_says_what_predict_says(given: tuple[Path, list[Path]], tmp_path: Path) -> None:
    with zipfile.ZipFile(exported(given, "torchserve", tmp_path / "out") / "classifier.mar") as archive:
        archive.extractall(tmp_path / "unpacked")
    handler = imported(tmp_path / "unpacked" / "handler.py", beside=True).Classifier()
    handler.initialize(SimpleNamespace(system_properties={"model_dir": str(tmp_path / "unpacked")}))
    answers = handler.handle([{"body": path.read_bytes()} for path in given[1]], None)
    said = [answer["labels"] if "labels" in answer else answer["label"] for answer in answers]
    assert as_sets(said) == as_sets(workflows.load(given[0]).predict(given[1]))


@pytest.mark.skipif(NODE is None, reason="needs Node.js: apt install nodejs")
def test_the_page_s_code_says_what_predict_says(given: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """`classify.js` on what the bundle's graph tells; the network in a browser is the gate's to prove."""
    assert NODE is not None
    shutil.copy(browser.PAGE / "classify.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "ort.wasm.bundle.min.mjs").write_text(STUB)
    (tmp_path / "ask.js").write_text(ASK)
    opened = Bundle.load(given[0])
    pixels_NSSC = np.stack(
        [network_pixels(stored_pixels(p.read_bytes(), opened.preprocess)[None], opened.preprocess)[0] for p in given[1]]
    )
    told = predictor(opened).outputs(pixels_NSSC)
    novelty = [float(each) for each in told["novelty"]] if "novelty" in told else [None] * len(given[1])
    rows = [
        {"probabilities": probs_K.tolist(), "novelty": distance}
        for probs_K, distance in zip(told["probabilities"], novelty, strict=True)
    ]
    asked = {"about": describe.about(opened, licence="", kind="web", precision="float32"), "rows": rows}
    done = subprocess.run(
        [NODE, str(tmp_path / "ask.js")], input=json.dumps(asked), capture_output=True, text=True, check=True, cwd=tmp_path
    )
    said = [{name for name, yes in zip(opened.classes, row, strict=True) if yes} for row in json.loads(done.stdout)]
    assert said == [labels - {None} for labels in as_sets(workflows.load(given[0]).predict(given[1]))]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_export_that_lost_the_abstention_is_refused(
    abstaining: tuple[Path, list[Path]], precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each likeliest class becomes as good as certain: accuracy is the same, and nothing is left unsaid for being unsure."""

    def certain(probs_NK: Any) -> Any:
        return np.eye(probs_NK.shape[1], dtype=np.float32)[probs_NK.argmax(axis=1)]

    def changed(change: Callable[[Any], Any]) -> None:
        stub = Stub(change)
        monkeypatch.setattr(exporting, "kind_of", lambda name: stub)

    place, images = abstaining
    changed(certain)
    with pytest.raises(ParityError, match=r"says nothing of|\d+ of \d+ labels") as caught:
        workflows.export(place, to="onnx", precision=precision, data=images[0].parents[1], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert caught.value.hint
    changed(lambda probs_NK: probs_NK)
    done = workflows.export(place, to="onnx", precision=precision, data=images[0].parents[1], out=tmp_path / "out")
    assert done.parity["silent"] == done.parity["silent_source"] > 0
