import pytest

from sortal.reporting import words


def test_cross_validation_goes_before_test_and_test_before_validation() -> None:
    assert words.headline_split(["val", "test", "cross_validation"]) == "cross_validation"
    assert words.headline_split(["train", "val", "test"]) == "test"
    assert words.headline_split(["train", "val"]) == "val"
    assert words.headline_split(["mine"]) == "mine"


def test_the_answer_gives_the_interval() -> None:
    said = words.answer("test", {"accuracy": 0.951, "accuracy_interval": [0.917, 0.972], "images": 245})
    assert said == "95.1% of images it was not trained on are sorted correctly; the 95% interval runs from 91.7% to 97.2%."


def test_a_score_on_training_images_says_so() -> None:
    assert "its own training images" in words.answer("train", {"accuracy": 1.0, "accuracy_interval": [0.9, 1.0], "images": 9})
    assert "not how new images will fare" in words.basis("train", 9, chosen=["epoch"])


def test_a_validation_score_says_plainly_that_the_epoch_was_chosen_on_it() -> None:
    said = words.basis("val", 153, chosen=["epoch", "temperature"])
    assert said == (
        "Taken on 153 validation images, since there is no test split; the epoch to ship and the temperature of the "
        "probabilities were chosen on them, so expect a little less on new images."
    )


def test_a_temperature_alone_flatters_no_accuracy() -> None:
    said = words.basis("val", 153, chosen=["temperature"])
    assert said.endswith("the temperature of the probabilities was chosen on them, which does not change this score.")


def test_where_nothing_was_chosen_it_says_so() -> None:
    assert words.basis("test", 500, chosen=[]) == "Taken on 500 test images; nothing was chosen on them."
    assert words.basis("test", 1, chosen=[]) == "Taken on 1 test image; nothing was chosen on it."


def test_cross_validation_says_how_each_image_was_judged() -> None:
    said = words.basis("cross_validation", 245, chosen=[], folds=5)
    assert said.startswith(
        "Taken on 245 training images in 5-fold cross-validation: each was judged by a model that never saw it"
    )


@pytest.mark.parametrize("split", ["cross_validation", "test", "val", "train", "mine"])
@pytest.mark.parametrize("chosen", [[], ["epoch"], ["temperature"], ["epoch", "stop", "temperature"]])
def test_every_basis_is_one_sentence(split: str, chosen: list[str]) -> None:
    said = words.basis(split, 12, chosen=chosen)
    assert said.endswith(".")
    assert said.count(".") == 1
