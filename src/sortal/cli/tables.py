"""Results as tables for a person: each function takes the JSON object of one command and prints it, 80 columns wide."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sortal.cli.console import duration, rate, to_standard_output
from sortal.cli.plain import printable
from sortal.evaluation.text import ClassificationReport, classification_report
from sortal.shell import typed

Values = Mapping[str, Any]
MOST_SOURCES = 5
MOST_ROWS_OF_CONFUSION = 12
NAMED = re.compile(r"(?<=:) |; (?!also)")
"""Where the detail of a finding goes on to the next thing that it names."""
STYLES = {"severe": "bold red", "warning": "yellow", "note": "cyan"}
TITLES = {"cross_validation": "cross-validation", "data": "the data given"}


def show(*parts: RenderableType) -> None:
    """Print on standard output."""
    console = to_standard_output()
    for part in parts:
        console.print(part)


def show_to_type(before: str, command: str) -> None:
    """Print a command that can be copied: on one line, however long."""
    to_standard_output().print(Text.assemble((before, "dim"), command), soft_wrap=True)


def columns(*names: str, numbers: bool = True) -> Table:
    """An empty table; the first column is text, the others are numbers unless told otherwise."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for position, name in enumerate(names):
        number = numbers and position > 0
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return table


def plain(value: object) -> Text:
    """Text that came from outside: no markup, nothing that steers a terminal."""
    return Text(printable(str(value)))


def title(split: str) -> str:
    """What a person calls a split."""
    return TITLES.get(split, split)


def show_health(values: Values) -> None:
    """Of `check`: how many images of which class and split, then the findings, the worst first."""
    show(Text(f"{values['images']:,} images in {len(values['classes'])} classes"))
    show(_counts("class", values["classes"]))
    if values["splits"]:
        show(Text(), _counts("split", values["splits"]))
    findings = sorted(values["findings"], key=lambda finding: list(STYLES).index(finding["severity"]))
    show(Text())
    if not findings:
        show(Text("nothing found that needs care", style="green"))
    for number, finding in enumerate(findings, start=1):
        show(*_finding(number, finding))
    for row in values.get("left_out", ()):
        show(Text.assemble(("left out: ", "yellow"), plain(f"{row['what']}, since {row['reason']}")))
    if "fixed" in values:
        show(Text(), *_fixed(values["fixed"]))
        show_to_type("next     ", typed("sortal", "train", Path(values["fixed"]["manifest"])))


def show_training(values: Values) -> None:
    """Of `train` and `demo`: the scores, what was set aside, how long it took, and where to go on."""
    show(Text(), scores_table(values["metrics"]))
    show(Text(), *(_reason_for_the_score(values["metrics"])))
    if values["excluded"]:
        count = len(values["excluded"])
        show(Text(f"{count:,} {'image was' if count == 1 else 'images were'} set aside:", style="yellow"))
        show(*_some(f"{row['source']}: {row['reason']}" for row in values["excluded"]))
    seconds = values["seconds"]
    parts = ", ".join(f"{name} {duration(seconds[name])}" for name in ("prepare", "train", "finish") if name in seconds)
    show(Text(f"took {duration(seconds['total'])} ({parts})", style="dim"))
    run = Path(values["run"])
    show(Text.assemble(("report   ", "dim"), plain(run / "report.html")))
    show_to_type("next     ", typed("sortal", "predict", run, "photo.jpg"))
    show_to_type("         ", typed("sortal", "report", run))
    show(Text("         adds what takes longer: learning curve, what breaks it, maps of mistakes", style="dim"))


def show_maps(values: Values) -> None:
    """Of `explain`: a line an image, and where its picture is."""
    table = columns("image", "label", "prob.", "picture", numbers=False)
    for row in values["maps"]:
        table.add_row(plain(row["source"]), plain(row["label"]), f"{row['probability']:.3f}", plain(row["path"]))
    if values["maps"]:
        show(table)


def show_study(values: Values) -> None:
    """Of `study`: a line a row, with what was chosen and how sure the differences are; then where the page is."""
    table = columns("row", "validation", "test\n(95% interval)", "points to\nthe first row", "")
    for row in values["rows"]:
        found, to_first = row["test"], row["to_first"]
        low, high = found["interval"] or (None, None)
        test = _number(found["mean"], 3) + (f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else "")
        change = (
            "-" if to_first is None else f"{100 * to_first['mean']:+.1f}{'' if to_first['beyond_noise'] else ' (may be noise)'}"
        )
        remark = "chosen" if row["chosen"] else "failed" if row["failures"] else ""
        table.add_row(plain(row["name"]), _number(row["validation"]["mean"], 3), test, change, remark)
    show(Text(), table, Text("chosen on validation; test is shown once, after the choice", style="dim"))
    show(Text.assemble(("page     ", "dim"), printable(str(values["page"]))))


