"""Check as a whole: photographs drawn here, faults planted into them, and a tiny network that sees coarse patches of colour."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from sortal import engines, workflows
from sortal.data import made
from sortal.data.graphs import Graph
from sortal.errors import BundleError, DataError, MissingExtra
from sortal.events import Progress
from sortal.health import filefacts
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.preprocess import Preprocess
from sortal.workflows import checking, seeing
from sortal.workflows.precautions import taken

for library in ("onnx", "usearch", "cleanlab"):
    pytest.importorskip(library)


def patches_graph(size: int) -> bytes:
    """uint8 (N, S, S, 3) in, float32 (N, 192) out: the colours of 8 x 8 patches."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["coarse"], kernel_shape=[size // 8] * 2, strides=[size // 8] * 2),
        helper.make_node("Flatten", ["coarse"], ["features"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 192])
    graph = helper.make_graph(nodes, "patches", [images], [features])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tiny network in place of the real one; the list grows whenever it is made."""
    made: list[int] = []

    def make(size: int) -> Graph:
        made.append(size)
        preprocess = asdict(Preprocess(size=size, resize=size, interpolation="bilinear"))
        return Graph(patches_graph(size), {"preprocess": preprocess, "dimensions": 192})

    monkeypatch.setattr(seeing, "_made", make)
    return made


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyTorch is not installed and no graph was ever made."""

    def missing(name: str) -> None:
        raise MissingExtra("torch (needed to train with torch)", name)

    monkeypatch.setattr(engines, "load", missing)
    monkeypatch.setattr(seeing, "find_spec", lambda name: None)


