"""The page of a study as text: what it says, and that nothing hostile gets through."""

import copy
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from sortal.reporting.study import render

VOID = {"meta", "link", "img", "br", "line", "circle", "polyline"}


def scored(mean: float, images: int = 2000) -> dict[str, Any]:
    return {"mean": mean, "interval": [mean - 0.02, mean + 0.02], "by_seed": {"0": mean, "1": mean}, "images": images}


def change(mean: float, *, beyond: bool) -> dict[str, Any]:
    return {"mean": mean, "interval": [mean - 0.01, mean + 0.01], "beyond_noise": beyond}


def invented(rows: int = 3) -> dict[str, Any]:
    return {
        "format": 1, "name": "s", "title": "Which <alpha>?", "about": "About & why", "note": "Not run here.",
        "created": "2031-05-04T13:37:00+00:00", "command": "sortal study s.toml", "choose": "accuracy", "chosen": "row 1",
        "data": {"name": "cifar.zip", "classes": {"cat": 5, "dog": 5}, "splits": {"train": 7000, "val": 1000, "test": 2000}},
        "seeds": [0, 1], "cumulative": True, "method": "images and seeds both taken as random",
        "rows": [
            {
                "name": f"row {n}", "set": {"augment.mixup": 0.2 * n} if n else {}, "chosen": n == 1,
                "validation": scored(0.7 + n / 100, 1000) | {"by": "accuracy", "score": 0.7}, "test": scored(0.72 + n / 100),
                "to_first": change(n / 100, beyond=n > 1) if n else None,
                "to_previous": change(-0.01, beyond=False) if n else None,
                "failures": {"1": "<b>diverged"} if n == 2 else {}, "seconds": 61.0,
            }
            for n in range(rows)
        ],
        "curves": {
            f"row {n}": {"loss": [[1, 2.0], [2, 1.0 + n]], "accuracy": [[1, 0.5], [2, 0.7]]} for n in range(rows)
        },
        "errors": {
            "row": "row 1", "classes": ["cat", "dog"], "runs": 2, "confusion": [[8, 2], [3, 7]],
            "pairs": [{"classes": ["cat", "dog"], "count": 2.5, "share": 0.25}],
            "hardest": [
                {
                    "class": "dog", "recall": 0.7, "images": 5,
                    "mistakes": [{"source": "<i>.png", "predicted": "cat", "wrong_runs": 2, "probability": 0.9}],
                }
            ],
        },
        "mixed": "row 2", "recipe": {"epochs": 3, "augment": {"flip": 0.5}}, "reasons": [],
    }  # fmt: skip


class Order(HTMLParser):
    """Notes tags that are closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)


def test_the_headline_is_the_chosen_rows_and_says_on_what_it_was_chosen() -> None:
    page = " ".join(render(invented()).split())
    assert '<data id="accuracy" value="0.73">73.00%</data>' in page
    assert "“row 1”, the row that validation chose" in page
    assert "by its mean accuracy on 1,000 validation images, before any test image was looked at" in page
    assert "Not run here." in page


def test_noise_is_told_from_more_than_noise() -> None:
    page = render(invented())
    assert page.count("more than noise</small>") == 1
    assert page.count("may be noise</small>") == 3
    assert "+2.0" in page
    assert "\u22121.0" in page  # a real minus sign


def test_nothing_hostile_becomes_markup() -> None:
    page = render(invented())
    for hostile in ("<alpha>", "<b>diverged", "<i>.png"):
        assert hostile not in page
    assert "Which &lt;alpha&gt;?" in page


def test_tags_are_closed_in_order() -> None:
    order = Order()
    order.feed(render(invented()))
    assert order.wrong == []
    assert order.stack == []


def test_pictures_are_inside_the_page(picture: Callable[..., bytes]) -> None:
    page = render(invented(), thumbnails={"<i>.png": picture(32, 0, "PNG")}, mixed=[("cat and another", picture(96, 1))])
    assert page.count("<img") == 2
    assert page.count('src="data:image/') == 2
    assert "Training images of “row 2”" in page
    assert "no thumbnail" not in page


def test_twenty_rows_have_a_line_each_that_can_be_told_apart() -> None:
    page = render(invented(20))
    looks = {f'class="line s{n % 8 + 1}{("", " dashed", " dotted")[n // 8]}"' for n in range(20)}
    assert len(looks) == 20
    assert all(look in page for look in looks)


def test_without_a_choice_no_number_is_put_forward() -> None:
    study = copy.deepcopy(invented())
    for row in study["rows"]:
        row["chosen"] = False
    study |= {"chosen": None, "errors": None}
    page = render(study)
    assert "none was chosen" in page
    assert 'id="accuracy"' not in page


@pytest.mark.parametrize("key", ["curves", "errors", "mixed"])
def test_what_was_not_asked_for_has_no_section(key: str) -> None:
    study = invented() | {key: {} if key == "curves" else None}
    assert f'id="{key}"' not in render(study)
