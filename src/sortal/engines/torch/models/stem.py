"""The small stem: a first convolution that sees every pixel, so that small images are not shrunk before they are seen."""

from torch import nn

from sortal.errors import NotSupported

ADVICE = "leave stem = 'default' and set a larger image_size, or take a residual network such as resnet18"


def make_small(net: nn.Module, name: str, place: str, *, in_patches: bool, random: bool) -> frozenset[str]:
    """First convolution, which stands at `place`, to 3x3 with stride 1; first pooling away. Gives the convolution's tensors.

    `random`: it starts as torch starts any convolution, as in the tutorials that write a new one in its place; else by the
    rule of He et al., which matters only where no pretrained kernel is resampled into it. `in_patches` says that the network
    cuts images into patches and attends to them. Raises `NotSupported` for such a one, and where nothing can be made small.
    """
    modules = dict(net.named_modules())
    conv = modules.get(place)
    if in_patches:
        raise NotSupported(f"{name} attends to patches of images of one size, and has no stem to make small", hint=ADVICE)
    if not isinstance(conv, nn.Conv2d):
        raise NotSupported(f"{name} does not begin with a convolution that could be made small", hint=ADVICE)
    pool = _pool(modules, place)
    if conv.stride == (1, 1) and conv.kernel_size == (3, 3) and pool != "maxpool":
        raise NotSupported(f"{name} has a small stem already", hint="leave stem = 'default'")
    small = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 1, 1, groups=conv.groups, bias=conv.bias is not None)
    if not random:
        nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    net.set_submodule(place, small)
    if pool:
        net.set_submodule(pool, nn.Identity())
    return frozenset(f"{place}.{tensor}" for tensor in small.state_dict())


def _pool(modules: dict[str, nn.Module], first_conv: str) -> str:
    """Where the first pooling is: by its usual name, else what pools before a second convolution; '' if there is none."""
    if "maxpool" in modules:
        return "maxpool"
    for place in list(modules)[list(modules).index(first_conv) + 1 :]:
        if isinstance(modules[place], nn.MaxPool2d | nn.AvgPool2d):
            return place
        if isinstance(modules[place], nn.Conv2d):
            return ""
    return ""
