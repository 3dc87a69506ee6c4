"""timm's architectures as bodies: any of its names, without the classifier, in the stages that timm itself tells apart."""

from typing import Any

from torch import Tensor, nn

from sortal.engines.torch.models.auxiliary import inception_v3_taps
from sortal.engines.torch.models.body import LibraryBody, PoolTo

VGG_SIDE, VGG_STRIDE = 7, 32
"""Of the maps that VGG's dense layers take, and pixels of the image for each."""


class TimmBody(LibraryBody):
    """A timm network that gives its pooled features."""

    def __init__(self, net: nn.Module, name: str, image_size: int) -> None:
        super().__init__(net, image_size)
        if name.partition(".")[0] == "inception_v3":
            self.taps = inception_v3_taps()

    def maps(self, x: Tensor) -> Tensor:
        maps: Tensor = self.net.forward_features(x)  # type: ignore[operator]
        return maps

    def finish(self, x: Tensor) -> Tensor:
        features: Tensor = self.net.forward_head(x)  # type: ignore[operator]
        return features

    def layers(self) -> list[list[str]]:
        return self._groups(coarse=False)

    def stages(self) -> list[list[str]]:
        dimensions = {f"net.{name}": parameter.ndim for name, parameter in self.net.named_parameters()}
        stages: list[list[str]] = []
        for names in self._groups(coarse=True):
            # A norm that stands alone before the classes is no stage; it goes with what it normalises.
            if stages and all(dimensions[name] <= 1 for name in names):
                stages[-1].extend(names)
            else:
                stages.append(names)
        return stages

    def _groups(self, *, coarse: bool) -> list[list[str]]:
        from timm.models import group_parameters

        if hasattr(self.net, "group_matcher"):
            matcher: Any = self.net.group_matcher(coarse=coarse)  # type: ignore[operator]
        else:  # as its parts stand in it
            matcher = {name: rf"^{name}\." for name, _ in self.net.named_children()}
        groups = group_parameters(self.net, matcher)
        named = [[f"net.{name}" for name in groups[depth]] for depth in sorted(groups)]
        return [names for names in named if names]


def timm_net(name: str, channels: int, size: int, **options: Any) -> nn.Module:
    """timm's network with features for outputs; networks that are built for one image size are built for this one."""
    import timm

    if config(name).get("fixed_input_size"):
        options["img_size"] = size
    # `exportable`: padding and activations that a graph can be made of.
    net: nn.Module = timm.create_model(name, num_classes=0, in_chans=channels, exportable=True, **options)
    if isinstance(net, timm.models.VGG) and size < VGG_SIDE * VGG_STRIDE:
        net.features.append(PoolTo(VGG_SIDE))  # else timm pools adaptively, which cannot be exported
    return net


def config(name: str) -> dict[str, Any]:
    """What timm knows of a name's pretrained weights: mean, std, interpolation, crop_pct, first_conv, where they are."""
    import timm

    found: Any = timm.get_pretrained_cfg(name)
    return dict(found.to_dict()) if found is not None else {}


def in_patches(name: str, net: nn.Module) -> bool:
    """Whether a network attends to patches: one for a single size, or one whose first step is a cut and that has attention."""
    if config(name).get("fixed_input_size"):
        return True
    first = net.get_submodule(config(name).get("first_conv") or "") if isinstance(config(name).get("first_conv"), str) else None
    cut = isinstance(first, nn.Conv2d) and first.kernel_size == first.stride
    return cut and any("Attention" in type(module).__name__ for module in net.modules())


def whole(name: str) -> nn.Module:
    """The network with the classifier that its weights have, or with ImageNet's 1,000 classes where they have none."""
    import timm

    classes = config(name).get("num_classes") or 1000
    net: nn.Module = timm.create_model(name, exportable=True, num_classes=classes)
    return net
