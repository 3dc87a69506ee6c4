import numpy as np
import pytest

from sortal.health.filefacts import FACTS, TOGETHER, filefacts

COUNT = 300
LABELS = np.tile([0, 1, 2], COUNT // 3)
UNITS = np.arange(COUNT)
CLASSES = ["ant", "bee", "wasp"]


def told(said, labels=LABELS, units=UNITS, classes=CLASSES):
    return filefacts(said, [f"{n}.jpg" for n in range(len(labels))], classes, labels, units)


def drawn(values, seed=0, count=COUNT):
    return [None if value is None else value for value in np.random.default_rng(seed).choice(np.array(values, object), count)]


def mostly(label, value, others, *, share=0.95, seed=0, labels=LABELS):
    """`value` on a share of one class, others at random."""
    random = np.random.default_rng(seed)
    rest = drawn(others, seed + 1, len(labels))
    return [value if is_it and random.random() < share else other for is_it, other in zip(labels == label, rest, strict=True)]


def test_what_has_nothing_to_do_with_the_class_is_not_told():
    assert (
        told({"camera": drawn(["A", "B", None]), "ISO": drawn([100.0, 200.0]), "date": drawn([*map(float, range(400))])}) == []
    )


def test_what_all_files_say_alike_and_what_none_says_is_not_told():
    assert told({"camera": ["A"] * COUNT, "software": [None] * COUNT}) == []
    assert told({}) == []


def test_a_camera_that_took_one_class_is_told_with_figures_examples_and_cure():
    (finding,) = told({"camera": mostly(1, "Maker / M 1", ["A", "B", None]), "ISO": drawn([100.0, 200.0])})
    assert (finding.kind, finding.severity) == ("shortcut", "warning")
    assert finding.detail.startswith("the file's camera alone tells bee (Maker / M 1: on 9")
    assert "% of bee, on 0% of the others): balanced accuracy 0.9" in finding.detail
    assert "on images held out (95% interval 0.9" in finding.detail
    assert "chance 0.50, the best of 200 shuffles of the labels 0.5" in finding.detail or "labels 0.6" in finding.detail
    assert "also" not in finding.detail
    assert "every class with every camera" in finding.cure
    assert len(finding.images) == 3
    assert all(int(source.split(".")[0]) % 3 == 1 for source in finding.images)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_alone_is_found_severe_unless_it_may_be_what_is_to_be_told(fact):
    words = {
        "date": [1000.0, 2000.0, 3000.0],
        "place": [[48.1, 11.6], [40.4, -3.7], [-33.9, 151.2]],
        "ISO": [100.0, 400.0, 800.0],
    }
    values = words.get(fact, ["A", "B", "C"])
    (finding,) = told({fact: [values[label] for label in LABELS]})
    assert f"the file's {fact} alone tells" in finding.detail
    shown = fact in ("exposure time", "f-number", "ISO", "focal length", "flash", "date", "place")
    assert finding.severity == ("warning" if shown else "severe")


def test_days_are_told_as_days():
    (finding,) = told({"date": mostly(1, 14_000.0, [13_000.0, 13_100.0])})
    assert "(2008-05-01: on 9" in finding.detail


def test_that_a_class_says_nothing_is_told_too():
    (finding,) = told({"colour profile": [None if label == 2 else "sRGB" for label in LABELS]})
    assert "tells wasp (none: on 100% of wasp, on 0% of the others)" in finding.detail


def test_a_narrow_range_of_numbers_in_the_middle_is_told():
    random = np.random.default_rng(0)
    exposures = [float(random.normal(50, 1) if label == 1 else random.uniform(0, 100)) for label in LABELS]
    (finding,) = told({"exposure time": exposures})
    assert "alone tells bee" in finding.detail


def test_facts_of_one_origin_are_one_finding_the_strongest_first():
    said = {"ending": mostly(1, ".png", [".jpg"], share=0.9), "format": mostly(1, "PNG", ["JPEG"], share=1.0)}
    (finding,) = told(said)
    assert finding.detail.startswith("the file's format alone tells bee")
    assert "; also ending (bee, 0.9" in finding.detail


def test_facts_of_two_origins_are_two_findings():
    assert len(told({"ending": mostly(1, ".png", [".jpg"]), "camera": mostly(2, "A", ["B"])})) == 2


def test_of_two_classes_one_is_told():
    labels = np.tile([0, 1], 100)
    (finding,) = told({"camera": [("A", "B")[label] for label in labels]}, labels, np.arange(200), ["ant", "bee"])
    assert "also" not in finding.detail


def test_a_weak_difference_as_honest_sets_have_is_not_told():
    assert told({"camera": mostly(1, "A", ["A", "B", "C"], share=0.4)}) == []


def test_rare_classes_are_told_as_well_as_common_ones():
    labels = np.array([0] * 2_000 + [1] * 40)
    (finding,) = told({"camera": mostly(1, "M", ["A", "B"], labels=labels)}, labels, np.arange(2_040), ["ant", "bee"])
    assert "balanced accuracy 0.9" in finding.detail


def test_of_a_class_of_few_images_nothing_is_said():
    labels = np.array([0] * 100 + [1] * 100 + [2] * 19)
    assert told({"camera": ["A"] * 200 + ["B"] * 19}, labels, np.arange(219)) == []
    assert told({"camera": ["A", "B"] * 5}, np.array([0, 1] * 5), np.arange(10), ["ant", "bee"]) == []


def test_weak_facts_that_tell_the_class_together_are_told_together():
    said = {name: mostly(1, "x", ["x", "y", "z"], share=0.5, seed=3 * seed) for seed, name in enumerate(
        ["camera", "software", "orientation", "JPEG tables", "format", "ending", "flash", "resolution", "colour profile"]
    )}  # fmt: skip
    (finding,) = told(said)
    assert finding.detail.startswith(f"{TOGETHER} tell bee: balanced accuracy 0.")
    assert all(told({name: values}) == [] for name, values in said.items())


def test_images_of_one_group_are_no_witnesses_for_each_other():
    """Four photographers, each with a camera of their own and with one class."""
    groups = np.repeat(np.arange(4), 50)
    labels = groups % 2
    own = [f"camera {group}" for group in groups]
    shared = [f"camera {label}" for label in labels]
    assert told({"camera": own}, labels, np.arange(200), ["ant", "bee"])  # nobody said that they are groups
    assert told({"camera": own}, labels, groups, ["ant", "bee"]) == []
    assert told({"camera": shared}, labels, groups, ["ant", "bee"]) == []  # of four groups that is luck
    many = np.repeat(np.arange(60), 5)
    labels = many % 2
    assert told({"camera": [f"camera {label}" for label in labels]}, labels, many, ["ant", "bee"])


@pytest.mark.parametrize("seed", range(8))
def test_many_facts_of_few_images_are_not_told_by_luck(seed):
    labels = np.random.default_rng(seed).permutation(np.tile([0, 1, 2], 20))
    said = {name: drawn([*"ABCDEFGHIJ"], 100 * seed + place, 60) for place, name in enumerate(FACTS)}
    assert told(said, labels, np.arange(60)) == []


def test_a_fact_of_no_kin_is_the_programmers_mistake():
    with pytest.raises(ValueError, match="weather"):
        told({"weather": ["A"] * COUNT})


def test_the_same_rows_give_the_same_finding():
    said = {"camera": mostly(1, "M", ["A", "B"])}
    assert told(said) == told(said)
