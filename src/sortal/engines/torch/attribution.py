"""Attribution: which places of an image spoke for a label, from the gradients and the attention inside a trained network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sortal.engines.torch.network import Network, images_to_tensor
from sortal.errors import MissingExtra, NotSupported

GRAD_CAM, ROLLOUT, INTEGRATED = "grad_cam", "attention_rollout", "integrated_gradients"
AT_ONCE = 16  # images; bounds the memory of activations that gradients need
FINE_ENOUGH = 4
"""Places a side that a map should have; where a network's last maps have fewer, earlier ones are taken."""
STEPS = 32
"""Points along the way from grey to the image at which integrated gradients looks."""

Maps = NDArray[np.float32]
"""Shape (N, h, w), zero or more: how much each place spoke for the label; h and w are those of the network's own maps."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A module's output in one pass through a network."""

    place: str
    shape: tuple[int, ...]

    @property
    def channels_last(self) -> bool:
        """Of maps of a square image: which of the two orders of axes they have."""
        return len(self.shape) == 4 and self.shape[1] == self.shape[2] != self.shape[3]

    @property
    def side(self) -> int:
        """Places a side, 0 for what are no maps."""
        if len(self.shape) != 4 or ".attn" in self.place:  # attention from tokens to tokens is square too
            return 0
        return self.shape[1] if self.channels_last else self.shape[2] if self.shape[2] == self.shape[3] else 0

    @property
    def tokens(self) -> bool:
        return len(self.shape) == 3 and self.shape[1] > 1


class TorchAttributor:
    """Maps by one method, for a network on the processor."""

    def __init__(self, network: Network, size: int, method: str) -> None:
        known = methods(network, size)
        if method not in known:
            raise NotSupported(
                f"{method} does not work for this network",
                hint=f"take {' or '.join([*known, 'occlusion'])}, or no method at all",
            )
        self.network = network.eval()
        self.maps: Callable[[Tensor, Tensor], Tensor] = {
            GRAD_CAM: lambda images, labels: grad_cam(network, _last_maps(network, size), images, labels),
            ROLLOUT: lambda images, labels: rollout(network, images, labels),
            INTEGRATED: lambda images, labels: integrated_gradients(network, images, labels),
        }[method]

    def __call__(self, images_NSSC: NDArray[np.uint8], labels_N: NDArray[np.int64]) -> Maps:
        """How much each place of uint8 images (N, S, S, C) spoke for the label of that index, float32 (N, h, w)."""
        parts = []
        for start in range(0, len(images_NSSC), AT_ONCE):
            images = images_to_tensor(torch.from_numpy(np.array(images_NSSC[start : start + AT_ONCE])), channels_last=False)
            labels = torch.from_numpy(np.array(labels_N[start : start + AT_ONCE], dtype=np.int64))
            with torch.enable_grad():
                parts.append(self.maps(images, labels).detach().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, 1, 1), np.float32)


