"""Exports of a trained run: each is opened in its own runtime, says what it is, and is proved or not there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from sortal import workflows
from sortal.bundle import Bundle
from sortal.engines.onnx import predictor
from sortal.errors import BundleError, DataError, NotSupported, ParityError, RunExists, UnknownName
from sortal.exports import KINDS, describe, kind_of
from sortal.exports.browser import PROGRAMS
from sortal.exports.code import imported
from sortal.exports.kind import CALIBRATION_IMAGES, Answers, Order, Told
from sortal.exports.model import Export
from sortal.manifest import Manifest
from sortal.preprocess import network_pixels, stored_pixels
from sortal.run import Run
from sortal.workflows import exporting

QUICK = [
    ("onnx", "float32"),
    ("onnx", "int8"),
    ("torchscript", "float32"),
    ("safetensors", "float32"),
    ("torchserve", "float32"),
]
WHOLE = [
    ("onnx", "float16"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
    ("torch-export", "float32"),
    ("torchserve", "int8"),
    ("litert", "float32"),
    ("web", "float32"),
    ("web", "int8"),
]
PARITY = {
    "max_difference",
    "flips",
    "images",
    "accuracy",
    "accuracy_source",
    "images_per_second",
    "images_per_second_source",
    "bytes",
}


def kinds() -> list[Any]:
    return [pytest.param(*each, id="-".join(each)) for each in QUICK] + [
        pytest.param(*each, id="-".join(each), marks=pytest.mark.slow) for each in WHOLE
    ]


def skip_without_runtime(to: str, precision: str) -> dict[str, Any]:
    """Skip where what the kind needs is not here; returns what `export` is to be told besides."""
    needed = {
        "openvino": ["openvino", *(["nncf"] if precision == "int8" else [])],
        "litert": ["litert_torch", "ai_edge_litert"],
    }
    for module in needed.get(to, []):
        if find_spec(module) is None:
            pytest.skip(f"needs {module}: pip install sortal[export] (LiteRT: sortal[litert], in an environment of its own)")
    if to != "web":
        return {}
    if not any(map(shutil.which, PROGRAMS)):
        pytest.skip("needs Chromium: apt-get install chromium")
    found = sorted(Path("/tmp/sortal-runtimes").glob("onnxruntime-web-*.tgz"))
    return {"runtime": found[-1]} if found else {}


def files_of(folder: Path) -> set[str]:
    """The files of an export, and of the archive in it."""
    found = {path.name for path in folder.iterdir()}
    for archive in folder.glob("*.mar"):
        with zipfile.ZipFile(archive) as opened:
            found |= set(opened.namelist())
    return found


def blocks(readme: Path, language: str) -> list[str]:
    """What a README shows in fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", readme.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("to", "precision"), kinds())
def test_an_export_opens_in_its_own_runtime_and_says_what_the_bundle_says(
    trained: Run, tmp_path: Path, to: str, precision: str
) -> None:
    more = skip_without_runtime(to, precision)
    done = workflows.export(trained.path, to=to, precision=precision, out=tmp_path / "out", licence="CC0-1.0", **more)
    found = done.to_json()
    assert set(found) == {"path", "kind", "precision", "parity"}
    assert set(found["parity"]) >= PARITY
    assert (found["kind"], found["precision"], found["path"]) == (to, precision, str(tmp_path / "out"))
    assert found["parity"]["images"] == 22
    assert found["parity"]["split"] == "val"
    assert found["parity"]["flips"] == 0

    export = Export.load(tmp_path / "out")
    bundle = Bundle.load(trained.bundle)
    assert export.classes == bundle.classes
    assert export.preprocess == bundle.preprocess
    assert export.about["temperature"] == bundle.temperature
    assert export.about["licence"].startswith("CC0-1.0")
    assert export.about["parity"] == found["parity"], "the table is stored with the export"
    images_NRRC = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    text = (tmp_path / "out" / "README.md").read_text()
    assert set(re.findall(r"`([\w.-]+\.[a-z]+\d?)`", text)) <= files_of(tmp_path / "out"), "it speaks of files that are here"
    with export.open(trusted=True) as answers:
        probs_NK = answers(images_NRRC).probs_NK
    expected_NK = predictor(bundle)(network_pixels(images_NRRC, bundle.preprocess))
    assert probs_NK.shape == (5, 3)
    assert np.abs(probs_NK - expected_NK).max() < (1e-5 if precision == "float32" else 0.2)
    Export.load(tmp_path / "out")  # opening it left nothing in its folder