def show_comparison(values: Values) -> None:
    """Of `compare`: a line a run, a line a pair, and in words whether a difference can be told from luck."""
    show(Text(f"on the same {values['images']:,} images ({title(values['split'])})"))
    if left := values["left_out"]:
        show(Text(f"left out: {left:,} {'image' if left == 1 else 'images'} that a run had set aside", style="yellow"))
    show(Text())
    table = columns("run", "accuracy\n(95% interval)", "log loss\n(95% interval)")
    for row in values["runs"]:
        low, high = row["accuracy_interval"]
        loss = _number(row["log_loss"], 3)
        if row["log_loss_interval"]:
            loss += " ({:.3f} to {:.3f})".format(*row["log_loss_interval"])
        table.add_row(plain(row["run"]), f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f})", loss)
    show(table, Text())
    pairs = columns("difference", "points\n(95% interval)", "p", "only one\nis right")
    for row in values["differences"]:
        low, high = (100 * limit for limit in row["interval"])
        points = f"{100 * row['mean']:+.1f} ({low:+.1f} to {high:+.1f})"
        only = f"{row['only_a_right']:,} : {row['only_b_right']:,}"
        pairs.add_row(plain(f"{row['b']} to {row['a']}"), points, f"{row['p_value']:.3f}", only)
    show(pairs, Text())
    for row in values["differences"]:
        show(plain(_verdict(row)))


def _verdict(row: Values) -> str:
    """What one difference means, in a sentence."""
    better, worse = (row["b"], row["a"]) if row["mean"] > 0 else (row["a"], row["b"])
    if row["p_value"] < 0.05:
        return f"{better} is better than {worse}"
    needed = row["images_needed"]
    if needed is None:
        return f"{row['a']} and {row['b']} are right equally often"
    return (
        f"{better} may be no better than {worse}: to see a difference of this size takes about {needed:,} images, "
        f"and there are {row['images']:,}"
    )


def show_scores(values: Values) -> None:
    """Of `evaluate`: the scores, then each split's classification report and, where it fits, its confusion matrix."""
    show(scores_table(values["metrics"]))
    for split, metrics in values["metrics"].items():
        show(Text(), Text(title(split), style="bold underline"))
        report = classification_report(values["per_class"][split], metrics)
        show(class_table(report))
        show(*(_fact(row.name, row.note) for row in (*report.classes, *report.totals) if row.note))
        # Of several labels an image the report says it all: there is no matrix of classes.
        if _one_label(metrics) and len(values["classes"]) <= MOST_ROWS_OF_CONFUSION:
            show(Text(), confusion_table(values["confusion"][split], values["classes"]))


def _one_label(metrics: Values) -> bool:
    return "accuracy" in metrics


def show_export(values: Values) -> None:
    """Of `export`: the export beside the bundle, how far they are apart, and where it is."""
    found = values["parity"]
    table = columns("", "accuracy", "images/s", "size")
    for name, key in ((f"{values['kind']}, {values['precision']}", ""), ("the bundle", "_source")):
        speed = rate(found[f"images_per_second{key}"])
        table.add_row(plain(name), _number(found[f"accuracy{key}"], 4), speed, size(found[f"bytes{key}"]))
    apart = f"{found['max_difference']:.2g} at most between probabilities, {found['flips']:,} other labels"
    show(table, Text(), Text(f"{found['images']:,} images of '{found['split']}': {apart}"))
    if found["accuracy_change"]:
        low, high = found["accuracy_change"]["interval"]
        show(Text(f"change of accuracy, 95% interval: {100 * low:+.2f} to {100 * high:+.2f} points", style="dim"))
    show(Text.assemble(("export   ", "dim"), printable(str(values["path"]))))


def show_datasets(datasets: Sequence[Values]) -> None:
    """Of `data`: a line a set, and what one should know of it."""
    table = columns("name", "classes", "train", "test", "pixels", "difficulty", "files")
    for row in datasets:
        counts = (f"{row[key]:,}" for key in ("classes", "train", "test"))
        files = "downloaded" if row["downloads"] else "--from"
        table.add_row(plain(row["name"]), *counts, row["resolution"], row["difficulty"], files)
    show(table)
    if len(datasets) == 1:
        facts = {**datasets[0], "labels": ", ".join(datasets[0]["labels"])}
        show(Text(), *(_fact(key, facts[key]) for key in ("title", "licence", "becomes", "labels", "note") if facts[key]))


