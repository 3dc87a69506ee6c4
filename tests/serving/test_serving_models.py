"""Which models are served, and how one takes another's place."""

import asyncio
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sortal import bundle
from sortal.errors import BundleError, DataError
from sortal.serving import models as served_models
from sortal.serving.batching import Lanes
from sortal.serving.models import Models, Place, check, places
from sortal.serving.refused import Refused
from tests.serving.served import SIDE, about, colour_bundle, graph

RED = np.zeros((SIDE, SIDE, 3), np.uint8)
RED[..., 0] = 255


def test_places_get_names_from_folders_and_versions_by_counting(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    words = [
        f"{tmp_path}/bees",
        f"{tmp_path}/ants/bundle",
        "bees=elsewhere",
        "bees@9=x",
        f"n={tmp_path}/a=b",
        f"x={tmp_path}/y",
    ]
    found = places(words)
    assert [(place.name, place.version) for place in found] == [
        ("bees", "1"), ("ants", "1"), ("bees", "2"), ("bees", "9"), ("n", "1"), ("x", "1"),
    ]  # fmt: skip
    assert found[4].path == tmp_path / "a=b"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "nothing to serve"), (["a@1=x", "a@1=y"], "two versions"), (["../x=y"], "address"), (["a@/=y"], "address"),
        (["n" * 65 + "=y"], "address"), (["ä=y"], "address"),
    ],
)  # fmt: skip
def test_places_that_cannot_be_told_apart_or_addressed_are_refused(words: list[str], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        places(words)


async def started(path: Path) -> Models:
    found = Models([Place("m", "1", path)], Lanes(1), runtime="onnxruntime")
    await found.start()
    return found


async def says(models: Models) -> str:
    model = models.get("m")
    row_R = await model.row(RED, float("inf"))
    return model.bundle.classes[int(row_R.argmax())]


def other(path: Path, *, classes: tuple[str, ...] = ("rouge", "vert", "bleu")) -> None:
    shutil.rmtree(path, ignore_errors=True)
    bundle.write(path, graph=graph(), weights=b"other", about=about(classes=list(classes)))


def test_a_bundle_that_was_replaced_answers_once_it_has_passed_its_check(tmp_path: Path) -> None:
    async def main() -> None:
        colour_bundle(tmp_path / "b")
        models = await started(tmp_path / "b")
        assert await says(models) == "red"
        other(tmp_path / "b")
        await models.look(models.wanted[0])
        assert (await says(models), models.refused) == ("rouge", {})

    asyncio.run(main())


@pytest.mark.parametrize("damage", ["half copied", "gone", "other graph", "too many classes", "hostile"])
def test_the_old_one_answers_until_the_new_one_passes(tmp_path: Path, damage: str) -> None:
    async def main() -> None:
        path = tmp_path / "b"
        colour_bundle(path)
        models = await started(path)
        if damage == "half copied":
            other(path)
            os.truncate(path / "model.onnx", 100)
        elif damage == "gone":
            shutil.rmtree(path)
        elif damage == "other graph":
            shutil.rmtree(path)
            bundle.write(path, graph=graph(side=5), weights=b"", about=about())
        elif damage == "too many classes":
            other(path, classes=("a", "b", "c", "d"))
        else:
            shutil.rmtree(path)
            bundle.write(path, graph=b"\x00hostile", weights=b"", about=about())
        await models.look(models.wanted[0])
        assert await says(models) == "red"
        assert models.refused[("m", "1")]
        other(path)
        await models.look(models.wanted[0])
        assert (await says(models), models.refused) == ("rouge", {})

    asyncio.run(main())


def test_what_waits_for_the_old_one_is_still_answered_by_it(tmp_path: Path) -> None:
    async def main() -> None:
        colour_bundle(tmp_path / "b")
        models = await started(tmp_path / "b")
        before = models.get("m")
        waiting = [asyncio.ensure_future(before.row(RED, float("inf"))) for _ in range(20)]
        await asyncio.sleep(0)
        other(tmp_path / "b")
        await models.look(models.wanted[0])
        assert all(row_R.argmax() == 0 for row_R in await asyncio.gather(*waiting))
        assert models.get("m") is not before

    asyncio.run(main())


def test_a_touched_file_with_the_same_bytes_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        colour_bundle(tmp_path / "b")
        models = await started(tmp_path / "b")
        before = models.get("m")
        (tmp_path / "b" / "model.onnx").touch()
        await models.look(models.wanted[0])
        assert models.get("m") is before

    asyncio.run(main())


def test_versions_are_found_by_number_and_the_newest_without_one(tmp_path: Path) -> None:
    async def main() -> None:
        colour_bundle(tmp_path / "b")
        models = Models(places([f"a={tmp_path}/b", f"a@x={tmp_path}/b", f"c={tmp_path}/b"]), Lanes(1), runtime="onnxruntime")
        await models.start()
        assert (models.get("a").version, models.get("a", "1").version, models.first.name) == ("x", "1", "a")
        assert dict(models.versions) == {"a": ("1", "x"), "c": ("1",)}
        for name, version in (("a", "2"), ("b", ""), ("c", "x")):
            with pytest.raises(Refused) as caught:
                models.get(name, version)
            assert caught.value.status == 404

    asyncio.run(main())


def test_a_graph_that_changes_between_check_and_reading_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colour_bundle(tmp_path / "b")
    load = served_models.Bundle.load

    def swapped(path: Path) -> bundle.Bundle:
        found = load(path)
        found.graph.write_bytes(graph(sharpness=3))
        return found

    monkeypatch.setattr(served_models.Bundle, "load", swapped)
    with pytest.raises(BundleError, match="changed while it was read"):
        check(tmp_path / "b")


def test_openvino_gives_the_same_answers_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    found = colour_bundle(tmp_path / "b")
    ours, theirs = (check(found.path, runtime=name).warm for name in ("onnxruntime", "openvino"))
    assert theirs.runtime == "openvino"
    images_NSSC = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    np.testing.assert_allclose(theirs.network(images_NSSC), ours.network(images_NSSC), atol=1e-5)
