"""The page as text: what it says, that nothing hostile gets through, and that it stays small."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

from sortal.errors import DataError
from sortal.evaluation.scores import score
from sortal.predictions import Predictions
from sortal.reporting.model import Report, build
from sortal.reporting.page import MOST_CARDS, render, wanted_thumbnails

VOID = {"meta", "link", "img", "br", "line", "circle", "polyline"}


class Tags(HTMLParser):
    """Collects tags with their attributes, and notes any that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    parser.close()
    return parser


@pytest.fixture(params=["two_classes", "ten_classes", "hundred_classes", "several_labels"])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue(request.param)


def test_every_tag_is_closed_in_order(report: Report) -> None:
    found = tags(render(report))
    assert (found.wrong, found.stack) == ([], [])


def test_the_page_holds_no_script_and_names_no_address_outside_itself(report: Report, picture: Callable[..., bytes]) -> None:
    page = render(report, thumbnails={source: picture(40, 1) for source in wanted_thumbnails(report)})
    for tag, attributes in tags(page).tags:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form"}
        for key in ("src", "href", "srcset", "data"):
            assert (attributes.get(key) or "#").startswith(("data:", "#"))
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_the_answer_stands_at_the_top(two_classes: Report) -> None:
    page = render(two_classes)
    heading = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert heading
    assert " ".join(re.sub(r"<[^>]+>", "", heading[1]).split()) == two_classes.headline.answer
    assert page.index("<h1>") < page.index("<h2>")
    assert two_classes.headline.basis in page


def test_sections_come_in_the_order_of_their_use(two_classes: Report, picture: Callable[..., bytes]) -> None:
    page = render(two_classes, inputs=[("bees", picture(16, 1, "PNG"))])
    order = re.findall(r'<section id="(\w+)">', page)
    assert order == ["scores", "curves", "confusion", "classes", "mistakes", "inputs", "recipe", "data", "again"]
    assert set(re.findall(r'href="#(\w+)"', page)) == set(order)


def test_every_table_has_headers_with_a_scope_and_every_image_a_text(report: Report, picture: Callable[..., bytes]) -> None:
    page = render(report, thumbnails={source: picture(40, 1) for source in wanted_thumbnails(report)})
    for tag, attributes in tags(page).tags:
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["aria-label"]


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}&amp;\u202e'


def test_hostile_names_stay_text(picture: Callable[..., bytes]) -> None:
    probs = np.array([[0.9, 0.1], [0.1, 0.9], [0.8, 0.2]], dtype=np.float32)
    given = Predictions((HOSTILE, "b.png", HOSTILE + "2"), (HOSTILE, "b"), probs, np.array([1, 1, 1]), ("test",) * 3)
    found = build(
        name=HOSTILE,
        created=HOSTILE,
        scores=score(given),
        predictions=given,
        chosen={},
        command=HOSTILE,
        files={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        history=[{"epoch": 1, "loss": 1.0, "rate": 0.1, HOSTILE: 0.5}],
    )
    page = render(found, thumbnails={HOSTILE: picture(20, 1)}, inputs=[(HOSTILE, picture(20, 2))])
    parsed = tags(page)
    assert not [tag for tag, _ in parsed.tags if tag == "script"]
    assert not [attributes for _, attributes in parsed.tags if "onerror" in attributes]
    assert "{{ 7 * 7 }}" in page
    assert (parsed.wrong, parsed.stack) == ([], [])


def test_a_card_without_a_thumbnail_says_so(two_classes: Report) -> None:
    assert "no thumbnail" in render(two_classes)


def test_pictures_that_are_no_images_are_refused(two_classes: Report) -> None:
    with pytest.raises(DataError, match="neither JPEG nor PNG"):
        render(two_classes, inputs=[("<svg>", b"<svg onload=alert(1)>")])


def test_ten_thousand_images_with_large_thumbnails_stay_under_ten_megabytes(ten_classes: Report) -> None:
    large = b"\xff\xd8\xff" + bytes(1 << 20)
    thumbnails = dict.fromkeys(wanted_thumbnails(ten_classes), large)
    page = render(ten_classes, thumbnails=thumbnails, inputs=[("bees", large)] * 8)
    assert len(page.encode()) < 10_000_000
    assert "data:image/jpeg" in page
    assert "no thumbnail" in page  # what did not fit


def test_no_more_thumbnails_are_wanted_than_are_shown(ten_classes: Report) -> None:
    assert len(wanted_thumbnails(ten_classes)) == MOST_CARDS
    assert render(ten_classes).count("no thumbnail") == MOST_CARDS


def test_a_thousand_classes_have_their_pairs_listed_in_place_of_a_matrix() -> None:
    k = 1000
    probs = np.full((60, k), 0.1 / (k - 1), dtype=np.float32)
    labels = np.arange(60)
    probs[np.arange(60), np.where(labels < 3, labels + 1, labels)] = 0.9
    given = Predictions(tuple(map(str, labels)), tuple(f"c{n}" for n in range(k)), probs, labels, ("test",) * 60)
    page = render(build(name="x", created="", scores=score(given), predictions=given, chosen={}))
    assert "too many for a matrix" in page
    assert "<b>c0</b> taken for <b>c1</b>" in page
    assert len(page) < 2_000_000


def test_a_perfect_result_has_no_section_of_mistakes() -> None:
    given = Predictions(("a.png",), ("a", "b"), np.array([[0.9, 0.1]], dtype=np.float32), np.array([0]), ("test",))
    page = render(build(name="x", created="", scores=score(given), predictions=given, chosen={}))
    assert 'id="mistakes"' not in page
    assert "no images of it here" in page
