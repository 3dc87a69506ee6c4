"""The page as text: what it says, that nothing hostile gets through, and that it stays small."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from sortal.errors import DataError
from sortal.evaluation.scores import score
from sortal.predictions import Predictions
from sortal.reporting.model import Report, build
from sortal.reporting.page import Desk, render
from sortal.reporting.pictures import MOST_CARDS, wanted_small, wanted_thumbnails

VOID = {"meta", "link", "img", "br", "line", "circle", "polyline"}


class Tags(HTMLParser):
    """Collects tags with their attributes, and notes any that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.wrong: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts.append(data)

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


@pytest.fixture(params=["two_classes", "everything", "ten_classes", "hundred_classes", "several_labels"])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue(request.param)


def test_every_tag_is_closed_in_order(report: Report) -> None:
    found = tags(render(report))
    assert (found.wrong, found.stack) == ([], [])


def whole(report: Report, picture: Callable[..., bytes], **options: Any) -> str:
    """The page with all pictures that it wants."""
    large = {source: picture(40, 1) for source in wanted_thumbnails(report)}
    return render(report, thumbnails=large, small=dict.fromkeys(wanted_small(report), picture(28, 2, "PNG")), **options)


def test_the_page_names_no_address_outside_itself(report: Report, picture: Callable[..., bytes]) -> None:
    page = whole(report, picture)
    for tag, attributes in tags(page).tags:
        assert tag not in {"iframe", "object", "embed", "base", "form"}
        for key in ("src", "href", "srcset", "data"):
            assert (attributes.get(key) or "#").startswith(("data:", "#"))
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_the_only_script_that_may_run_is_the_one_whose_hash_the_page_names(report: Report) -> None:
    parsed = tags(render(report))
    policy = next(str(attributes["content"]) for tag, attributes in parsed.tags if "http-equiv" in attributes)
    known, script = parsed.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert script.startswith('"use strict";')
    assert [attributes.get("type") for tag, attributes in parsed.tags if tag == "script"] == ["application/json", None]
    assert set(json.loads(known)) == {"cells", "pictures"}


def test_the_answer_stands_at_the_top(two_classes: Report) -> None:
    page = render(two_classes)
    heading = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert heading
    assert " ".join(re.sub(r"<[^>]+>", "", heading[1]).split()) == two_classes.headline.answer
    assert page.index("<h1>") < page.index("<h2>")
    assert two_classes.headline.basis in page


def test_parts_come_in_the_order_of_their_use(everything: Report, picture: Callable[..., bytes]) -> None:
    page = render(everything, inputs=[("bees", picture(16, 1, "PNG"))])
    order = re.findall(r'<section id="(\w+)">', page)
    assert order == [
        "diagnosis", "scores", "confusion", "mistakes", "classes", "slices", "coverage", "calibration", "growth", "robustness",
        "findings", "curves", "inputs", "recipe", "data", "again",
    ]  # fmt: skip
    assert re.findall(r'<a href="#(\w+)">', page) == order


@pytest.mark.parametrize("name", ["diagnosis", "findings", "slices", "coverage", "calibration", "learning_curve", "robustness"])
def test_what_is_not_known_has_no_part(everything: Report, name: str) -> None:
    there, part = render(everything), {"learning_curve": "growth"}.get(name, name)
    gone = render(replace(everything, **{name: {} if name == "calibration" else ()}))
    assert f'id="{part}"' in there
    assert f'id="{part}"' not in gone
    assert f'href="#{part}"' not in gone


def test_a_finding_about_labels_says_what_each_would_be_and_one_about_copies_keeps_them_together(
    everything: Report, picture: Callable[..., bytes]
) -> None:
    page = whole(everything, picture)
    findings = page[page.index('id="findings"') : page.index('id="curves"')]
    assert findings.count("would be <b>ants</b>") == 9
    copies = findings[: findings.index("Labels that may be wrong")]
    assert [part.count("<img") for part in copies.split('<ul class="thumbs">')[1:]] == [2, 3, 4]


def test_of_a_thousand_copies_the_first_groups_are_shown_and_all_are_counted(
    two_classes: Report, picture: Callable[..., bytes]
) -> None:
    sources = [f"{number}.png" for number in range(1000)]
    groups = [sources[start : start + 5] for start in range(0, 1000, 5)]
    row = {"kind": "copies", "severity": "note", "images": sources, "detail": "d", "cure": "c", "groups": groups}
    found = replace(two_classes, findings=(row,))
    assert wanted_small(found)[:10] == sources[:10]
    page = whole(found, picture)
    assert '<data value="1000">1,000</data> images' in page
    assert "999.png" not in page


def test_without_maps_a_mistake_has_neither_map_nor_neighbours(everything: Report) -> None:
    assert "What the model looked at" in render(everything)
    gone = render(replace(everything, maps={}))
    assert "What the model looked at" not in gone
    assert 'class="nearest"' not in gone


def test_a_page_says_where_mistakes_are_explained_by_the_models_of_the_folds(everything: Report) -> None:
    words = "trained without the image and all others of its fold"
    assert words not in render(everything)
    (source, shown), *others = everything.maps.items()
    assert words in render(replace(everything, maps={source: {**shown, "fold": 0}, **dict(others)}))