@pytest.mark.parametrize(
    ("to", "precision"),
    [pytest.param("onnx", "float32")]
    + [
        pytest.param(*each, marks=pytest.mark.slow)
        for each in (*QUICK[1:4], *WHOLE)
        if each[0] not in ("web", "torchserve", "onnx")
    ],
)
def test_the_example_in_the_readme_says_what_predict_says(
    trained: Run, squares: Path, tmp_path: Path, to: str, precision: str
) -> None:
    skip_without_runtime(to, precision)
    workflows.export(trained.path, to=to, precision=precision, out=tmp_path / "out")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "sortal.py").write_text("raise ImportError('whoever uses an export has no sortal')")
    names = ["example.py", *(["any_size.py"] if to == "onnx" else [])]
    assert blocks(tmp_path / "out" / "README.md", "python") == [(tmp_path / "out" / name).read_text() for name in names]
    images = [squares / "red" / "001.png", squares / "blue" / "002.png"]
    expected = workflows.load(trained.path)
    for name, apart in zip(names, (1e-5, 0.01), strict=False):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(tmp_path / "out" / name), *map(str, images)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "strange")},
        )
        assert done.returncode == 0, done.stderr
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert [row["said"] for row in said] == [[label] for label in expected.predict(images)]
        found_NK = np.array([row["probabilities"] for row in said])
        assert np.abs(found_NK - expected.predict_proba(images)).max() < (apart if precision == "float32" else 0.2)
    Export.load(tmp_path / "out")  # running it left nothing in its folder


