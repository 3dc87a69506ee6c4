"""The page about diagnosis says what its numbers say, and knows every kind that can be told."""

import json
import re
from pathlib import Path

import pytest

from sortal.evaluation.diagnosis import data, learning, machine

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "diagnosis.md").read_text()
NUMBERS = json.loads((DOCS / "diagnosis" / "numbers.json").read_text())


def test_the_page_links_to_what_is_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert len(targets) >= 4
    for target in targets:
        assert (DOCS / target).exists(), target


@pytest.mark.parametrize("folder", ["learning", "data", "machine"])
def test_every_kind_of_a_diagnosis_stands_in_the_page_and_in_the_contract(folder: str) -> None:
    source = Path({"learning": learning, "data": data, "machine": machine}[folder].__file__).read_text()
    kinds = set(re.findall(r'Diagnosis\(\s*"([a-z-]+)"', source))
    assert len(kinds) >= 2
    contract = (DOCS / "contract.md").read_text()
    for kind in kinds:
        assert f"| `{kind}` |" in PAGE
        assert f"`{kind}`" in contract


def test_the_table_of_trainings_holds_their_numbers() -> None:
    rows = [
        f"| {len(row['loss'])} | {row['loss'][-1]:.3f} | {min(row['validation']):.3f} | {row['validation'][-1]:.3f} |"
        for row in NUMBERS["fitting"].values()
    ]
    assert len(rows) == 4
    for row in rows:
        assert row in PAGE, row


def test_what_is_said_of_thawing_and_augmentation_are_their_numbers() -> None:
    fast, slow = NUMBERS["thawing"].values()
    told = [f"{fast['validation'][3]:.3f}", f"{fast['validation'][4]:.3f}", f"{fast['validation'][-1]:.3f}"]
    told += [f"{100 * fast['accuracy']:.1f}%", f"{100 * slow['accuracy']:.1f}%"]
    told += [f"{min(slow['validation'][4:]):.3f} and {max(slow['validation'][4:]):.3f}"]
    told += [fast["diagnosis"][0]["evidence"]]
    varied = NUMBERS["augmentation"]
    told += [f"{100 * varied['plain']:.1f}%", f"{100 * min(varied['augmented']):.1f}% and"]
    page = " ".join(PAGE.split())
    for text in told:
        assert text in page, text
