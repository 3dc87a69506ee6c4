"""The page in a real browser, at the width of a phone and of a desk: what it shows, and what a click and a key do."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sortal.evaluation.scores import score
from sortal.predictions import Predictions
from sortal.reporting.model import Report, build
from sortal.reporting.page import Desk, render
from sortal.reporting.pictures import wanted_small, wanted_thumbnails
from sortal.reporting.study import render as render_study
from tests.chromium import CHROMIUM, SIZES, Browser, chromium

A4 = (718, 1047)
"""Pixels of a sheet within Chromium's margins."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module", params=["everything", "ten_classes", "hundred_classes", "several_labels"])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., bytes]) -> Path:
    """A folder with report.html and report.json."""
    path = tmp_path_factory.mktemp("report")
    thumbnails = {source: picture(120, seed) for seed, source in enumerate(wanted_thumbnails(report))}
    small = {source: picture(28, seed % 9, "PNG") for seed, source in enumerate(wanted_small(report))}
    inputs = [(f"mixed {seed}", picture(28, seed, "PNG")) for seed in range(8)]
    page = render(report, thumbnails=thumbnails, small=small, inputs=inputs)
    (path / "report.html").write_text(page, encoding="utf-8")
    report.save(path / "report.json")
    return path


@pytest.fixture(scope="module", params=sorted(SIZES))
def opened(request: pytest.FixtureRequest, browser: Browser, folder: Path) -> Browser:
    """The report's page, opened at one of the sizes."""
    browser.open(folder / "report.html", SIZES[request.param])
    return browser


def test_the_page_is_no_wider_than_the_window(opened: Browser) -> None:
    assert opened.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert opened.value("document.documentElement.clientWidth") in (390, 1280, 1265)


def test_nothing_sticks_out_of_the_window_but_what_scrolls_in_its_own_box(opened: Browser) -> None:
    sticking_out = """[...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.box, pre, .hidden') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.tagName + '.' + e.className)"""
    assert opened.value(sticking_out) == []


def test_every_image_loads(opened: Browser) -> None:
    assert opened.value("document.images.length") > 8
    assert opened.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_nothing_is_asked_of_a_network(opened: Browser) -> None:
    assert opened.requested, "the page itself at least is asked for"
    assert {url.partition(":")[0] for url in opened.requested} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in opened.requested) == 1


def test_the_headline_says_the_numbers_of_report_json(opened: Browser, folder: Path) -> None:
    numbers = json.loads((folder / "report.json").read_text())["headline"]
    shown = opened.value("['accuracy', 'low', 'high'].map(id => Number(document.getElementById(id).value))")
    assert shown == [numbers["accuracy"], *numbers["accuracy_interval"]]
    text = opened.value("document.querySelector('h1').innerText.replace(/\\s+/g, ' ').trim()")
    assert text == numbers["answer"]
    assert opened.value("document.querySelector('.basis').innerText") == numbers["basis"]


def test_chart_labels_are_eleven_pixels_high_or_more(opened: Browser) -> None:
    smallest = "Math.min(...[...document.querySelectorAll('.chart')].map(c => 13 * c.getBoundingClientRect().width / 360))"
    assert opened.value(smallest) >= 11


CONTRAST = """(() => {
    const parse = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
    const light = (colour) => {
        const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        const layers = [];
        for (let each = element; each; each = each.parentElement) layers.unshift(parse(getComputedStyle(each).backgroundColor));
        return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    document.querySelectorAll('details').forEach((each) => { each.open = true; });
    const found = {};
    let seen = 0;
    for (const element of document.querySelectorAll('body *')) {
        const style = getComputedStyle(element);
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || !element.getClientRects().length || element.closest('script, .hidden, title')) continue;
        const below = ground(element);
        const ink = over(parse(element instanceof SVGElement ? style.fill : style.color), below);
        const [low, high] = [light(ink), light(below)].sort((a, b) => a - b);
        const ratio = (high + 0.05) / (low + 0.05);
        const size = parseFloat(style.fontSize);
        seen += 1;
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        const place = `${element.tagName}.${element.className} in ${element.parentElement.className}`;
        if (ratio < (large ? 3 : 4.5)) found[place] = ratio.toFixed(2);
    }
    return [seen, found];
})()"""
"""How many pieces of text were looked at, and those whose ratio is below WCAG 2's AA: 4.5, or 3 for large type."""


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_stands_out_from_its_ground_in_light_and_dark(
    browser: Browser, folder: Path, report: Report, dark: bool
) -> None:
    browser.open(folder / "report.html", SIZES["phone"], dark=dark)
    browser.value("document.querySelector('#confusion .open').click()")
    seen, too_faint = browser.value(CONTRAST)
    assert seen > 100
    assert too_faint == {}
    paper = browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(paper) < 3 * 128) is dark


def test_text_too_near_to_its_ground_is_seen_by_the_test_above(matrix: Browser) -> None:
    matrix.value("document.querySelector('.basis').style.color = '#8a8a8a'")
    assert list(matrix.value(CONTRAST)[1]) == ["P.basis in "]


