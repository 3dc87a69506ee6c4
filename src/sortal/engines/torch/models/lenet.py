"""LeNet-5 (LeCun et al. 1998), for digits: tanh, average pooling, two hidden dense layers."""

from torch import nn

from sortal.engines.torch.models.body import Body


def lenet5(channels: int, size: int) -> Body:
    """28 x 28 pixels become 16 maps of 4 x 4, so the first dense layer has 256 inputs.

    The seed's docstring says 400, which is the 16 x 5 x 5 of LeCun's 32 x 32 images; its code has 16 x 4 x 4, as here.
    """
    side = ((size - 4) // 2 - 4) // 2
    if side < 1:
        raise ValueError("two unpadded 5 x 5 convolutions with poolings leave nothing of the image")
    return Body(
        {
            "conv1": nn.Sequential(nn.Conv2d(channels, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
            "conv2": nn.Sequential(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
            "dense1": nn.Sequential(nn.Linear(16 * side * side, 120), nn.Tanh()),
            "dense2": nn.Sequential(nn.Linear(120, 84), nn.Tanh()),
        },
        dimensions=84,
    )
