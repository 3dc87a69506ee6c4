"""timm's architectures as bodies: any of its names, without the classifier, in the stages that timm itself tells apart."""

from typing import Any

from torch import Tensor, nn

from sortal.engines.torch.models.body import Body
from sortal.errors import NotSupported


class TimmBody(Body):
    """A timm network that gives its pooled features."""

    def __init__(self, net: nn.Module, image_size: int) -> None:
        super().__init__({}, dimensions=0)
        self.net = net
        self.image_size = image_size

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features

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
    return net


def config(name: str) -> dict[str, Any]:
    """What timm knows of a name's pretrained weights: mean, std, interpolation, crop_pct, first_conv, where they are."""
    import timm

    found: Any = timm.get_pretrained_cfg(name)
    return dict(found.to_dict()) if found is not None else {}


def first_conv_name(name: str) -> str:
    """Where in timm's network the first convolution stands; '' where timm does not say."""
    place = config(name).get("first_conv") or ""
    return place if isinstance(place, str) else str(place[0])


def make_stem_small(net: nn.Module, name: str) -> None:
    """First convolution to 3x3 with stride 1, first pooling away, so that small images are not shrunk before they are seen.

    Raises `NotSupported` for networks that cut images into patches.
    """
    place = first_conv_name(name)
    modules = dict(net.named_modules())
    conv = modules.get(place)
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size[0] % 2 == 0 or conv.stride[0] > 2:
        raise NotSupported(
            f"{name} does not begin with a convolution that could be made small",
            hint="set stem = 'default' and a larger image_size, or take a residual network such as resnet18",
        )
    small = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 1, 1, groups=conv.groups, bias=conv.bias is not None)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    net.set_submodule(place, small)
    pool = _stem_pool(modules, place)
    if pool:
        net.set_submodule(pool, nn.Identity())


def _stem_pool(modules: dict[str, nn.Module], first_conv: str) -> str:
    """Where the first pooling is: by its usual name, else what pools before a second convolution; '' if there is none."""
    if "maxpool" in modules:
        return "maxpool"
    for place in list(modules)[list(modules).index(first_conv) + 1 :]:
        if isinstance(modules[place], nn.MaxPool2d | nn.AvgPool2d):
            return place
        if isinstance(modules[place], nn.Conv2d):
            return ""
    return ""