def test_the_readme_of_onnx_says_what_each_of_its_graphs_takes_and_gives(trained: Run, tmp_path: Path) -> None:
    workflows.export(trained.path, to="onnx", out=tmp_path / "out")
    text = " ".join((tmp_path / "out" / "README.md").read_text().split())
    for name in ("model.onnx", "any_size.onnx"):
        session = onnxruntime.InferenceSession(str(tmp_path / "out" / name), providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        shapes = {output.name: output.shape for output in session.get_outputs()}
        assert f"shape ({', '.join(map(str, taken.shape))})" in text
        assert f"probabilities, float32 of shape ({', '.join(map(str, shapes['probabilities']))})" in text
        assert f"`novelty`, float32 of shape ({shapes['novelty'][0]},)" in text
    assert "`model.onnx` takes `images`, `any_size.onnx` one `image`." in text


def test_the_readme_of_torchserve_speaks_of_files_and_answers_and_its_commands_name_the_archive(
    trained: Run, squares: Path, tmp_path: Path
) -> None:
    workflows.export(trained.path, to="torchserve", out=tmp_path / "out")
    readme, archive = tmp_path / "out" / "README.md", tmp_path / "out" / "classifier.mar"
    (commands,) = blocks(readme, "console")
    install, start, ask = (shlex.split(line.removeprefix("$ ")) for line in commands.splitlines())
    with zipfile.ZipFile(archive) as opened:
        assert set(opened.read("requirements.txt").decode().split()) <= set(install)
        opened.extractall(tmp_path / "unpacked")
    name, _, file = start[start.index("--models") + 1].partition("=")
    assert file == archive.name
    assert ask[-1].endswith(f"/predictions/{name}")

    text = readme.read_text()
    assert "uint8" not in text, "no array goes in"
    handler = imported(tmp_path / "unpacked" / "handler.py", beside=True).Classifier()
    handler.initialize(SimpleNamespace(system_properties={"model_dir": str(tmp_path / "unpacked")}))
    context = SimpleNamespace(set_response_status=lambda **_: None)
    data = (squares / "red" / "000.png").read_bytes()
    answers = handler.handle([{"body": data}, {"data": data}, {"image": data}, {"body": b"no image"}], context)
    assert answers[0] == answers[1] == answers[2]
    keys = {*answers[0], *answers[0]["top"][0], *answers[3]}
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_what_may_differ_is_told_of_probabilities_and_labels_apart(trained: Run, tmp_path: Path) -> None:
    workflows.export(trained.path, to="onnx", out=tmp_path / "exact")
    workflows.export(trained.path, to="onnx", precision="int8", max_loss=3, out=tmp_path / "int8")
    exact, int8 = ((tmp_path / name / "README.md").read_text() for name in ("exact", "int8"))
    assert "after the decision 0; allowed are 0.001 and none." in exact
    assert "accuracy may fall by 3 points." in int8


def test_onnx_says_all_of_itself_in_its_metadata(trained: Run, tmp_path: Path) -> None:
    workflows.export(trained.path, to="onnx", out=tmp_path / "out", licence="MIT")
    bundle = Bundle.load(trained.bundle)
    for name in ("model.onnx", "any_size.onnx"):
        session = onnxruntime.InferenceSession(str(tmp_path / "out" / name), providers=["CPUExecutionProvider"])
        about = json.loads(session.get_modelmeta().custom_metadata_map["sortal"])
        assert about["classes"] == list(bundle.classes)
        assert about["preprocess"] == json.loads(json.dumps(bundle.preprocess.to_dict()))
        assert about["temperature"] == bundle.temperature
        assert about["decision"] == bundle.decision.to_json()
        assert about["licence"].startswith("MIT")


def test_the_form_for_any_size_answers_for_files_as_they_are_decoded(trained: Run, squares: Path, tmp_path: Path) -> None:
    done = workflows.export(trained.path, to="onnx", out=tmp_path / "out")
    assert done.parity["any_size"]["images"] == 22
    assert done.parity["any_size"]["max_difference"] < 0.01
    assert done.parity["any_size"]["unreadable"] == 0
    path = squares / "green" / "003.png"
    expected_K = workflows.load(trained.path).predict_proba(path)[0]
    opened = kind_of("onnx").open_any_size(tmp_path / "out", Export.load(tmp_path / "out").about)
    assert opened is not None
    with opened as answer:
        told = answer(path.read_bytes())
    assert told is not None
    assert np.abs(told.probs_NK[0] - expected_K).max() < 0.01


@pytest.mark.slow
@pytest.mark.browser
def test_files_go_through_the_decoding_of_the_page_and_what_no_browser_reads_is_counted(trained: Run, tmp_path: Path) -> None:
    """A photograph that lies on its side, one that is half transparent, a palette, and a TIFF."""
    more = skip_without_runtime("web", "float32")
    folder, random = tmp_path / "data" / "red", np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows_HW3 = np.repeat(random.integers(0, 200, (48, 1, 3)), 64, axis=1).astype(np.uint8)  # turned, it has columns
    image = Image.fromarray(rows_HW3)
    (tmp_path / "data" / "blue").mkdir()
    image.save(tmp_path / "data" / "blue" / "plain.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "turned.jpg", exif=turned, quality=95)
    image.convert("P").save(folder / "palette.gif")
    image.putalpha(Image.fromarray(random.integers(0, 2, (48, 64), dtype=np.uint8) * 255))
    image.save(folder / "transparent.png")
    image.convert("RGB").save(folder / "no browser.tiff")
    done = workflows.export(trained.path, to="web", data=tmp_path / "data", out=tmp_path / "out", **more)
    found = done.parity["any_size"]
    assert (found["images"], found["unreadable"], found["flips"]) == (4, 1, 0)
    assert found["max_difference"] < 0.02
    assert "1 of those files are of formats that its runtime does not read" in (tmp_path / "out" / "README.md").read_text()


def test_an_export_goes_under_its_run_when_no_place_is_named(trained: Run) -> None:
    try:
        assert workflows.export(trained.path, to="onnx").path == trained.exports / "onnx"
        with pytest.raises(RunExists, match="is there already"):
            workflows.export(trained.bundle, to="onnx")
    finally:
        shutil.rmtree(trained.exports)


@pytest.mark.parametrize("what", ["file", "folder", "dangling link"])
def test_what_stands_where_an_export_should_go_is_left_alone(trained: Run, tmp_path: Path, what: str) -> None:
    place = tmp_path / "mine"
    {"file": lambda: place.write_text("x"), "folder": place.mkdir, "dangling link": lambda: place.symlink_to("nowhere")}[what]()
    with pytest.raises(RunExists):
        workflows.export(trained.path, to="onnx", out=place)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    assert what != "file" or place.read_text() == "x"


def test_a_kind_or_precision_that_is_not_there_is_named_with_what_is(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        workflows.export(trained.path, to="onxx", out=tmp_path / "out")
    assert "'onnx'" in caught.value.hint
    with pytest.raises(NotSupported, match="torchscript cannot be written in int8") as refused:
        workflows.export(trained.path, to="torchscript", precision="int8", out=tmp_path / "out")
    assert "float32" in refused.value.hint
    with pytest.raises(DataError, match="--runtime is for the web"):
        workflows.export(trained.path, to="onnx", runtime=tmp_path, out=tmp_path / "out")
    with pytest.raises(DataError, match="points of accuracy"):
        workflows.export(trained.path, to="onnx", max_loss=float("nan"), out=tmp_path / "out")


def test_a_bundle_alone_is_proved_on_the_images_that_are_named(trained: Run, squares: Path, tmp_path: Path) -> None:
    shutil.copytree(trained.bundle, tmp_path / "alone")
    with pytest.raises(DataError, match="holds no images") as caught:
        workflows.export(tmp_path / "alone", to="onnx", out=tmp_path / "out")
    assert "--data" in caught.value.hint
    with pytest.raises(DataError, match="without a run"):
        workflows.export(tmp_path / "alone", to="onnx", data=squares)
    done = workflows.export(tmp_path / "alone", to="onnx", data=squares, out=tmp_path / "out")
    assert (done.parity["images"], done.parity["split"]) == (72, "data")


def test_images_of_a_class_that_the_model_does_not_know_are_no_proof(trained: Run, coloured: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not know 'violet'"):
        workflows.export(trained.path, to="onnx", data=coloured(classes=("violet", "red")), out=tmp_path / "out")


def test_a_damaged_bundle_is_refused_before_anything_is_written(trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.path, tmp_path / "run")
    with (tmp_path / "run" / "bundle" / "model.onnx").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(BundleError):
        workflows.export(tmp_path / "run", to="onnx", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Stub:
    """A kind that changes the bundle's own probabilities."""

    precisions = ("float32", "int8")
    holds_code = False
    usage = describe.Usage(examples=("onnx.py",))

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self.change = change
        self.order: Order | None = None

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        self.order = order
        (folder / "model.onnx").write_bytes(b"a model")
        return {"model": ["model.onnx"]}

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        assert self.order is not None
        graph, preprocess = predictor(self.order.bundle), self.order.bundle.preprocess

        def answers(images_NRRC: Any) -> Told:
            told = Told.named(graph.outputs(network_pixels(images_NRRC, preprocess)))
            return told._replace(probs_NK=self.change(told.probs_NK))

        yield answers

    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> None:
        return None


def with_stub(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> Stub:
    stub = Stub(change)
    monkeypatch.setattr(exporting, "kind_of", lambda name: stub)
    return stub


def test_an_export_in_float32_that_differs_is_refused_and_nothing_is_left(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_stub(monkeypatch, lambda probs_NK: probs_NK + np.float32(0.002))
    with pytest.raises(ParityError, match=r"by up to 0\.002 \(allowed 0\.001\)"):
        workflows.export(trained.path, to="onnx", out=tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_export_that_gives_no_numbers_is_refused(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_stub(monkeypatch, lambda probs_NK: np.full_like(probs_NK, np.nan))
    with pytest.raises(ParityError, match="no numbers"):
        workflows.export(trained.path, to="onnx", precision="int8", out=tmp_path / "out")


def test_int8_that_loses_too_much_is_refused_with_the_classes_that_suffered(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def red_is_green(probs_NK: Any) -> Any:
        changed_NK = probs_NK.copy()
        changed_NK[probs_NK.argmax(axis=1) == 2] = [0, 1, 0]
        return changed_NK

    with_stub(monkeypatch, red_is_green)
    with pytest.raises(ParityError, match=r"it suffered in red \(\d to 0 of \d\)") as caught:
        workflows.export(trained.path, to="onnx", precision="int8", out=tmp_path / "out")
    assert "--max-loss" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_what_the_user_allows_may_be_lost(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_stub(monkeypatch, lambda probs_NK: np.roll(probs_NK, 1, axis=1))
    done = workflows.export(trained.path, to="onnx", precision="int8", max_loss=100, out=tmp_path / "out")
    assert done.parity["accuracy"] < 0.5
    assert done.parity["flips"] == 22


def test_a_failure_in_the_middle_leaves_nothing(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(probs_NK: Any) -> Any:
        raise KeyboardInterrupt

    with_stub(monkeypatch, fail)
    with pytest.raises(KeyboardInterrupt):
        workflows.export(trained.path, to="onnx", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_int8_is_calibrated_with_training_images_that_do_not_judge(trained: Run) -> None:
    bundle = Bundle.load(trained.bundle)
    images = exporting._labelled(trained.bundle, bundle, None, lambda event: None, calibrates=True)
    assert images.training is not None
    assert set(images.training.column("split")) == {"train"}
    assert set(images.judged.column("split")) == {"val"}
    assert len(images.training) <= CALIBRATION_IMAGES


def test_images_that_int8_is_calibrated_with_prove_nothing_of_it_and_all_of_float32(trained: Run, tmp_path: Path) -> None:
    bundle, own = Bundle.load(trained.bundle), Manifest.load(trained.manifest).used
    own.split("train").save(tmp_path / "learnt.parquet")
    with pytest.raises(DataError, match="only images that int8 is calibrated with"):
        exporting._labelled(trained.bundle, bundle, tmp_path / "learnt.parquet", lambda event: None, calibrates=True)
    images = exporting._labelled(trained.bundle, bundle, tmp_path / "learnt.parquet", lambda event: None, calibrates=False)
    assert len(images.judged) == len(own.split("train"))


def test_without_a_validation_split_training_images_judge_and_none_of_those_that_calibrate(
    own_environment: Path, squares: Path, tmp_path: Path
) -> None:
    from sortal.recipe import Split
    from tests.exports.conftest import RECIPE

    recipe = RECIPE.model_copy(update={"split": Split(val=0.0, test=0.2), "epochs": 2})
    run = workflows.train(squares, recipe=recipe, out=tmp_path / "run").run
    images = exporting._labelled(run.bundle, Bundle.load(run.bundle), None, lambda event: None, calibrates=True)
    assert images.split == "train"
    assert images.training is not None
    assert not set(images.judged.column("content")) & set(images.training.column("content"))
    assert len(images.judged) >= len(images.training) > 0
    done = workflows.export(run.path, to="onnx", out=tmp_path / "out")
    assert done.parity["split"] == "train"


def test_the_preprocessing_in_an_export_is_ours_to_the_last_bit(trained: Run, squares: Path, tmp_path: Path) -> None:
    describe.write_modules(tmp_path)
    path = squares / "green" / "004.png"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numpy as np\n"
        "from pathlib import Path\n"
        "from preprocess import Preprocess, stored_pixels\n"
        "import decision\n"
        "assert not any(name.startswith('sortal') for name in sys.modules)\n"
        "preprocess = Preprocess(size=14, resize=15, channels=1, mean=(0.5,), std=(0.5,))\n"
        "np.save(sys.argv[3], stored_pixels(Path(sys.argv[2]).read_bytes(), preprocess))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(path), str(tmp_path / "pixels.npy")], check=True, cwd=tmp_path
    )
    from sortal.preprocess import Preprocess

    expected = stored_pixels(path.read_bytes(), Preprocess(size=14, resize=15, channels=1, mean=(0.5,), std=(0.5,)))
    assert np.array_equal(np.load(tmp_path / "pixels.npy"), expected)


@pytest.fixture
def handler(trained: Run, tmp_path: Path) -> Any:
    """The handler of a TorchServe archive, initialised as TorchServe does it."""
    workflows.export(trained.path, to="torchserve", out=tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "classifier.mar") as archive:
        assert json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["handler"] == "handler.py"
        archive.extractall(tmp_path / "unpacked")
    handler = imported(tmp_path / "unpacked" / "handler.py", beside=True).Classifier()
    handler.initialize(SimpleNamespace(system_properties={"model_dir": str(tmp_path / "unpacked")}))
    return handler


def refusing(statuses: list[tuple[int, int]]) -> SimpleNamespace:
    """A context of TorchServe's that writes down for which requests of a batch which status was set."""
    return SimpleNamespace(set_response_status=lambda code, phrase, idx: statuses.append((idx, code)))


def test_the_handler_answers_what_is_no_image_with_400_and_the_rest_with_labels(
    trained: Run, squares: Path, handler: Any
) -> None:
    statuses: list[tuple[int, int]] = []
    path = squares / "red" / "000.png"
    requests = [{"body": b"no image"}, {"body": bytearray(path.read_bytes())}, {"data": "%%%"}, {}]
    answers = handler.handle(requests, refusing(statuses))
    assert statuses == [(0, 400), (2, 400), (3, 400)]
    assert answers[0] == {"error": "not an image"}
    expected = workflows.load(trained.path).predict_proba(path)[0]
    assert answers[1]["label"] == "red"
    assert answers[1]["probability"] == pytest.approx(float(expected.max()), abs=1e-6)


@pytest.mark.parametrize("key", ["body", "data", "image"])
def test_the_handler_answers_json_that_is_no_image_with_400_and_makes_no_room_for_it(
    squares: Path, handler: Any, key: str
) -> None:
    # TorchServe parses a body that is said to be JSON, and so it does a part of a form.
    png = (squares / "red" / "000.png").read_bytes()
    texts = ["1000000000000", "true", "2.5", "{}", '{"image": "x"}', "[]", json.dumps(list(png)), "null", '"no base64"']
    statuses: list[tuple[int, int]] = []
    tracemalloc.start()
    answers = handler.handle([{key: json.loads(text)} for text in texts] + [{key: png}], refusing(statuses))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert statuses == [(index, 400) for index in range(len(texts))]
    assert all(set(answer) == {"error"} for answer in answers[:-1])
    assert answers[-1]["label"] == "red", "the image beside them has its answer"
    assert most < 10_000_000


def test_every_kind_of_the_table_can_be_loaded_and_describes_itself() -> None:
    for entry in KINDS:
        kind = kind_of(entry.name)
        assert kind.precisions[0] == "float32"
        assert all(map(describe.example, kind.usage.examples))


def test_several_labels_keep_their_thresholds(patches: Any, tmp_path: Path, own_environment: Path) -> None:
    from tests.exports.conftest import RECIPE

    run = workflows.train(patches(), recipe=RECIPE.model_copy(update={"epochs": 2}), out=tmp_path / "run").run
    done = workflows.export(run.path, to="onnx", out=tmp_path / "out")
    export = Export.load(done.path)
    assert export.about["task"] == "multi-label"
    assert export.about["thresholds"] == list(Bundle.load(run.bundle).thresholds)
    assert sum(row["images"] for row in done.parity["classes"]) > done.parity["images"] * 0.5