def draw(folder: Path, *, each: int, seed: int = 0, side: int = 96) -> None:
    """Write `each` JPEGs of random blobs to spots/ and stripes/, no two alike; their middles differ, not border nor mean."""
    random = np.random.default_rng(seed)
    for name in ("spots", "stripes"):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            layers = [
                np.asarray(
                    Image.fromarray(random.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(
                        (side, side), Image.Resampling.BICUBIC
                    )
                )
                for n in (4, 9, 18)
            ]
            pixels = np.mean(layers, axis=0) * 0.8
            middle = pixels[side // 3 : -side // 3, side // 3 : -side // 3]
            half = len(middle) // 2
            lighter, darker = (middle[:, :half], middle[:, half:]) if name == "stripes" else (middle[:half], middle[half:])
            lighter += 50
            darker -= 50
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number:03}.jpg", quality=90)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """train/ and test/ of stripes and spots, and no fault in them."""
    for split, each, seed in (("train", 26, 1), ("test", 12, 2)):
        draw(tmp_path / "photographs" / split, each=each, seed=seed)
    return tmp_path / "photographs"


def kinds(health: checking.Health) -> set[str]:
    return {finding.kind for finding in health.findings}


def images(health: checking.Health, kind: str) -> set[str]:
    return {source for finding in health.findings if finding.kind == kind for source in finding.images}


def altered(source: Path, target: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    with Image.open(source) as image:
        change(image).save(target, quality=90)


def test_sound_photographs_have_no_copies_no_placeholder_and_no_broken_file(photographs, tiny_network) -> None:
    health = workflows.check(photographs)
    assert kinds(health) <= {"label", "quality", "drift"}
    assert health.left_out == {}
    assert not health.severe


def test_planted_faults_are_all_found_each_by_its_kind(photographs, tiny_network) -> None:
    train, test = photographs / "train" / "spots", photographs / "test" / "spots"
    changes: dict[str, Callable[[Image.Image], Image.Image]] = {
        "mirrored": ImageOps.mirror,
        "cropped": lambda image: image.crop((4, 6, 92, 94)),
        "resized": lambda image: image.resize((70, 70)),
        "brightened": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    }
    for number, (name, change) in enumerate(changes.items()):
        altered(train / f"{number:03}.jpg", test / f"{name}.jpg", change)
    Image.open(train / "010.jpg").save(train / "same-pixels.png")
    (train / "half.jpg").write_bytes((train / "011.jpg").read_bytes()[:900])
    (train / "empty.jpg").write_bytes(b"")
    (train / "page.jpg").write_bytes(b"<html>404</html>")
    Image.new("RGB", (96, 96), (200, 200, 200)).save(train / "blank.png")
    sorry = Image.new("RGB", (96, 96), (246, 246, 246))
    sorry.paste((50, 50, 50), (20, 40, 76, 52))
    sorry.save(train / "sorry.gif")

    health = workflows.check(photographs)

    across = next(finding for finding in health.findings if finding.kind == "copies-across-splits")
    assert health.findings[0] is across
    assert {tuple(sorted(group)) for group in across.groups} == {
        (f"test/spots/{name}.jpg", f"train/spots/{number:03}.jpg") for number, name in enumerate(changes)
    }
    assert images(health, "copies") == {"train/spots/010.jpg", "train/spots/same-pixels.png"}
    assert images(health, "unreadable") == {f"train/spots/{name}.jpg" for name in ("half", "empty", "page")}
    assert images(health, "placeholder") == {"train/spots/sorry.gif"}
    assert "train/spots/blank.png" in images(health, "quality")
    assert health.severe


def test_a_placeholder_is_found_however_often_it_was_saved(photographs, tiny_network, tmp_path) -> None:
    """Sixty times among 76 photographs: as it is, and as JPEG of many qualities."""
    sorry = Image.new("RGB", (96, 96), (246, 246, 246))
    sorry.paste((50, 50, 50), (20, 40, 76, 52))
    for number in range(60):
        sorry.save(photographs / "train" / "stripes" / f"sorry{number}.jpg", quality=95 if number < 40 else 30 + number)
    health = workflows.check(photographs, fix=tmp_path / "fixed.parquet")
    assert images(health, "placeholder") == {f"train/stripes/sorry{number}.jpg" for number in range(60)}
    assert health.fixed is not None
    assert len(health.fixed.quarantined) == 60


def test_a_set_of_strokes_and_a_class_of_empty_fields_have_no_placeholders(tmp_path, tiny_network) -> None:
    """As handwritten digits are, and what a microscope shows where there is nothing."""
    random = np.random.default_rng(0)
    for number in range(60):
        digit = Image.new("L", (14, 14))
        ImageDraw.Draw(digit).line([tuple(at) for at in random.integers(2, 12, (4, 2)).tolist()], fill=255)
        slope = 200 - 5 * np.hypot(*np.mgrid[-1:1:96j, -1:1:96j])
        for name, picture in (
            ("digits", digit.resize((96, 96), Image.Resampling.BILINEAR)),
            ("fields", Image.fromarray((slope + random.normal(0, 2, (96, 96))).astype(np.uint8))),
        ):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / "set" / name / f"{number}.png")
    assert "placeholder" not in kinds(workflows.check(tmp_path / "set"))


@pytest.mark.parametrize(("network", "severity"), [("tiny_network", "severe"), ("no_network", "warning")])
def test_a_small_picture_saved_again_in_another_split_is_severe_once_pixels_were_compared(
    tmp_path, request, network, severity
) -> None:
    request.getfixturevalue(network)
    draw(tmp_path / "set" / "train", each=26, seed=1, side=48)
    draw(tmp_path / "set" / "test", each=12, seed=2, side=48)
    altered(tmp_path / "set/train/spots/000.jpg", tmp_path / "set/test/spots/again.jpg", lambda image: image)
    found = [finding for finding in workflows.check(tmp_path / "set").findings if finding.kind == "copies-across-splits"]
    assert [(finding.severity, sorted(finding.images)) for finding in found] == [
        (severity, ["test/spots/again.jpg", "train/spots/000.jpg"])
    ]


def test_a_border_on_one_class_is_a_shortcut_and_without_it_there_is_none(photographs, tiny_network) -> None:
    assert "shortcut" not in kinds(workflows.check(photographs))
    for path in photographs.glob("*/spots/*.jpg"):
        altered(path, path, lambda image: ImageOps.expand(image, 6, fill=(200, 30, 60)))
    found = [finding.detail for finding in workflows.check(photographs).findings if finding.kind == "shortcut"]
    assert any(detail.startswith("the border alone tells spots") or "also spots" in detail for detail in found)


def test_what_the_files_of_one_class_say_of_themselves_is_a_shortcut(photographs, tiny_network) -> None:
    assert "shortcut" not in kinds(workflows.check(photographs))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "M 1"
    for path in photographs.glob("*/spots/*.jpg"):
        with Image.open(path) as image:
            image.load()
        image.save(path, quality=90, exif=exif)
    found = workflows.check(photographs).findings
    (finding,) = [each for each in found if each.kind == "shortcut" and "camera alone tells" in each.detail]
    assert "Maker / M 1" in finding.detail or "none" in finding.detail
    assert finding.severity == "severe"


def test_all_that_is_read_of_files_is_asked() -> None:
    assert {*made.FACTS, "ending"} == set(filefacts.FACTS)


def test_wrong_labels_are_named_with_the_label_that_they_would_have(tmp_path, tiny_network) -> None:
    """Red and blue pictures, three of them in the wrong folder."""
    random = np.random.default_rng(0)
    for number in range(80):
        colour = number % 2
        pixels = random.integers(0, 120, (40, 40, 3), dtype=np.uint8)
        pixels[:, :, 2 * colour] += 110
        folder = tmp_path / "set" / ("red", "blue")[colour if number not in (10, 21, 30) else 1 - colour]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    (finding,) = [finding for finding in workflows.check(tmp_path / "set").findings if finding.kind == "label"]
    assert {(source, label) for source, label in zip(finding.images, finding.proposed, strict=True)} == {
        ("blue/010.png", "red"), ("red/021.png", "blue"), ("blue/030.png", "red"),
    }  # fmt: skip


def test_the_second_check_looks_at_nothing_and_says_the_same(photographs, tiny_network) -> None:
    first = workflows.check(photographs)
    seen: list[Progress] = []
    again = workflows.check(photographs, observe=lambda event: seen.append(event) if isinstance(event, Progress) else None)
    assert again.to_json() == first.to_json()
    assert {event.what for event in seen} == {"scan"}
    assert tiny_network == [seeing.SIZE]


def test_the_first_check_shows_that_it_works(photographs, tiny_network) -> None:
    seen: list[Progress] = []
    workflows.check(photographs, observe=lambda event: seen.append(event) if isinstance(event, Progress) else None)
    for what in ("scan", "features", "findings"):
        (*_, last) = [event for event in seen if event.what == what]
        assert last.done == last.total


def test_many_images_are_seen_smaller(monkeypatch, photographs, tiny_network) -> None:
    monkeypatch.setattr(seeing, "MANY", 10)
    workflows.check(photographs)
    assert tiny_network == [seeing.SIZE_OF_MANY]


def test_without_torch_all_that_needs_no_features_is_asked_and_the_rest_is_named(photographs, no_network) -> None:
    (photographs / "train" / "spots" / "empty.jpg").write_bytes(b"")
    altered(
        photographs / "train" / "spots" / "000.jpg",
        photographs / "test" / "spots" / "smaller.jpg",
        lambda i: i.resize((80, 80)),
    )
    health = workflows.check(photographs)
    assert {"unreadable", "copies-across-splits"} <= kinds(health)
    assert "label errors" in health.left_out
    assert "torch" in health.left_out["label errors"]
    assert "pip install" in health.left_out["label errors"]
    assert json.loads(json.dumps(health.to_json()))["left_out"][0]["reason"]


def test_with_a_graph_in_the_store_torch_is_not_needed(photographs, tiny_network, monkeypatch) -> None:
    workflows.check(photographs)
    monkeypatch.setattr(seeing, "_made", lambda size: pytest.fail("the graph is there"))
    altered(photographs / "train" / "spots" / "000.jpg", photographs / "test" / "spots" / "turned.jpg", ImageOps.mirror)
    assert "test/spots/turned.jpg" in images(workflows.check(photographs), "copies-across-splits")


def test_where_the_stores_have_no_room_features_are_held_for_this_check_alone(photographs, tiny_network, monkeypatch) -> None:
    wanted = workflows.check(photographs).to_json()
    stores = checking.Cache.default()
    stores.clear()
    for path in (stores.root / "measured").glob("*.json"):
        path.unlink()
    monkeypatch.setattr(checking.Cache, "make_room", lambda self, wanted: not wanted)
    assert workflows.check(photographs).to_json() == wanted


def test_fix_writes_a_manifest_without_leaks_and_touches_nothing_else(photographs, tiny_network, tmp_path) -> None:
    train, test = photographs / "train" / "spots", photographs / "test" / "spots"
    altered(train / "000.jpg", test / "mirrored.jpg", ImageOps.mirror)
    Image.new("RGB", (96, 96)).save(train / "blank.png")
    (photographs / "train" / "stripes" / "001-again.jpg").write_bytes((train / "001.jpg").read_bytes())
    before = {path: path.read_bytes() for path in photographs.rglob("*") if path.is_file()}

    health = workflows.check(photographs, fix=tmp_path / "fixed.parquet")

    assert {path: path.read_bytes() for path in photographs.rglob("*") if path.is_file()} == before
    told = health.to_json()["fixed"]
    assert told["moved"] == [{"source": "test/spots/mirrored.jpg", "from": "test", "to": "train"}]
    reasons = {row["source"]: row["reason"] for row in told["quarantined"]}
    assert set(reasons) == {"train/spots/001.jpg", "train/stripes/001-again.jpg", "train/spots/blank.png"}
    assert reasons["train/spots/001.jpg"] == "set aside by sortal check: the same picture is labelled spots and stripes"
    fixed = Manifest.load(tmp_path / "fixed.parquet")
    assert len(fixed) == len(before)
    assert set(fixed.excluded.sources) == set(reasons)
    groups = dict(zip(fixed.sources, fixed.column("group"), strict=True))
    assert groups["test/spots/mirrored.jpg"] == groups["train/spots/000.jpg"] is not None
    assert not {"copies-across-splits", "copies-with-other-label"} & kinds(workflows.check(tmp_path / "fixed.parquet"))


@pytest.mark.parametrize(("name", "said"), [("there.parquet", "nothing is overwritten"), ("new.csv", "no name for a manifest"),
                                            ("missing/new.parquet", "does not exist")])  # fmt: skip
def test_fix_refuses_a_place_that_is_taken_or_none_before_anything_is_done(tmp_path, name, said) -> None:
    (tmp_path / "there.parquet").write_bytes(b"mine")
    with pytest.raises(DataError, match=said):
        workflows.check(tmp_path / "no-images", fix=tmp_path / name)
    assert (tmp_path / "there.parquet").read_bytes() == b"mine"
    assert not (tmp_path / "new.csv").exists()


def test_training_keeps_on_one_side_what_check_found_and_says_so(tmp_path, tiny_network) -> None:
    draw(tmp_path / "set", each=24)
    altered(tmp_path / "set" / "spots" / "000.jpg", tmp_path / "set" / "spots" / "mirrored.jpg", ImageOps.mirror)
    manifest = checking.scan(tmp_path / "set")
    assert taken(manifest, lambda event: None).decisions(manifest) == []  # a mirrored copy is none for bytes, pixels and hash
    workflows.check(tmp_path / "set")
    found = taken(manifest, lambda event: None)
    (decision,) = found.decisions(found.manifest)
    assert decision.key == "split.groups"
    assert "2 images (found by sortal check): all of one picture stand on one side" in decision.reason
    groups = dict(zip(found.manifest.sources, found.manifest.column("group"), strict=True))
    assert groups["spots/000.jpg"] == groups["spots/mirrored.jpg"] is not None
    assert sum(group is not None for group in groups.values()) == 2


def test_what_check_found_joins_the_groups_that_the_user_has_given_since(tmp_path, tiny_network) -> None:
    draw(tmp_path / "set", each=24)
    altered(tmp_path / "set" / "spots" / "000.jpg", tmp_path / "set" / "spots" / "mirrored.jpg", ImageOps.mirror)
    workflows.check(tmp_path / "set")
    given = {"spots/000.jpg": "one", "spots/001.jpg": "one", "spots/mirrored.jpg": "other", "spots/002.jpg": "other"}
    manifest = checking.scan(tmp_path / "set")
    manifest = manifest.with_column("group", [given.get(source) for source in manifest.sources])
    found = taken(manifest, lambda event: None)
    groups = dict(zip(found.manifest.sources, found.manifest.column("group"), strict=True))
    assert len({groups[source] for source in given}) == 1, "a group of the user's was torn apart by a copy in another"
    assert {source for source, group in groups.items() if group is not None} == set(given)
    (decision,) = found.decisions(found.manifest)
    assert "1 picture is there more than once, on 2 images" in decision.reason


def test_training_with_splits_that_hold_a_copy_on_both_sides_says_that_it_is_so(photographs, tiny_network) -> None:
    altered(photographs / "train" / "spots" / "000.jpg", photographs / "test" / "spots" / "mirrored.jpg", ImageOps.mirror)
    workflows.check(photographs)
    found = taken(checking.scan(photographs), lambda event: None)
    (decision,) = found.decisions(found.manifest)
    assert "of 1 your own splits hold some on several sides" in decision.reason
    assert "copies-across-splits" in [finding.kind for finding in found.findings(found.manifest)]


def test_copies_that_the_scan_shows_are_kept_together_without_a_check(tmp_path, no_network) -> None:
    draw(tmp_path / "set", each=24)
    Image.open(tmp_path / "set" / "spots" / "000.jpg").save(tmp_path / "set" / "spots" / "again.png")
    found = taken(checking.scan(tmp_path / "set"), lambda event: None)
    (decision,) = found.decisions(found.manifest)
    assert "told by bytes, pixels and perceptual hash" in decision.reason
    assert [finding.kind for finding in found.findings(found.manifest) if finding.groups] == ["copies"]


def test_several_labels_an_image_are_checked_for_copies_and_drift(patches, tiny_network) -> None:
    health = workflows.check(patches())
    assert health.to_json()["images"] == 60


def test_a_class_of_one_image_is_named_among_what_was_not_asked(photographs, tiny_network) -> None:
    (photographs / "train" / "dots").mkdir()
    altered(photographs / "train" / "spots" / "000.jpg", photographs / "train" / "dots" / "only.jpg", ImageOps.invert)
    health = workflows.check(photographs)
    assert health.left_out == {"label errors in dots": "a class of one image has nothing to compare it with"}


def test_a_run_that_is_not_finished_is_refused(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(BundleError, match="not finished"):
        workflows.check(tmp_path / "run")


def test_an_image_that_changed_since_the_scan_is_named(photographs, tiny_network, monkeypatch) -> None:
    scan = checking.scan

    def then_change(*args, **kwargs):
        manifest = scan(*args, **kwargs)
        (photographs / "train" / "spots" / "003.jpg").write_bytes(b"gone")
        return manifest

    monkeypatch.setattr(checking, "scan", then_change)
    with pytest.raises(DataError, match=r"train/spots/003\.jpg .* its bytes have changed"):
        workflows.check(photographs)


def a_run_of(photographs: Path, run: Path, *, taken_for: dict[str, str]) -> None:
    """A finished run's folder as `check` reads it: its images, and a model that is sure and right but for some images."""
    run.mkdir()
    manifest = checking.scan(photographs)
    manifest.save(run / "manifest.parquet")
    (run / "run.json").write_text(json.dumps({"format": 1}))
    (run / "result.json").write_text("{}")
    test = manifest.split("test")
    probs = np.full((len(test), 2), 0.01, np.float32)
    for row, (source, (label,)) in enumerate(zip(test.sources, test.column("labels"), strict=True)):
        probs[row, manifest.classes.index(taken_for.get(source, label))] = 0.99
    splits = ("test",) * len(test)
    Predictions(tuple(test.sources), manifest.classes, probs, test.labels_N, splits_N=splits).save(run / "predictions.parquet")


def test_of_a_run_its_model_judges_the_labels_also_without_a_network(photographs, tmp_path, no_network) -> None:
    a_run_of(photographs, tmp_path / "run", taken_for={"test/spots/003.jpg": "stripes"})
    health = workflows.check(tmp_path / "run")
    (finding,) = [finding for finding in health.findings if finding.kind == "label"]
    assert (finding.images, finding.proposed) == (("test/spots/003.jpg",), ("stripes",))
    assert "by the run's model" in finding.detail
    assert "label errors" not in health.left_out
    assert health.to_json()["splits"] == {"train": 52, "test": 24}


def test_the_smallest_sets_are_checked_too(tmp_path, tiny_network) -> None:
    draw(tmp_path / "set", each=1)
    health = workflows.check(tmp_path / "set")
    assert health.to_json()["images"] == 2
    assert kinds(health) == {"few-images"}


def test_a_library_that_is_missing_is_named_with_what_it_would_have_found(photographs, tiny_network, monkeypatch) -> None:
    there = checking.find_spec
    monkeypatch.setattr(checking, "find_spec", lambda name: None if name in ("usearch", "cleanlab") else there(name))
    health = workflows.check(photographs)
    assert set(health.left_out) == {"label errors", "classes that are alike", "near copies that are mirrored or cut"}
    assert "cleanlab" in health.left_out["label errors"]
    assert "sortal[check]" in health.left_out["label errors"]


def test_what_an_earlier_check_took_for_a_copy_is_taken_back(tmp_path, tiny_network) -> None:
    draw(tmp_path / "set", each=24)
    altered(tmp_path / "set" / "spots" / "000.jpg", tmp_path / "set" / "spots" / "mirrored.jpg", ImageOps.mirror)
    workflows.check(tmp_path / "set")
    (tmp_path / "set" / "spots" / "mirrored.jpg").unlink()
    workflows.check(tmp_path / "set")
    found = taken(checking.scan(tmp_path / "set"), lambda event: None)
    assert found.decisions(found.manifest) == []