def test_every_number_of_the_page_is_one_of_report_json(report: Report, picture: Callable[..., bytes]) -> None:
    page = whole(report, picture)
    numbers = set(_numbers(json.loads(json.dumps(report.to_json()))))
    numbers |= {float(len(row["images"])) for row in report.findings}
    shown = re.findall(r'<data[^>]* value="([^"]+)">([^<]+)</data>', page)
    assert len(shown) > 20
    for value, text in shown:
        assert float(value) in numbers, value
        digits = text.replace(",", "").replace("\u2212", "-")
        said = float(digits.rstrip("%")) / (100 if digits.endswith("%") else 1)
        decimals = len(digits.rstrip("%").partition(".")[2]) + (2 if digits.endswith("%") else 0)
        assert abs(said - float(value)) <= 0.5001 * 10**-decimals, (value, text)


def test_every_cell_of_the_matrix_is_one_of_report_json(two_classes: Report) -> None:
    page = render(two_classes)
    body = re.search(r'<table class="matrix.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert body
    shown = [
        [int(cell or 0) for cell in re.findall(r"<td[^>]*>(\d*)</td>", line)] for line in re.findall("<tr>.*?</tr>", body[1])
    ]
    assert shown == [list(row) for row in two_classes.confusion[two_classes.headline.split]]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield float(value)


def test_what_the_script_knows_of_a_cell_is_what_report_json_says(report: Report, picture: Callable[..., bytes]) -> None:
    known = json.loads(tags(whole(report, picture)).scripts[0])
    saved = json.loads(json.dumps(report.to_json()))
    assert {key: [image[1:] for image in cell["images"]] for key, cell in known["cells"].items()} == {
        "-".join(map(str, row["cell"])): [[image["source"], image["probability"]] for image in row["images"]]
        for row in saved["examples"]
    }
    assert all(image[0] >= 0 for cell in known["cells"].values() for image in cell["images"])
    for key, cell in known["cells"].items():
        row, column = map(int, key.split("-"))
        counts = saved["confusion"][saved["headline"]["split"]][row]
        flat = counts if report.task == "multi_class" else [*counts[0], *counts[1]]
        assert cell["count"] == flat[column]


def test_every_table_has_headers_with_a_scope_and_every_image_a_text(report: Report, picture: Callable[..., bytes]) -> None:
    page = render(report, thumbnails={source: picture(40, 1) for source in wanted_thumbnails(report)})
    for tag, attributes in tags(page).tags:
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["aria-label"]


HOSTILE = "\"'><script>alert(1)</script><!--<script><img src=x onerror=alert(1)>{{ 7 * 7 }}&amp;`\u202e\u2028"


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
    row = {"images": 3, "accuracy": 0.5, "accuracy_interval": [0.4, 0.6]}
    found = replace(
        found,
        diagnosis=({"kind": HOSTILE, "severity": HOSTILE, "evidence": HOSTILE, "cure": HOSTILE, "change": {HOSTILE: HOSTILE}},),
        findings=({"kind": HOSTILE, "severity": HOSTILE, "images": [HOSTILE], "detail": HOSTILE, "cure": HOSTILE},),
        slices=({"by": HOSTILE, "value": HOSTILE, **row},),
        robustness=(
            {"corruption": "none", "strength": 0, **row},
            {"corruption": HOSTILE, "strength": 1, **row, "drop": 0.1, "drop_interval": [0, 0.2], "broken": True, "tied": True},
        ),
        calibration={"method": HOSTILE, "chosen_on": HOSTILE, "conformal": {HOSTILE: HOSTILE}},
        maps={HOSTILE: {"map": None, "nearest": [{"source": HOSTILE, "label": HOSTILE, "similarity": 0.5}]}},
    )
    page = whole(found, picture, inputs=[(HOSTILE, picture(20, 2))], desk=Desk(HOSTILE, [HOSTILE], {HOSTILE: {}}))
    parsed = tags(page)
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == len(parsed.scripts) == 2
    assert not [attributes for _, attributes in parsed.tags if "onerror" in attributes]
    assert "{{ 7 * 7 }}" in page
    assert (parsed.wrong, parsed.stack) == ([], [])
    assert "\u202e" not in page  # which would turn the text around it
    assert json.loads(parsed.scripts[0])["desk"]["marks"][0]["sources"] == [HOSTILE]


@pytest.mark.parametrize(
    "address", ["https://example.org/x.png", "data:text/html;base64,AAAA", 'data:image/png;base64,A"onload=']
)
def test_a_map_that_is_no_picture_inside_the_report_is_refused(everything: Report, address: str) -> None:
    source = everything.mistakes[0]["source"]
    with pytest.raises(DataError, match="no picture inside"):
        render(replace(everything, maps={source: {"map": address, "nearest": []}}))


def test_a_card_without_a_thumbnail_says_so(two_classes: Report) -> None:
    assert ">no thumbnail<" in render(two_classes)


def test_pictures_that_are_no_images_are_refused(two_classes: Report) -> None:
    with pytest.raises(DataError, match="neither JPEG nor PNG"):
        render(two_classes, inputs=[("<svg>", b"<svg onload=alert(1)>")])


def test_ten_thousand_images_with_large_thumbnails_stay_under_ten_megabytes(ten_classes: Report) -> None:
    large = b"\xff\xd8\xff" + bytes(1 << 20)
    thumbnails = dict.fromkeys(wanted_thumbnails(ten_classes), large)
    page = render(ten_classes, thumbnails=thumbnails, inputs=[("bees", large)] * 8)
    assert len(page.encode()) < 10_000_000
    assert "data:image/jpeg" in page
    assert ">no thumbnail<" in page  # what did not fit


def test_no_more_thumbnails_are_wanted_than_are_shown(ten_classes: Report) -> None:
    assert len(wanted_thumbnails(ten_classes)) == MOST_CARDS
    assert render(ten_classes).count(">no thumbnail<") == MOST_CARDS


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
