"""What `sortal models` shows: a row for each architecture, or the layers of one. Sizes are computed, not looked up."""

from collections import OrderedDict
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import torch
from torch import nn

from sortal.engines.torch.models import table, timm_body, weights
from sortal.engines.torch.models.body import Body

COUNTED = 40
"""Rows up to which parameters and multiply-adds are counted: a tenth of a second each, two minutes for all."""
OUR_SIZE, OUR_CLASSES = 32, 10
"""Pixels and classes for which our own networks are counted."""

USES = {
    "convnext": "photographs, when accuracy counts more than time",
    "densenet": "photographs; small files, much memory in training",
    "efficientnet": "photographs; the most accuracy for little computing",
    "inception_v3": "photographs of 299 pixels",
    "mobilenetv3": "photographs on phones and other small machines",
    "regnet": "photographs; fast on accelerators",
    "resnet": "photographs; the common baseline. With stem = 'small' also small images",
    "swin_transformer": "photographs in tens of thousands, on an accelerator",
    "vgg": "teaching and comparisons; large and slow",
    "vision_transformer": "photographs in tens of thousands, on an accelerator",
}
"""Of timm's families; the others have null."""


def rows(pattern: str = "") -> list[dict[str, Any]]:
    """One row for each name that contains `pattern`, or matches it where it holds * or ?, ours first.

    Keys: name, parameters and multiply_adds (with the classifier that timm gives it, or 10 classes at 32 pixels for
    ours), input_size (pixels; null where any will do), top1 (null: not measured here), source ('sortal' or 'timm'),
    weights ('embedded', 'cache', 'hub', 'none'), family, use. In a list of more than 40, parameters and multiply_adds
    are null.
    """
    names = [name for name in _names() if _matches(name, pattern)]
    return [_row(name, counted=len(names) <= COUNTED) for name in names]


def layers(name: str) -> list[dict[str, Any]]:
    """The layers of one network in the order in which they work: name, kind, output (shape of one image's), parameters.

    Raises `UnknownName`.
    """
    found: list[dict[str, Any]] = []
    module, size = _whole(name)

    def record(place: str, layer: nn.Module) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                parameters = sum(p.numel() for p in layer.parameters())
                shape = list(output.shape[1:])
                found.append({"name": place, "kind": type(layer).__name__, "output": shape, "parameters": parameters})

        return layer.register_forward_hook(hook)

    for place, layer in module.named_modules():
        if not list(layer.children()):
            record(place, layer)
    _run(module, size)
    return found


def _names() -> Iterator[str]:
    yield from (entry.name for entry in table.OURS)
    yield from table.timm_names()


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) if set(pattern) & set("*?[") else pattern in name


def _row(name: str, *, counted: bool) -> dict[str, Any]:
    ours = name in table.OURS
    parameters, multiply_adds = _count(name) if counted else (None, None)
    return {
        "name": name,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "input_size": None if ours else timm_body.config(name).get("input_size", (None, None))[1],
        "top1": None,
        "source": "sortal" if ours else "timm",
        "weights": weights.available(name),
        "family": _family(name),
        "use": table.OURS[name].about if ours else USES.get(_family(name)),
    }


def _family(name: str) -> str:
    """The module that an architecture is written in."""
    if name in table.OURS:
        return table.OURS[name].address.partition(":")[0].rpartition(".")[2]
    from timm.models import model_entrypoint

    module: str = model_entrypoint(name).__module__
    return module.rpartition(".")[2]


def _count(name: str) -> tuple[int | None, int | None]:
    """Parameters, and multiplications with an addition each for one image; null for what cannot run without its data."""
    from torch.utils.flop_counter import FlopCounterMode

    module, size = _whole(name)
    parameters = sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter:
        try:
            _run(module, size)
        except (RuntimeError, NotImplementedError, ValueError, TypeError):
            return parameters, None  # an architecture whose forward pass needs values, not shapes alone
    return parameters, counter.get_total_flops() // 2


def _whole(name: str) -> tuple[nn.Module, int]:
    """Network with its classifier and without memory for its weights, and pixels on each side of the image it takes."""
    table.known(name)
    with torch.device("meta"):
        if name in table.OURS:
            body: Body = table.OURS[name].load()(3, OUR_SIZE)
            head = nn.Linear(body.dimensions, OUR_CLASSES)
            return nn.Sequential(OrderedDict(body=body, head=head)), OUR_SIZE
        import timm

        size = timm_body.config(name).get("input_size", (3, 224, 224))[1]
        return timm.create_model(name, exportable=True), size


def _run(module: nn.Module, size: int) -> None:
    with torch.no_grad(), torch.device("meta"):
        module.eval()(torch.zeros(1, 3, size, size))