def cell(browser: Browser) -> str:
    """What the panel of the confusion matrix says, '' where it is not there."""
    return str(browser.value("document.getElementById('cell').innerText.replace(/\\s+/g, ' ').trim()"))


@pytest.fixture
def matrix(browser: Browser, everything: Report, tmp_path: Path, picture: Callable[..., bytes]) -> Browser:
    """A report of two classes, opened; its matrix has four cells."""
    small = {source: picture(28, seed % 9, "PNG") for seed, source in enumerate(wanted_small(everything))}
    (tmp_path / "report.html").write_text(render(everything, small=small), encoding="utf-8")
    browser.open(tmp_path / "report.html", SIZES["desk"])
    return browser


def test_a_click_on_a_cell_shows_its_pictures_and_another_puts_them_away(matrix: Browser, everything: Report) -> None:
    wanted = {tuple(row["cell"]): row["images"] for row in everything.examples}
    counts = everything.confusion[everything.headline.split]
    assert cell(matrix) == ""
    matrix.click(".matrix tbody tr:nth-child(1) td:nth-of-type(2) button")
    shown = cell(matrix)
    assert shown.startswith(f"{counts[0][1]} of {sum(counts[0])} ants taken for bees")
    assert matrix.value("[...document.querySelectorAll('#cell img')].map(image => image.alt)") == [
        image["source"] for image in wanted[0, 1]
    ]
    assert matrix.value("[...document.querySelectorAll('#cell data')].map(each => Number(each.value))") == [
        image["probability"] for image in wanted[0, 1]
    ]
    assert matrix.until("[...document.querySelectorAll('#cell img')].every(image => image.complete && image.naturalWidth > 0)")
    matrix.click(".matrix tbody tr:nth-child(2) td:nth-of-type(2) button")
    assert f"{counts[1][1]} of {sum(counts[1])} bees recognised" in cell(matrix)
    assert f"and {counts[1][1] - len(wanted[1, 1])} more" in cell(matrix)
    assert matrix.value("document.querySelectorAll('[aria-expanded=true]').length") == 1
    matrix.click(".matrix tbody tr:nth-child(2) td:nth-of-type(2) button")
    assert cell(matrix) == ""


def test_arrows_go_from_cell_to_cell_enter_opens_and_escape_closes(matrix: Browser) -> None:
    focus = "document.activeElement.getAttribute('aria-label')"
    assert matrix.value("document.querySelectorAll('.matrix [tabindex=\\'0\\']').length") == 1
    matrix.value("document.querySelector('.matrix [tabindex=\\'0\\']').focus()")
    assert "ants recognised" in matrix.value(focus)
    matrix.press("ArrowRight")
    assert "ants taken for bees" in matrix.value(focus)
    matrix.press("ArrowRight", "ArrowDown")
    assert "bees recognised" in matrix.value(focus)
    matrix.press("ArrowLeft", "Enter")
    assert "bees taken for ants" in cell(matrix)
    assert matrix.value("document.activeElement.getAttribute('aria-expanded')") == "true"
    matrix.press("Escape")
    assert cell(matrix) == ""
    assert "bees taken for ants" in matrix.value(focus)


def test_all_that_can_be_pressed_can_be_reached_by_tab_and_is_named(matrix: Browser) -> None:
    matrix.value("document.body.focus()")
    names: list[str] = []
    for _ in range(60):
        matrix.press("Tab")
        names.append(
            matrix.value("""(() => {
                const at = document.activeElement;
                const name = at.getAttribute('aria-label') || at.innerText;
                const seen = getComputedStyle(at).outlineStyle !== 'none';
                return at === document.body ? '' : (seen ? '' : 'UNSEEN ') + at.tagName + ' ' + name.trim();
            })()""")
        )
        if not names[-1]:
            break
    reached = [name for name in names if name]
    assert reached[0] == "A Skip to the report"
    assert any(name.startswith("BUTTON") for name in reached)
    assert any(name.startswith("SUMMARY") for name in reached)
    assert not [name for name in reached if name.startswith("UNSEEN") or len(name.split()) < 2]


