"""airbench94_muon (Jordan 2024): its network, Muon, training and test-time views, compiled, in half precision.

Taken from airbench94_muon.py of https://github.com/KellerJordan/cifar10-airbench, under the MIT licence (NOTICE). What had to
change: the images come from JPEG files, the test set is looked at once, at the end, and there is one training that counts after
the one that compiles and warms up. On a processor, to try it out, half precision is bf16 and nothing is compiled.
"""

import argparse
import json
import time
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers import cifar_jpeg

EPOCHS, BATCH_SIZE, BIAS_RATE, HEAD_RATE, MUON_RATE, TRANSLATE = 8.0, 2000, 0.053, 0.67, 0.24, 2
WIDTHS, WHITEN_EPOCHS, LABEL_SMOOTHING = (64, 256, 256), 3, 0.2

ACCELERATED = torch.cuda.is_available()
DEVICE, HALF = (torch.device("cuda"), torch.float16) if ACCELERATED else (torch.device("cpu"), torch.bfloat16)


def zeropower_via_newtonschulz5(g: Tensor, steps: int = 3, eps: float = 1e-7) -> Tensor:
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    x /= x.norm() + eps
    if g.size(0) > g.size(1):
        x = x.T
    for _ in range(steps):
        xx = x @ x.T
        x = a * x + (b * xx + c * xx @ xx) @ x
    return x.T if g.size(0) > g.size(1) else x


if ACCELERATED:
    zeropower_via_newtonschulz5 = torch.compile(zeropower_via_newtonschulz5)


class Muon:
    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float) -> None:
        self.params, self.lr, self.momentum = params, lr, momentum
        self.buffers = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, share: float) -> None:
        for p, buffer in zip(self.params, self.buffers, strict=True):
            if p.grad is None:
                continue
            buffer.mul_(self.momentum).add_(p.grad)
            g = p.grad.add(buffer, alpha=self.momentum)
            p.mul_(len(p) ** 0.5 / p.norm())
            p.add_(zeropower_via_newtonschulz5(g.reshape(len(g), -1)).view(g.shape), alpha=-self.lr * share)


def normalised(pixels_NSSC: Tensor) -> Tensor:
    mean, std = (torch.tensor(each, device=DEVICE).view(1, 3, 1, 1) for each in (cifar_jpeg.MEAN, cifar_jpeg.STD))
    images = (pixels_NSSC.to(DEVICE).to(HALF) / 255).permute(0, 3, 1, 2)
    return ((images - mean) / std).to(HALF).to(memory_format=torch.channels_last)


