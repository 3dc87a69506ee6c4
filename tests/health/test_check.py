import json

import numpy as np
import pyarrow as pa

from sortal.health.check import findings
from sortal.manifest import SCHEMA, Manifest

HASH = 0x9A3C_55F0_1234_ABCD


def manifest(*rows, classes=("ant", "bee")) -> Manifest:
    """Rows as dicts; what is left out is that of a good image."""
    hashes = np.random.default_rng(0).integers(0, 2**64, len(rows), dtype=np.uint64).tolist()
    good = {"labels": ["ant"], "width": 100, "height": 80}
    full = [{**good, "source": f"{n}.jpg", "content": f"{n:064x}", "phash": hashes[n], **row} for n, row in enumerate(rows)]
    return Manifest(pa.Table.from_pylist(full, schema=SCHEMA), classes, "/photos")


def balanced(count=20, **values):
    return [{"labels": [name], **values} for name in ("ant", "bee") for _ in range(count)]


def test_a_sound_data_set_has_no_findings():
    assert findings(manifest(*balanced())) == []


def test_the_gravest_come_first_and_every_kind_is_found():
    rows = [
        *balanced(150, split="train"),
        *[{"labels": ["bee"], "split": "test"}] * 300,
        {"content": "same", "phash": HASH, "split": "train"},
        {"content": "same", "phash": HASH, "split": "test"},
        {"content": "same", "phash": HASH, "split": "test", "labels": ["bee"]},
        {"content": "same", "phash": HASH, "split": "test", "labels": ["bee"]},
        {"exclusion": "cannot be opened", "content": None, "phash": None, "width": None, "height": None},
    ]
    found = findings(manifest(*rows, classes=("ant", "bee", "wasp")))
    assert [(finding.severity, finding.kind) for finding in found] == [
        ("severe", "copies-across-splits"),
        ("severe", "copies-with-other-label"),
        ("severe", "few-images"),
        ("warning", "unreadable"),
        ("warning", "copies"),
    ]


def test_imbalance_is_judged_in_training_where_there_is_a_training_split():
    test = [{"labels": ["bee"], "split": "test"}] * 400
    ant = [{"split": "test"}] * 10
    assert findings(manifest(*balanced(split="train"), *test, *ant)) == []
    assert [finding.kind for finding in findings(manifest(*[{}] * 20, *[{"labels": ["bee"]}] * 400))] == ["imbalance"]


def test_an_excluded_image_is_no_copy():
    twin = {"content": "same", "phash": HASH}
    kinds = [finding.kind for finding in findings(manifest(*balanced(), twin, twin | {"exclusion": "over the pixel limit"}))]
    assert kinds == ["unreadable"]


def test_a_small_side_makes_a_small_picture():
    near = [{"phash": HASH, "split": "train", "height": 40}, {"phash": HASH ^ 1, "split": "test"}]
    rest = [row | {"split": split} for row in balanced() for split in ("train", "test")]
    (finding,) = findings(manifest(*rest, *near))
    assert (finding.kind, finding.severity) == ("copies-across-splits", "warning")


def test_an_empty_manifest_is_severe_and_not_a_crash():
    (finding,) = findings(manifest(classes=()))
    assert (finding.kind, finding.severity) == ("few-images", "severe")


def test_findings_are_json_with_the_keys_of_the_contract():
    (finding,) = findings(manifest(*balanced(), {"exclusion": "is empty", "source": "bad.jpg"}))
    told = json.loads(json.dumps(finding.to_json()))
    assert list(told) == ["kind", "severity", "images", "detail", "cure"]
    assert told["images"] == ["bad.jpg"]
