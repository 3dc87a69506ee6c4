"""The examples in docstrings, wherever one stands."""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import sortal

ROOT = Path(sortal.__file__).parent
WITH_EXAMPLES = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_the_examples_in_docstrings_hold(path: Path) -> None:
    module = import_module(".".join(("sortal", *path.with_suffix("").parts)))
    found = doctest.testmod(module, extraglobs={"np": np})
    assert found.attempted > 0
    assert found.failed == 0