def test_on_paper_it_is_dark_on_light_and_no_wider_than_the_sheet(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", A4, dark=True)
    browser("Emulation.setEmulatedMedia", media="print")
    browser.value("dispatchEvent(new Event('beforeprint'))")
    sticking_out = """[...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.matrix, .hidden, .skip') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.tagName + '.' + e.className)"""
    assert browser.value(sticking_out) == []
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser("Emulation.setEmulatedMedia", media="")


def test_a_screen_reader_is_told_the_name_of_all_that_acts_or_shows_and_headings_skip_no_level(matrix: Browser) -> None:
    matrix.value("document.querySelector('#confusion .open').click()")
    nodes = [node for node in matrix("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = {"button", "link", "image", "region", "navigation", "combobox"}
    roles = [node["role"]["value"] for node in nodes]
    assert {"banner", "main", "navigation", "contentinfo", "button", "image", "region", "table"} <= set(roles)
    nameless = [role for node, role in zip(nodes, roles, strict=True) if role in named and not node["name"]["value"].strip()]
    assert nameless == []
    levels = matrix.value("[...document.querySelectorAll('h1, h2, h3, h4')].map(heading => Number(heading.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


@pytest.mark.parametrize("dark", [False, True])
def test_the_desk_stands_out_too(
    browser: Browser, everything: Report, tmp_path: Path, picture: Callable[..., bytes], dark: bool
) -> None:
    small = {source: picture(28, seed % 9, "PNG") for seed, source in enumerate(wanted_small(everything))}
    first = everything.mistakes[0]["source"]
    states = {
        first: {"labels": ["ants"], "told": "labelled ants", "by": "mark"},
        **{f"{n}.jpg": {"labels": ["bees"], "told": f"in group {n // 2}", "by": "version"} for n in range(100)},
        "<b>.jpg": {"labels": ["bees"], "told": "set aside by hand", "by": "before"},
    }
    desk = Desk("secret", everything.classes, states, 1, command="sortal train 'my run/manifest-2.parquet'")
    (tmp_path / "report.html").write_text(render(everything, small=small, desk=desk), encoding="utf-8")
    for size in SIZES.values():
        browser.open(tmp_path / "report.html", size, dark=dark)
        browser.value("document.querySelector('#confusion .open').click()")
        assert browser.value("document.querySelector('#mistakes .now').textContent") == "labelled ants"
        browser.value("document.getElementById('marked').scrollIntoView()")
        browser.until("document.querySelectorAll('#marked .blank').length > 0")  # no server, no pictures
        assert browser.value(CONTRAST)[1] == {}
        test_the_page_is_no_wider_than_the_window(browser)
        test_nothing_sticks_out_of_the_window_but_what_scrolls_in_its_own_box(browser)
        heads = "[...document.querySelectorAll('#marked :is(h3, .decision > p:first-child)')].map(each => each.textContent)"
        assert browser.value(heads) == [
            "Not saved yet: 1 image", "labelled ants 1 image", "Saved: 100 images", "in a group 100 images",
            "Set aside before the training: 1 image", "set aside by hand 1 image",
        ]  # fmt: skip
        assert browser.value("document.getElementById('train').textContent").endswith(
            " sortal train 'my run/manifest-2.parquet'"
        )
        assert browser.value("document.getElementById('count').textContent") == "101 marked"
        assert browser.value("[...document.querySelectorAll('#marked .undo')].at(-1).textContent") == "Use again"
        assert browser.value("document.querySelector('#marked .decision .undo').textContent") == "Undo all 100"
        browser.click("#marked .decided > .away")
        assert browser.value("document.querySelectorAll('#marked li').length") == 1 + 96 + 1


def test_what_is_folded_is_unfolded_on_paper(matrix: Browser) -> None:
    closed = "document.querySelectorAll('details:not([open])').length"
    before = matrix.value(closed)
    assert before > 1
    matrix.value("dispatchEvent(new Event('beforeprint'))")
    assert matrix.value(closed) == 0
    matrix.value("dispatchEvent(new Event('afterprint'))")
    assert matrix.value(closed) == before


def test_names_are_text_wherever_the_script_puts_them(browser: Browser, tmp_path: Path) -> None:
    hostile = '"><img src=x onerror="document.title=1"></script><script>document.title=1</script>\u202egpj'
    given = Predictions((hostile,), (hostile, "b"), np.array([[0.1, 0.9]], np.float32), np.array([0]), ("test",))
    path = tmp_path / "report.html"
    path.write_text(render(build(name="x", created="", scores=score(given), predictions=given, chosen={})), encoding="utf-8")
    browser.open(path, SIZES["phone"])
    browser.click(".matrix button")
    assert "\\u202egpj" in browser.value("document.querySelector('#cell .source').textContent")
    assert browser.value("document.title").startswith("x: ")
    assert browser.value("document.querySelectorAll('img').length") == 0
    test_the_page_is_no_wider_than_the_window(browser)


@pytest.mark.parametrize("size", sorted(SIZES))
def test_the_page_of_a_study_fits_the_window(
    browser: Browser, size: str, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    from tests.reporting.test_study_page import invented

    path = tmp_path / "study.html"
    mixed = [("83% a class of a rather long name, 17% another", picture(96, seed)) for seed in range(4)]
    path.write_text(render_study(invented(12), thumbnails={"<i>.png": picture(96, 0)}, mixed=mixed), encoding="utf-8")
    browser.open(path, SIZES[size])
    test_the_page_is_no_wider_than_the_window(browser)
    test_nothing_sticks_out_of_the_window_but_what_scrolls_in_its_own_box(browser)
    test_nothing_is_asked_of_a_network(browser)
    test_chart_labels_are_eleven_pixels_high_or_more(browser)
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