def show_models(models: Sequence[Values]) -> None:
    """Of `models`: a line an architecture."""
    counted = any(row["parameters"] is not None for row in models)
    table = columns("name", *(["para-\nmeters", "multiply-\nadds"] if counted else []), "input", "top 1", "weights")
    # What does not fit on the line is cut: `models NAME` says it all.
    table.expand = True
    table.add_column("what for", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in models:
        counts = [amount(row[key]) for key in ("parameters", "multiply_adds")] if counted else []
        input_size = f"{row['input_size']}" if row["input_size"] else "any"
        top1 = _number(row["top1"], 3)
        table.add_row(plain(row["name"]), *counts, input_size, top1, row["weights"], plain(row["use"] or ""))
    show(table)


def show_model(model: Values, layers: Sequence[Values]) -> None:
    """Of `models NAME`: its layers in the order in which they work, then its sums."""
    table = columns("layer", "kind", "output", "parameters")
    for layer in layers:
        shape = " x ".join(str(length) for length in layer["output"])
        table.add_row(plain(layer["name"]), layer["kind"], shape, f"{layer['parameters']:,}")
    show(table, Text())
    for key in ("parameters", "multiply_adds", "input_size", "top1", "top1_source", "source", "weights", "family", "use"):
        value = model[key]
        show(_fact(key.replace("_", " "), "-" if value is None else f"{value:,}" if isinstance(value, int) else value))


def show_speed(models: Sequence[Values]) -> None:
    """Of `models --measure`: a line an architecture, then what could not be measured."""
    table = columns("name", "para-\nmeters", "top 1", "training\nimages/s", "memory", "inference\nimages/s", "memory")
    done = [row for row in models if "error" not in row["measured"]]
    for row in done:
        found = row["measured"]
        speeds = [
            cell
            for kind in ("training", "inference")
            for cell in (rate(found[f"{kind}_images_per_second"]), _size_or_dash(found[f"{kind}_memory"]))
        ]
        table.add_row(plain(row["name"]), amount(row["parameters"]), _number(row["top1"], 3), *speeds)
    show(table)
    if done:
        first = done[0]["measured"]
        show(Text(), _fact("measured on", f"{first['device']}, {first['precision']}; memory is the peak of one process"))
    show(*(_fact(row["name"], row["measured"]["error"]) for row in models if "error" in row["measured"]))


def _size_or_dash(count: int | None) -> str:
    return "-" if count is None else size(count)


def amount(count: int | None) -> str:
    """A large number, short.

    >>> amount(4_652_008), amount(61_706), amount(None)
    ('4.7M', '61.7k', '-')
    """
    if count is None:
        return "-"
    for power, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= power:
            return f"{count / power:.1f}{unit}"
    return str(count)


def show_recipes(recipes: Sequence[Values]) -> None:
    """Of `recipes`: a line a preset."""
    table = columns("name", "what for", numbers=False)
    for row in recipes:
        table.add_row(plain(row["name"]), plain(row["about"]))
    show(table)


def show_stores(values: Values) -> None:
    """Of `cache`: where it is, and a line a store."""
    if "freed" in values:
        show(Text(f"{size(values['freed'])} freed"))
    stores = values["stores"]
    total = size(sum(store["bytes"] for store in stores))
    show(_fact("cache", values["root"]), _fact("stores", f"{len(stores)}, {total}" if stores else "none"))
    if stores:
        table = columns("kind", "images", "size", "last used")
        for store in stores:
            used = datetime.fromtimestamp(store["last_used"]).astimezone()
            table.add_row(plain(store["kind"]), f"{store['rows']:,}", size(store["bytes"]), f"{used:%Y-%m-%d %H:%M}")
        show(Text(), table)


def size(count: int) -> str:
    """Bytes as a person says them.

    >>> size(999), size(12_345_678)
    ('999 bytes', '12.3 MB')
    """
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= power:
            return f"{count / power:.1f} {unit}"
    return f"{count} bytes"


def scores_table(metrics: Mapping[str, Values]) -> Table:
    """One row a split: images, the first score with its 95% interval, and the others that a single number can tell."""
    one = all(map(_one_label, metrics.values()))
    return _class_scores(metrics) if one else _label_scores(metrics)


def _label_scores(metrics: Mapping[str, Values]) -> Table:
    """Of several labels an image."""
    names = ("micro_f1", "macro_f1", "subset_accuracy", "log_loss", "calibration_error")
    heads = ("micro\nF1", "macro\nF1", "exactly\nright", "log\nloss", "calibr.\nerror")
    table = columns("scores on", "images", "mean av. precision\n(95% interval)", *heads)
    for split, scores in metrics.items():
        low, high = scores["intervals"].get("mean_average_precision") or (None, None)
        interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
        precision = _number(scores["mean_average_precision"], 3) + interval
        table.add_row(
            plain(title(split)), f"{scores['images']:,}", precision, *(_number(scores.get(name), 3) for name in names)
        )
    return table


def _class_scores(metrics: Mapping[str, Values]) -> Table:
    with_top5 = any(scores.get("top5") is not None for scores in metrics.values())
    top5 = ["top 5"] if with_top5 else []
    table = columns("scores on", "images", "accuracy\n(95% interval)", *top5, "macro\nF1", "log\nloss", "calibr.\nerror")
    for split, scores in metrics.items():
        low, high = scores.get("accuracy_interval") or (None, None)
        interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
        table.add_row(
            plain(title(split)),
            f"{scores['images']:,}",
            _number(scores.get("accuracy"), 3) + interval,
            *([_number(scores.get("top5"), 3)] if with_top5 else []),
            _number(scores.get("macro_f1"), 3),
            _number(scores.get("log_loss"), 3),
            _number(scores.get("calibration_error"), 3),
        )
    return table


def class_table(report: ClassificationReport) -> Table:
    """The classification report: a line a class, then the totals."""
    table = columns("class", "precision", "recall", "F1", "images")
    for position, row in enumerate((*report.classes, *report.totals), start=1):
        scores = (_number(score, 3) for score in (row.precision, row.recall, row.f1))
        table.add_row(plain(row.name), *scores, f"{row.support:,}", end_section=position == len(report.classes))
    return table


def confusion_table(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Table:
    """Rows are true classes, columns predicted ones; columns are named by the number of their row."""
    table = columns("true \\ predicted", *(str(number) for number in range(1, len(classes) + 1)))
    for number, (name, counts) in enumerate(zip(classes, confusion, strict=True), start=1):
        cells = [
            Text(f"{count:,}", style="bold" if at == number else "dim" if count == 0 else "")
            for at, count in enumerate(counts, start=1)
        ]
        table.add_row(Text(f"{number} ", style="dim") + plain(name), *cells)
    return table


def _fact(key: str, value: object) -> Text:
    return Text.assemble((f"{key}: ", "dim"), plain(value))


def _reason_for_the_score(metrics: Mapping[str, Values]) -> Iterable[Text]:
    if "cross_validation" in metrics and "test" not in metrics:
        yield Text("Cross-validated: each image was scored by a model that had not seen it.", style="dim")


def _counts(kind: str, counts: Mapping[str, int]) -> Table:
    table = columns(kind, "images")
    for name, count in counts.items():
        table.add_row(plain(name), f"{count:,}")
    return table


def _finding(number: int, finding: Values) -> Iterable[RenderableType]:
    """Number, severity and kind; the numbers in it; what it names, one to a line; an example picture; the cure."""
    severity = finding["severity"]
    yield Text.assemble((f"{number:>2}  ", "dim"), (severity, STYLES[severity]), "  ", (finding["kind"], "bold"))
    what, *named = NAMED.split(finding["detail"])
    yield Padding(plain(what), (0, 0, 0, 4))
    for line in named:
        yield Padding(plain(line), (0, 0, 0, 6))
    if finding["images"]:
        yield Padding(Text.assemble(("example  ", "dim"), printable(finding["images"][0])), (0, 0, 0, 4))
    if finding["cure"]:
        yield Padding(Text.assemble(("cure     ", "green"), printable(finding["cure"])), (0, 0, 0, 4))


def _fixed(fixed: Values) -> Iterable[RenderableType]:
    """What `--fix` wrote."""
    yield Text.assemble(("fixed    ", "green"), printable(str(fixed["manifest"])))
    grouped, moved, quarantined = fixed["grouped"], fixed["moved"], fixed["quarantined"]
    yield Padding(Text(f"{grouped:,} images stand in groups of copies; {len(moved):,} changed their split"), (0, 0, 0, 4))
    yield from _some(f"{row['source']}: {row['from']} to {row['to']}" for row in moved)
    yield Padding(Text(f"{len(quarantined):,} quarantined"), (0, 0, 0, 4))
    yield from _some(f"{row['source']}: {row['reason']}" for row in quarantined)


def _some(lines: Iterable[str]) -> Iterable[RenderableType]:
    listed = list(lines)
    for line in listed[:MOST_SOURCES]:
        yield Padding(plain(line), (0, 0, 0, 2))
    if len(listed) > MOST_SOURCES:
        more = f"and {len(listed) - MOST_SOURCES:,} more (--json lists them all)"
        yield Padding(Text(more, style="dim"), (0, 0, 0, 2))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
