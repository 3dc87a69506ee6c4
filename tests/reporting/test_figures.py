"""Figures are made once for all tests here: matplotlib takes its time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sortal.evaluation.scores import score
from sortal.predictions import Predictions
from sortal.reporting.figures import write_figures
from sortal.reporting.model import Report, build

pytestmark = pytest.mark.slow

NAMES = ["confusion", "reliability", "f1", "curves"]


@pytest.fixture(scope="module")
def written(ten_classes: Report, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_figures(ten_classes, tmp_path_factory.mktemp("figures"))


def test_each_figure_is_written_as_png_and_svg(written: list[Path]) -> None:
    assert [path.name for path in written] == [f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")]


def test_pngs_have_three_hundred_dots_an_inch_and_are_wide_enough_for_a_column(written: list[Path]) -> None:
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
                assert image.width > 900


def test_text_in_an_svg_stays_text(written: list[Path]) -> None:
    assert "Ankle boot" in written[1].read_text()


def test_equal_reports_make_equal_files_and_leave_no_global_state(
    written: list[Path], ten_classes: Report, tmp_path: Path
) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    again = write_figures(ten_classes, tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_names_with_dollars_and_unknown_scripts_are_drawn_and_a_report_without_history_has_no_curves(tmp_path: Path) -> None:
    classes = (r"$\frac{", "蚂蚁", "a" * 300, "never there")
    probs = np.eye(4, dtype=np.float32)[[0, 1, 2, 1]]
    given = Predictions(("1", "2", "3", "4"), classes, probs, np.array([0, 1, 2, 0]), ("test",) * 4)
    report = build(name="x", created="", scores=score(given), predictions=given, chosen={})
    written = write_figures(report, tmp_path)
    assert [path.stem for path in written[::2]] == NAMES[:-1]
    assert "蚂蚁" in written[1].read_text(encoding="utf-8")