class CifarLoader:
    """Batches of translated images that are mirrored every other epoch."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        flip = (torch.rand(len(images), device=DEVICE) < 0.5).view(-1, 1, 1, 1)
        self.padded = functional.pad(torch.where(flip, images.flip(-1), images), (TRANSLATE,) * 4, "reflect")
        self.labels, self.epoch, self.side, self.batch_size = labels, 0, images.shape[-1], batch_size

    def __len__(self) -> int:
        return len(self.padded) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        r, side = TRANSLATE, self.side
        shifts = torch.randint(-r, r + 1, size=(len(self.padded), 2), device=DEVICE)
        images = torch.empty((len(self.padded), 3, side, side), device=DEVICE, dtype=HALF)
        for sy in range(-r, r + 1):
            for sx in range(-r, r + 1):
                mask = (shifts[:, 0] == sy) & (shifts[:, 1] == sx)
                images[mask] = self.padded[mask, :, r + sy : r + sy + side, r + sx : r + sx + side]
        if self.epoch % 2 == 1:
            images = images.flip(-1)
        self.epoch += 1
        indices = torch.randperm(len(images), device=DEVICE)
        for i in range(len(self)):
            idxs = indices[i * self.batch_size : (i + 1) * self.batch_size]
            yield images[idxs], self.labels[idxs]


class BatchNorm(nn.BatchNorm2d):
    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, eps=1e-12, momentum=0.4)
        self.weight.requires_grad = False


class Conv(nn.Conv2d):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel_size=3, padding="same", bias=False)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        w = self.weight.data
        torch.nn.init.dirac_(w[: w.size(1)])


class ConvGroup(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv(channels_in, channels_out), Conv(channels_out, channels_out)
        self.norm1, self.norm2 = BatchNorm(channels_out), BatchNorm(channels_out)
        self.pool, self.activ = nn.MaxPool2d(2), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.activ(self.norm1(self.pool(self.conv1(x))))
        return self.activ(self.norm2(self.conv2(x)))  # type: ignore[no-any-return]


class CifarNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2, padding=0, bias=True)
        self.whiten.weight.requires_grad = False
        groups = [ConvGroup(before, after) for before, after in zip((24, *WIDTHS[:2]), WIDTHS, strict=True)]
        self.layers = nn.Sequential(nn.GELU(), *groups, nn.MaxPool2d(3))
        self.head = nn.Linear(WIDTHS[2], 10, bias=False)
        for mod in self.modules():
            mod.float() if isinstance(mod, BatchNorm) else mod.to(HALF)

    def reset(self) -> None:
        for m in self.modules():
            if type(m) in (nn.Conv2d, Conv, BatchNorm, nn.Linear):
                m.reset_parameters()  # type: ignore[operator]
        self.head.weight.data *= 1 / self.head.weight.data.std()

    def init_whiten(self, images: Tensor, eps: float = 5e-4) -> None:
        c, (h, w) = images.shape[1], self.whiten.weight.shape[2:]
        patches = images.unfold(2, h, 1).unfold(3, w, 1).transpose(1, 3).reshape(-1, c, h, w).float()
        flat = patches.view(len(patches), -1)
        eigenvalues, eigenvectors = torch.linalg.eigh((flat.T @ flat) / len(flat), UPLO="U")
        scaled = eigenvectors.T.reshape(-1, c, h, w) / torch.sqrt(eigenvalues.view(-1, 1, 1, 1) + eps)
        self.whiten.weight.data[:] = torch.cat((scaled, -scaled))

    def forward(self, x: Tensor, whiten_bias_grad: bool = True) -> Tensor:
        b = self.whiten.bias
        assert b is not None
        x = functional.conv2d(x, self.whiten.weight, b if whiten_bias_grad else b.detach())
        x = self.layers(x)
        x = x.view(len(x), -1)
        return self.head(x) / x.size(-1)  # type: ignore[no-any-return]


def infer(net: nn.Module, images: Tensor) -> Tensor:
    """Logits of six views: mirrored or not, moved by a pixel to either corner or not."""

    def mirror(inputs: Tensor) -> Tensor:
        return 0.5 * net(inputs).clone() + 0.5 * net(inputs.flip(-1)).clone()

    def both(inputs: Tensor) -> Tensor:
        side = inputs.shape[-1]
        padded = functional.pad(inputs, (1,) * 4, "reflect")
        moved = [padded[:, :, 0:side, 0:side], padded[:, :, 2 : side + 2, 2 : side + 2]]
        return 0.5 * mirror(inputs) + 0.5 * torch.stack([mirror(view) for view in moved]).mean(0)

    net.eval()
    with torch.no_grad():
        return torch.cat([both(inputs) for inputs in images.split(2000)])


def now() -> float:
    if ACCELERATED:
        torch.cuda.synchronize()
    return time.perf_counter()


def trained(model: CifarNet, images: Tensor, labels: Tensor, epochs: float, batch_size: int) -> None:
    loader = CifarLoader(images, labels, batch_size)
    steps, whiten_steps = ceil(epochs * len(loader)), ceil(WHITEN_EPOCHS * len(loader))
    wd = 2e-6 * batch_size
    biases = [p for n, p in model.named_parameters() if "norm" in n and p.requires_grad]
    filters = [p for p in model.parameters() if len(p.shape) == 4 and p.requires_grad]
    groups = [
        {"params": [model.whiten.bias], "lr": BIAS_RATE, "weight_decay": wd / BIAS_RATE},
        {"params": biases, "lr": BIAS_RATE, "weight_decay": wd / BIAS_RATE},
        {"params": [model.head.weight], "lr": HEAD_RATE, "weight_decay": wd / HEAD_RATE},
    ]
    sgd = torch.optim.SGD(groups, momentum=0.85, nesterov=True, fused=ACCELERATED)
    rates = [group["lr"] for group in sgd.param_groups]
    muon = Muon(filters, MUON_RATE, 0.6)
    model.reset()
    model.init_whiten(images[:5000])
    model.train()
    step = 0
    while step < steps:
        for inputs, targets in loader:
            outputs = model(inputs, whiten_bias_grad=step < whiten_steps)
            functional.cross_entropy(outputs, targets, label_smoothing=LABEL_SMOOTHING, reduction="sum").backward()  # type: ignore[no-untyped-call]
            shares = (max(0.0, 1 - step / whiten_steps), 1 - step / steps, 1 - step / steps)
            for group, rate, share in zip(sgd.param_groups, rates, shares, strict=True):
                group["lr"] = rate * share
            sgd.step()
            muon.step(1 - step / steps)
            model.zero_grad(set_to_none=True)
            step += 1
            if step >= steps:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folders, or a zip of them, with train/ and test/")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--images", type=int, default=0, help="train and test on so many only, to try this program out")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True

    (train_pixels, train_labels), (test_pixels, test_labels) = (
        cifar_jpeg.load(options.data, split, images=options.images) for split in ("train", "test")
    )
    images, test_images = (normalised(torch.from_numpy(pixels)) for pixels in (train_pixels, test_pixels))
    labels, test = (torch.from_numpy(each).to(DEVICE) for each in (train_labels, test_labels))
    model = CifarNet().to(DEVICE).to(memory_format=torch.channels_last)
    if ACCELERATED:
        model.compile(mode="max-autotune")

    began = now()
    if ACCELERATED:  # compiles, on labels that mean nothing
        trained(model, images, torch.randint(0, 10, size=(len(labels),), device=DEVICE), options.epochs, options.batch_size)
        infer(model, test_images)
    warm = now()
    trained(model, images, labels, options.epochs, options.batch_size)
    score = (infer(model, test_images).argmax(1) == test).float().mean().item()
    print(json.dumps({"accuracy": score, "seconds": now() - warm, "warm_up_seconds": warm - began, "device": str(DEVICE)}))


if __name__ == "__main__":
    main()
