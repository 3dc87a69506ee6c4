"""The model card: what a model is, how it does and what it must not be trusted with, in Markdown with the hub's metadata block.

The form is that of Hugging Face's model cards (their documentation, "Model Cards", and Mitchell et al. 2019, 'Model cards for
model reporting'). All figures are those of report.json.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sortal.evaluation import robustness
from sortal.reporting import parts, words
from sortal.reporting.model import Report
from sortal.reporting.telling import TELLINGS

NONE = "\N{EN DASH}"
MOST_CLASSES = 100
"""Classes of which the card has a row; report.json has them all."""
LICENSE = "unknown"
"""The hub's word for it: what may be done with a model depends on its weights and its images, which we cannot know."""
HUB_METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "mean_average_precision": "mean_average_precision",
    "micro_f1": "f1",
    "subset_accuracy": "accuracy",
}
"""Our scores to the hub's kinds of metrics; each entry of the model index carries our name too."""


def card(report: Report) -> str:
    """The whole card as text."""
    return f"---\n{_metadata(report)}---\n\n" + "\n".join(_sections(report)).rstrip() + "\n"


def _metadata(report: Report) -> str:
    """The block for the hub, as YAML whose text is all quoted: no name in it can be taken for anything else."""
    split = report.headline.split
    metrics = report.metrics[split]
    results = [
        {"type": kind, "name": _title(report, key), "value": metrics[key]}
        for key, kind in HUB_METRICS.items()
        if metrics.get(key) is not None
    ]
    dataset = {"name": "the images it was trained with", "type": "imagefolder", "split": split}
    values = {
        "license": LICENSE,
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "sortal", "onnx", *(["multi-label"] if report.task == "multi_label" else [])],
        "metrics": sorted({str(result["type"]) for result in results}),
        "model-index": [
            {
                "name": report.name,
                "results": [{"task": {"type": "image-classification"}, "dataset": dataset, "metrics": results}],
            }
        ],
    }
    return "".join(f"{line}\n" for line in _yaml(values))


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Mappings and lists as block YAML; text in double quotes and numbers as JSON has them, which YAML reads alike."""
    items = value.items() if isinstance(value, Mapping) else [(None, item) for item in value]
    for key, item in items:
        start = "-" if key is None else f"{key}:"
        if isinstance(item, (Mapping, list)):
            lines = list(_yaml(item, indent + "  "))
            if key is None:  # the first line of what stands in a list stands behind its dash
                yield f"{indent}- {lines[0].lstrip()}"
                yield from lines[1:]
            else:
                yield f"{indent}{start}"
                yield from lines
        else:
            yield f"{indent}{start} {_scalar(item)}"


def _scalar(value: Any) -> str:
    """JSON, with every character that YAML does not print spelt out.

    >>> _scalar('ants: "bees"\\x85'), _scalar(0.95)
    ('"ants: \\\\"bees\\\\"\\\\u0085"', '0.95')
    """
    if isinstance(value, float):  # YAML 1.1 takes 1e-05 for text
        return "null" if not math.isfinite(value) else re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    if not isinstance(value, str):
        return json.dumps(value)
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(mark if mark.isprintable() else _spelt(mark) for mark in quoted)


def _spelt(mark: str) -> str:
    return f"\\u{ord(mark):04x}" if ord(mark) < 0x10000 else f"\\U{ord(mark):08x}"


def _title(report: Report, key: str) -> str:
    return next((title for name, title, _ in TELLINGS[report.task].metrics if name == key), key)


def _sections(report: Report) -> Iterator[str]:
    yield f"# {_text(report.name)}\n"
    yield f"{_text(report.headline.answer)} {_text(report.headline.basis)}\n"
    baseline = words.percent(report.headline.baseline, report.headline.images)
    yield f"Always answering “{_text(report.headline.baseline_class)}” would be right for {baseline}.\n"
    yield "## What it does\n"
    kinds = "any number of" if report.task == "multi_label" else "one of"
    yield f"It sorts images into {kinds} {len(report.classes):,} classes: {_named(report.classes)}.\n"
    yield "```\npip install sortal\nsortal predict BUNDLE photo.jpg\n```\n"
    yield "`bundle/model.onnx` has normalisation and calibration inside; `bundle/bundle.json` says how images are prepared.\n"
    yield from _scores(report)
    yield from _classes(report)
    yield from _limits(report)
    yield from _training(report)
    yield "## Licence\n"
    yield (
        "`license` above says unknown, the hub's word for it: what may be done with this model depends on the licences of the "
        "weights that it began with and of the images that it learnt from. Whoever publishes it fills that in.\n"
    )
    made = ", ".join(f"{_text(name)} {_text(value)}" for name, value in report.versions.items())
    yield f"Made {_text(report.created)}{f' with {made}' if made else ''}. All figures are those of `report.json`.\n"


def _scores(report: Report) -> Iterator[str]:
    yield "## How well it does\n"
    splits = list(report.metrics)
    yield _row(["Score", *(words.split_name(split) for split in splits)])
    yield _rule(len(splits))
    for key, title, _ in TELLINGS[report.task].metrics:
        if any(report.metrics[split].get(key) is not None for split in splits):
            yield _row([title, *(_score(key, report.metrics[split]) for split in splits)])
    yield _row(["Images", *(f"{report.metrics[split]['images']:,}" for split in splits)]) + "\n"
    yield "In brackets the 95% interval.\n"


def _score(key: str, metrics: Mapping[str, Any]) -> str:
    value = metrics.get(key)
    if value is None:
        return NONE
    limits = metrics.get(f"{key}_interval") or metrics.get("intervals", {}).get(key)
    told = f"{value:.4f}"
    return told if limits is None else f"{told} ({limits[0]:.4f} to {limits[1]:.4f})"


def _classes(report: Report) -> Iterator[str]:
    rows = report.per_class[report.headline.split]
    yield f"### Class by class, on {words.split_name(report.headline.split)} images\n"
    yield _row(["Class", "Precision", "Recall", "F1", "Images"])
    yield _rule(4)
    for row in rows[:MOST_CLASSES]:
        scores = [NONE if row[key] is None else f"{row[key]:.3f}" for key in ("precision", "recall", "f1")]
        yield _row([_text(row["class"]), *scores, f"{row['support']:,}"])
    if len(rows) > MOST_CLASSES:
        yield f"\nand {len(rows) - MOST_CLASSES:,} more in `report.json`."
    yield ""


def _limits(report: Report) -> Iterator[str]:
    """What is known to be wrong, and where it does badly; left out where nothing of it was looked for."""
    told = [
        f"- **{_text(parts.titled(row['kind']))}** ({_text(row['severity'])}): {_text(row.get('evidence', row.get('detail')))}"
        for row in [*report.diagnosis, *parts.by_gravity(report.findings)]
    ]
    told += [
        f"- **{_text(by)}: {_text(row['value'])}**: {row['accuracy']:.3f} of {row['images']:,} images are right, "
        f"with an interval of {row['accuracy_interval'][0]:.3f} to {row['accuracy_interval'][1]:.3f}"
        for by, rows in parts.slices(report).items()
        for row in rows
        if row["stands"] == "worse"
    ]
    breaking = words.sentence(robustness.told(report.robustness))
    told += [f"- **Robustness**: {_text(breaking)}"] if breaking else []
    if told:
        yield "## What to know before trusting it\n"
        yield "\n".join(told) + "\n"


def _training(report: Report) -> Iterator[str]:
    if not report.data and not report.decisions:
        return
    yield "## How it was made\n"
    if report.data:
        splits = ", ".join(f"{count:,} {words.split_name(name)}" for name, count in report.data["splits"].items())
        yield f"From {report.data['images']:,} images ({splits}); set aside: {report.data['excluded_total']:,}.\n"
    if report.decisions:
        yield _row(["Decided", "Value", "Why"])
        yield _rule(2, right=False)
        for row in report.decisions:
            yield _row([f"`{_bare(row['key'])}`", _text(row["value"]), _text(row["reason"])])
        yield ""
    if report.command:
        yield f"The same again:\n\n{_fenced(report.command)}\n"


def _named(classes: Sequence[str]) -> str:
    shown = ", ".join(_text(name) for name in classes[:MOST_CLASSES])
    return shown + (f" and {len(classes) - MOST_CLASSES:,} more" if len(classes) > MOST_CLASSES else "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int, *, right: bool = True) -> str:
    return "|---" + ("|---:" if right else "|---") * columns + "|"


def _text(value: Any) -> str:
    """A text of which Markdown and HTML make nothing else, on one line.

    >>> _text("a|b_<script>")
    'a\\\\|b\\\\_&lt;script&gt;'
    """
    line = " ".join(words.plain(str(value)).split())
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return re.sub(r"^([-=]|\d+(?=[.)](\s|$)))", r"\1\\" if escaped[:1].isdigit() else r"\\\1", escaped)


def _bare(value: str) -> str:
    return " ".join(words.plain(value).replace("`", "'").replace("|", "\\|").split())


def _fenced(code: str) -> str:
    """A block of code that nothing in it can end."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{words.plain(code)}\n{fence}"
