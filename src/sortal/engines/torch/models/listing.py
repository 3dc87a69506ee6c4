"""What `sortal models` shows: a row for each architecture, or the layers of one. Sizes are computed, not looked up."""

from collections import OrderedDict
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import nn

from sortal.engines.torch.models import published, speed, table, timm_body, torchvision_body, weights
from sortal.engines.torch.models.body import Body
from sortal.engines.torch.models.speed import OUR_CLASSES, OUR_SIZE
from sortal.events import Observer, Progress

COUNTED = 40
"""Rows up to which parameters and multiply-adds are counted: a tenth of a second each, two minutes for all."""

USES = {
    "alexnet": "teaching: the network that began it in 2012; large and soon overtaken",
    "convnext": "photographs, when accuracy counts more than time",
    "deit": "a transformer that learns from fewer photographs than ViT; best with pretrained weights",
    "densenet": "photographs; small files, much memory in training",
    "efficientnet": "photographs; the most accuracy for little computing, larger numbers for more of both",
    "googlenet": "things of several sizes in one picture; small. Auxiliary losses in training from scratch",
    "inception_v3": "photographs of 299 pixels with things of several sizes. Auxiliary losses in training from scratch",
    "mobilenetv3": "photographs on phones and other small machines, in real time",
    "regnet": "photographs; fast on accelerators",
    "resnet": "photographs; the general, proven choice. With stem = 'small' also small images",
    "shufflenetv2": "photographs on phones and other small machines, in real time",
    "swin_transformer": "photographs in tens of thousands, on an accelerator; looks at parts before the whole",
    "vgg": "teaching and transfer; very large, slow, much memory",
    "vision_transformer": "very many photographs or pretrained weights, on an accelerator; poor with few images",
}
"""When to take a family, from the tutorials that the project began with and from the architectures' papers; the others have
null."""
MOBILE = "mobilenetv2"
"""timm writes MobileNet-V2 in EfficientNet's module; its use is that of its own kind."""


def rows(*patterns: str) -> list[dict[str, Any]]:
    """One row for each name that contains a pattern, or matches it where it holds * or ?; a whole name means itself alone.

    Keys: name, parameters and multiply_adds (with the classifier that its library gives it, or 10 classes at 32 pixels
    for ours), input_size (pixels; null where any will do), top1 (a share of 1) and top1_source (where it was published;
    both null where we know of none), source ('sortal', 'timm' or 'torchvision'), weights ('embedded', 'cache', 'hub',
    'none'), family, use. In a list of more than 40, parameters and multiply_adds are null. Ours come first. Raises
    `UnknownName` for a pattern that matches nothing.
    """
    found = {name: None for pattern in patterns or ("",) for name in _named(pattern)}
    names = [name for name in table.names() if name in found]
    return [_row(name, counted=len(names) <= COUNTED) for name in names]


def layers(name: str) -> list[dict[str, Any]]:
    """The layers of one network in the order in which they are done: name, kind, output (shape of one image's), parameters.

    A block that has parameters besides those of its layers, such as a vision transformer's class token, is told after them with
    those alone, so that the rows add up to the network. Raises `UnknownName`.
    """
    found: list[dict[str, Any]] = []
    module, size = _whole(name)

    def record(place: str, layer: nn.Module) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                parameters = sum(p.numel() for p in layer.parameters(recurse=not list(layer.children())))
                shape = list(output.shape[1:])
                found.append({"name": place, "kind": type(layer).__name__, "output": shape, "parameters": parameters})

        return layer.register_forward_hook(hook)

    for place, layer in module.named_modules():
        if not list(layer.children()) or list(layer.parameters(recurse=False)):
            record(place or "(the network)", layer)
    _run(module, size)
    return found


def measured(names: Sequence[str], observe: Observer) -> dict[str, dict[str, Any]]:
    """What each of these networks does on this machine, by name: see `speed.measure`. One process each, one after the other."""
    found = {}
    for done, name in enumerate(names):
        observe(Progress("measuring", done, len(names), "models"))
        found[name] = speed.in_own_process(table.known(name))
    observe(Progress("measuring", len(names), len(names), "models"))
    return found


def _named(pattern: str) -> list[str]:
    every = table.names()
    if pattern in every:
        return [pattern]
    globbing = bool(set(pattern) & set("*?["))
    return [name for name in every if (fnmatch(name, pattern) if globbing else pattern in name)] or [table.known(pattern)]


def _row(name: str, *, counted: bool) -> dict[str, Any]:
    ours = name in table.OURS
    parameters, multiply_adds = _count(name) if counted else (None, None)
    top1, top1_source = published.top1(name)
    family = _family(name)
    return {
        "name": name,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "input_size": None if ours else table.config(name).get("input_size", (None, None))[1],
        "top1": top1,
        "top1_source": top1_source,
        "source": _source(name),
        "weights": weights.available(name),
        "family": family,
        "use": table.OURS[name].about if ours else USES.get("mobilenetv3" if name.startswith(MOBILE) else family),
    }


def _source(name: str) -> str:
    if name in table.OURS:
        return "sortal"
    return "torchvision" if name in torchvision_body.ARCHITECTURES else "timm"


def _family(name: str) -> str:
    """The module that an architecture is written in."""
    if name in table.OURS:
        return table.OURS[name].address.partition(":")[0].rpartition(".")[2]
    if name in torchvision_body.ARCHITECTURES:
        return torchvision_body.ARCHITECTURES[name].family
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
        size = table.config(name).get("input_size", (3, 224, 224))[1]
        library = torchvision_body if name in torchvision_body.ARCHITECTURES else timm_body
        return library.whole(name), size


def _run(module: nn.Module, size: int) -> None:
    with torch.no_grad(), torch.device("meta"):
        module.eval()(torch.zeros(1, 3, size, size))
