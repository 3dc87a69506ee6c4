"""How a network from random weights begins: identity convolutions, and a first layer that whitens patches of the images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sortal.engines.torch.models.body import Body
from sortal.errors import NotSupported
from sortal.recipe import Start

SAMPLED = 5_000
"""Training images whose patches are looked at, as in airbench."""
EPSILON = 5e-4
"""Added to the variances that filters are divided by the root of, so that directions in which nothing varies stay small."""


def prepared(body: Body, spec: Start) -> Body:
    """The body with what a recipe's `start` can settle without images; draws no random numbers.

    Raises `NotSupported` where the first layer cannot hold whitening filters.
    """
    convolutions = [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    if spec.identity:
        for conv in convolutions[1:]:
            _hand_on(conv)
    if spec.whiten != "none":
        _keep_filters(_first(convolutions), learns_biases=spec.whiten == "bias")
    return body


def _hand_on(conv: nn.Conv2d) -> None:
    """The first filters hand on one map each; those beyond the number of maps that come in stay as they are."""
    if conv.groups == 1:  # a grouped one sees some of the maps only
        with torch.no_grad():
            nn.init.dirac_(conv.weight[: conv.weight.shape[1]])


def _first(convolutions: list[nn.Conv2d]) -> nn.Conv2d:
    conv = convolutions[0] if convolutions else None
    if conv is None or conv.out_channels != 2 * conv.weight[0].numel() or conv.bias is None:
        raise NotSupported(
            "this network's first layer has no room for the filters that whiten patches: twice as many as a patch has numbers",
            hint="set start.whiten = 'none', or take brisk, brisk_r, brisk_s or brisk_l",
        )
    return conv


def _keep_filters(conv: nn.Conv2d, *, learns_biases: bool) -> None:
    """Make what stays as it is a buffer: no optimiser sees it, and yet it belongs to the state and to what is shipped."""
    for name in ("weight",) if learns_biases else ("weight", "bias"):
        tensor = conv._parameters.pop(name)
        assert tensor is not None
        conv.register_buffer(name, tensor.detach().clone() if name == "weight" else torch.zeros_like(tensor))
    if learns_biases:
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # there is one


def whiten(conv: nn.Conv2d, images: Iterable[Tensor]) -> None:
    """Fill the filters of a first layer, (2 D, C, P, P) with D = C P P, from normalised images (N, C, S, S) in parts.

    The eigenvectors of the patches' second moments, each over the root of its eigenvalue, largest first; then their negatives.
    """
    side = conv.kernel_size[0]
    numbers, count = conv.weight[0].numel(), 0
    moments = torch.zeros((numbers, numbers), dtype=torch.float64)
    for part in images:
        patches = part.double().unfold(2, side, 1).unfold(3, side, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, numbers)
        moments, count = moments + (patches.T @ patches).cpu(), count + len(patches)
    values, vectors = torch.linalg.eigh(moments / count)
    filters = (vectors / (values.clamp(min=0) + EPSILON).sqrt()).T.flip(0)
    # An eigenvector's sign is anyone's choice: the largest number of each is made positive, so that libraries agree.
    signs = filters.gather(1, filters.abs().argmax(1, keepdim=True)).sign()
    filters = (filters * signs).reshape(-1, *conv.weight.shape[1:])
    conv.weight.data.copy_(torch.cat((filters, -filters)))


def first_layer(body: nn.Module) -> nn.Conv2d:
    """The layer that `whiten` fills."""
    return next(module for module in body.modules() if isinstance(module, nn.Conv2d))
