import pytest

from sortal.health.classes import few_images, imbalance, on_all, unlabelled


@pytest.mark.parametrize(
    ("counts", "severity"),
    [
        ({"ant": 100, "bee": 100}, None),
        ({"ant": 299, "bee": 100}, None),
        ({"ant": 300, "bee": 100}, "note"),
        ({"ant": 100, "bee": 999}, "note"),
        ({"ant": 100, "bee": 1_000}, "warning"),
        ({"ant": 100, "bee": 0}, None),
        ({"ant": 100}, None),
        ({}, None),
    ],
)
def test_imbalance_is_noted_from_three_times_and_warned_of_from_ten(counts, severity):
    assert [finding.severity for finding in imbalance(counts)] == ([severity] if severity else [])


def test_imbalance_names_the_largest_and_the_smallest():
    (finding,) = imbalance({"ant": 40, "bee": 10, "wasp": 20})
    assert finding.detail == "ant has 4.0 times the images of bee: 40 against 10"
    assert finding.images == ()


def test_imbalance_shows_images_of_the_smallest_as_its_example():
    images = {"ant": [f"ant/{n}" for n in range(90)], "bee": [f"bee/{n}" for n in range(20)]}
    (finding,) = imbalance({"ant": 90, "bee": 20, "wasp": 0}, images)
    assert finding.images == tuple(images["bee"][:12])


def told(counts, split_counts=None, images=None):
    images = images or {name: [f"{name}/{n}" for n in range(count)] for name, count in counts.items()}
    return [
        (finding.severity, finding.detail, len(finding.images)) for finding in few_images(counts, split_counts or {}, images)
    ]


def test_ten_images_of_each_class_are_enough_to_say_nothing():
    assert told({"ant": 10, "bee": 10}, {"train": {"ant": 9, "bee": 9}, "test": {"ant": 1, "bee": 1}}) == []


def test_a_class_of_nine_is_named_with_its_images():
    assert told({"ant": 10, "bee": 9}) == [("warning", "1 class with fewer than 10 images: bee has 9 images", 9)]


def test_a_class_with_no_usable_image_is_severe():
    assert ("severe", "1 class without a single usable image: wasp", 0) in told({"ant": 10, "bee": 10, "wasp": 0})


@pytest.mark.parametrize(
    ("counts", "what"),
    [({"ant": 50}, "only ant"), ({"ant": 50, "bee": 0}, "only ant"), ({"ant": 0}, "nothing"), ({}, "nothing")],
)
def test_a_single_class_cannot_be_told_from_others(counts, what):
    assert told(counts)[0] == ("severe", f"there is {what} to learn: a classifier needs images of two classes or more", 0)


def test_a_class_that_is_missing_from_a_split_is_named_and_from_training_severely():
    counts = {"ant": 20, "bee": 20}
    assert told(counts, {"train": counts, "test": {"ant": 5}}) == [("warning", "test has no image of 1 class: bee", 0)]
    assert told(counts, {"train": {"ant": 20, "bee": 0}, "test": {"bee": 20, "ant": 1}}) == [
        ("severe", "train has no image of 1 class: bee", 0)
    ]


def test_a_thousand_small_classes_make_a_short_sentence():
    (finding,) = few_images({f"{n}": 1 for n in range(1_000)}, {}, {f"{n}": [f"{n}/0"] for n in range(1_000)})
    assert finding.detail.startswith("1,000 classes with fewer than 10 images: 0 has 1 image; ")
    assert finding.detail.endswith("; and 995 more")
    assert len(finding.images) == 1_000


def test_images_without_a_label_are_noted_by_name():
    (finding,) = unlabelled(["a.jpg", "b.jpg"], 10)
    assert (finding.kind, finding.severity, finding.images) == ("label", "note", ("a.jpg", "b.jpg"))
    assert finding.detail == "2 of 10 images have no label: a.jpg; b.jpg"
    assert unlabelled([], 10) == []


def test_a_label_that_every_image_has_cannot_be_learnt():
    (finding,) = on_all({"ant": 10, "bee": 3}, 10)
    assert (finding.kind, finding.severity) == ("label", "warning")
    assert "all 10 images have the label ant" in finding.detail
    assert on_all({"ant": 9, "bee": 10}, 11) == []
    assert on_all({"ant": 10}, 10) == []  # `few_images` says that there is nothing to learn