class TorchEmbedder:
    """Features of images by the trained network: what its head decides on."""

    def __init__(self, network: Network) -> None:
        self.network = network.eval()

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features, float32 (N, D), of uint8 images (N, S, S, C)."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images_NSSC), AT_ONCE):
                images = images_to_tensor(torch.from_numpy(np.array(images_NSSC[start : start + AT_ONCE])), channels_last=True)
                parts.append(self.network.features(images).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def methods(network: Network, size: int) -> tuple[str, ...]:
    """The methods that work for a network, the best for its architecture first."""
    seen = _seen(network, size)
    of_architecture = (ROLLOUT,) if _is_transformer(network, seen, size) else (GRAD_CAM,) if _maps_place(seen) else ()
    return (*of_architecture, INTEGRATED)


def grad_cam(network: Network, place: _Seen, images: Tensor, labels: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017): the last maps, each weighted by its mean gradient, where their sum is above 0."""
    caught: list[Tensor] = []
    hook = network.get_submodule(place.place).register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        logits = _logits(network, images.requires_grad_())
    finally:
        hook.remove()
    maps = caught[-1]
    (gradients,) = torch.autograd.grad(_of(logits, labels), maps)
    if place.channels_last:
        maps, gradients = maps.permute(0, 3, 1, 2), gradients.permute(0, 3, 1, 2)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(dim=1).relu()


def rollout(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Attention rollout (Abnar and Zuidema, ACL 2020): attention followed through all layers, from the class to the patches.

    Each layer's heads are averaged by what they did for the label, attention times its gradient where that is above 0 (Chefer,
    Gur and Wolf, ICCV 2021), since plain attention is the same for every label.
    """
    with _attention(network) as caught:
        logits = _logits(network, images.requires_grad_())
    gradients = torch.autograd.grad(_of(logits, labels), caught)
    tokens = caught[0].shape[-1]
    itself = torch.eye(tokens)
    followed = itself.expand(len(images), -1, -1)
    for attention, gradient in zip(caught, gradients, strict=True):
        followed = followed + (attention * gradient).relu().mean(dim=1) @ followed
    prefix = _prefix(network)
    # Where the mean of the patches decides, what each is to itself would be a veil over the whole map.
    rows = (followed - itself)[:, :1] if _by_class_token(network) else (followed - itself)[:, prefix:]
    of_patches = rows.mean(dim=1)[:, prefix:]
    side = round(of_patches.shape[1] ** 0.5)
    return of_patches.reshape(len(images), side, side)


def integrated_gradients(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Integrated gradients (Sundararajan, Taly and Yan, ICML 2017) by captum, from the mean colour to the image.

    Summed over colours; what spoke against the label counts as 0.
    """
    try:
        from captum.attr import IntegratedGradients
    except ModuleNotFoundError as error:
        raise MissingExtra("captum (for integrated gradients)", "torch") from error
    grey = network.mean.expand(len(images), -1, *images.shape[2:]).contiguous()
    explain = IntegratedGradients(lambda inputs: _logits(network, inputs))
    found: Tensor = explain.attribute(images, grey, target=labels, n_steps=STEPS, internal_batch_size=AT_ONCE)
    return found.sum(dim=1).relu().to(torch.float32)


def _logits(network: Network, images: Tensor) -> Tensor:
    logits = network(images)
    assert isinstance(logits, Tensor), "a network in evaluation gives one tensor"
    return logits


def _of(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of the labels' logits, whose gradients are each image's own."""
    return logits.gather(1, labels[:, None]).sum()


def _seen(network: Network, size: int) -> list[_Seen]:
    """What the modules of the body give for one image, in their order."""
    seen: list[_Seen] = []
    places = {module: place for place, module in network.named_modules() if place.startswith("body.")}

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen.append(_Seen(places[module], tuple(output.shape)))

    hooks = [module.register_forward_hook(note) for module in places]
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, network.mean.shape[1], size, size))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _maps_place(seen: list[_Seen]) -> _Seen | None:
    """Where Grad-CAM looks: the last maps that are fine enough, else the last; nowhere where tokens come after all maps."""
    maps = [each for each in seen if each.side > 1]
    if not maps or _ends_in_tokens(seen):
        return None
    fine = [each for each in maps if each.side >= FINE_ENOUGH]
    return (fine or maps)[-1]


def _ends_in_tokens(seen: list[_Seen]) -> bool:
    """Whether what a network decides on were tokens, not maps."""
    maps = [number for number, each in enumerate(seen) if each.side > 1]
    tokens = [number for number, each in enumerate(seen) if each.tokens]
    return bool(tokens) and (not maps or tokens[-1] > maps[-1])


def _last_maps(network: Network, size: int) -> _Seen:
    place = _maps_place(_seen(network, size))
    assert place is not None, "asked for only where there are maps"
    return place


def _is_transformer(network: Network, seen: list[_Seen], size: int) -> bool:
    """Whether patches attend to each other from the first layer to the last, all of them to all."""
    if not _ends_in_tokens(seen) or not _attending(network):
        return False
    with _attention(network) as caught, torch.inference_mode():
        network(torch.zeros(1, network.mean.shape[1], size, size))
    shapes = {tuple(each.shape[-2:]) for each in caught}
    if len(caught) != len(_attending(network)) or len(shapes) != 1:
        return False
    rows, columns = shapes.pop()
    return rows == columns and round((rows - _prefix(network)) ** 0.5) ** 2 == rows - _prefix(network) > 1


def _attending(network: Network) -> list[nn.Module]:
    """timm's modules of attention, which can be told to compute it in the open."""
    return [module for module in network.body.modules() if hasattr(module, "fused_attn") and hasattr(module, "attn_drop")]


@contextmanager
def _attention(network: Network) -> Iterator[list[Tensor]]:
    """The attention of each layer, (N, heads, T, T), of the passes inside the block."""
    caught: list[Tensor] = []
    modules = _attending(network)
    before = [module.fused_attn for module in modules]
    # Only what is computed step by step passes its weights through a module of its own, the dropout after the softmax.
    hooks = [
        module.get_submodule("attn_drop").register_forward_hook(lambda module, inputs, output: caught.append(output))
        for module in modules
    ]
    try:
        for module in modules:
            module.fused_attn = False  # type: ignore[assignment]
        yield caught
    finally:
        for module, was in zip(modules, before, strict=True):
            module.fused_attn = was
        for hook in hooks:
            hook.remove()


def _net(network: Network) -> object:
    return getattr(network.body, "net", None)


def _prefix(network: Network) -> int:
    """Tokens before those of the patches."""
    return int(getattr(_net(network), "num_prefix_tokens", 0) or 0)


def _by_class_token(network: Network) -> bool:
    return _prefix(network) > 0 and getattr(_net(network), "global_pool", "token") == "token"
