"""airbench94 (Jordan 2024) on a processor: its network, training and test-time views, in bf16 autocast with channels last.

Taken from legacy/airbench94.py of https://github.com/KellerJordan/cifar10-airbench, under the MIT licence (NOTICE). What had
to change: half precision on an accelerator became bf16 autocast, since a processor has no half arithmetic; the images come
from JPEG files; and the test set is looked at once, at the end, unless --watch asks for more, which saves it ten evaluations.
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

EPOCHS, BATCH_SIZE, RATE, MOMENTUM, WEIGHT_DECAY = 9.9, 1024, 11.5, 0.85, 0.0153
BIAS_SCALER, LABEL_SMOOTHING, WHITEN_BIAS_EPOCHS, TRANSLATE = 64.0, 0.2, 3, 2
WIDTHS, BATCHNORM_MOMENTUM, SCALING_FACTOR = (64, 256, 256), 0.6, 1 / 9


def normalised(pixels_NSSC: Tensor) -> Tensor:
    """float32 (N, C, S, S) in channels-last layout, with the mean and deviation of the whole training set."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (cifar_jpeg.MEAN, cifar_jpeg.STD))
    return (pixels_NSSC.permute(0, 3, 1, 2).float() / 255).sub_(mean).div_(std)


def batch_crop(images: Tensor, crop_size: int) -> Tensor:
    r = (images.size(-1) - crop_size) // 2
    shifts = torch.randint(-r, r + 1, size=(len(images), 2))
    images_out = torch.empty((len(images), 3, crop_size, crop_size)).to(memory_format=torch.channels_last)
    for sy in range(-r, r + 1):
        for sx in range(-r, r + 1):
            mask = (shifts[:, 0] == sy) & (shifts[:, 1] == sx)
            images_out[mask] = images[mask, :, r + sy : r + sy + crop_size, r + sx : r + sx + crop_size]
    return images_out


class CifarLoader:
    """Batches of translated images that are mirrored every other epoch."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        flip = (torch.rand(len(images)) < 0.5).view(-1, 1, 1, 1)
        self.padded = functional.pad(torch.where(flip, images.flip(-1), images), (TRANSLATE,) * 4, "reflect")
        self.labels, self.epoch, self.side = labels, 0, images.shape[-1]

    def __len__(self) -> int:
        return len(self.labels) // BATCH_SIZE

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        images = batch_crop(self.padded, self.side)
        if self.epoch % 2 == 1:
            images = images.flip(-1)
        self.epoch += 1
        indices = torch.randperm(len(images))
        for i in range(len(self)):
            idxs = indices[i * BATCH_SIZE : (i + 1) * BATCH_SIZE]
            yield images[idxs], self.labels[idxs]


class Mul(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class BatchNorm(nn.BatchNorm2d):
    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, eps=1e-12, momentum=1 - BATCHNORM_MOMENTUM)
        self.weight.requires_grad = False


class Conv(nn.Conv2d):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, padding: int | str = "same", bias: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size=kernel_size, padding=padding, bias=bias)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias is not None:
            self.bias.data.zero_()
        w = self.weight.data
        torch.nn.init.dirac_(w[: w.size(1)])


class ConvGroup(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels_in, channels_out)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = BatchNorm(channels_out)
        self.conv2 = Conv(channels_out, channels_out)
        self.norm2 = BatchNorm(channels_out)
        self.activ = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.activ(self.norm1(self.pool(self.conv1(x))))
        return self.activ(self.norm2(self.conv2(x)))  # type: ignore[no-any-return]


def make_net() -> nn.Sequential:
    whiten_kernel_size = 2
    whiten_width = 2 * 3 * whiten_kernel_size**2
    net = nn.Sequential(
        Conv(3, whiten_width, whiten_kernel_size, padding=0, bias=True),
        nn.GELU(),
        ConvGroup(whiten_width, WIDTHS[0]),
        ConvGroup(WIDTHS[0], WIDTHS[1]),
        ConvGroup(WIDTHS[1], WIDTHS[2]),
        nn.MaxPool2d(3),
        nn.Flatten(),
        nn.Linear(WIDTHS[2], 10, bias=False),
        Mul(SCALING_FACTOR),
    )
    net[0].weight.requires_grad = False
    return net.to(memory_format=torch.channels_last)


def init_whitening_conv(layer: nn.Conv2d, train_set: Tensor, eps: float = 5e-4) -> None:
    h, w = layer.weight.data.shape[2:]
    c = train_set.shape[1]
    patches = train_set.unfold(2, h, 1).unfold(3, w, 1).transpose(1, 3).reshape(-1, c, h, w).float()
    patches_flat = patches.view(len(patches), -1)
    eigenvalues, eigenvectors = torch.linalg.eigh((patches_flat.T @ patches_flat) / len(patches_flat), UPLO="U")
    eigenvalues, eigenvectors = eigenvalues.flip(0).view(-1, 1, 1, 1), eigenvectors.T.reshape(-1, c, h, w).flip(0)
    scaled = eigenvectors / torch.sqrt(eigenvalues + eps)
    layer.weight.data[:] = torch.cat((scaled, -scaled))


class LookaheadState:
    def __init__(self, net: nn.Module) -> None:
        self.net_ema = {k: v.clone() for k, v in net.state_dict().items()}

    def update(self, net: nn.Module, decay: float) -> None:
        for ema_param, net_param in zip(self.net_ema.values(), net.state_dict().values(), strict=True):
            if net_param.is_floating_point():
                ema_param.lerp_(net_param, 1 - decay)
                net_param.copy_(ema_param)


def infer(net: nn.Module, images: Tensor) -> Tensor:
    """Logits of six views: mirrored or not, moved by a pixel to either corner or not."""

    def mirror(inputs: Tensor) -> Tensor:
        return 0.5 * net(inputs).float() + 0.5 * net(inputs.flip(-1)).float()

    def both(inputs: Tensor) -> Tensor:
        side = inputs.shape[-1]
        padded = functional.pad(inputs, (1,) * 4, "reflect")
        moved = [padded[:, :, 0:side, 0:side], padded[:, :, 2 : side + 2, 2 : side + 2]]
        return 0.5 * mirror(inputs) + 0.5 * torch.stack([mirror(view) for view in moved]).mean(0)

    net.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return torch.cat([both(inputs) for inputs in images.split(2000)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folders, or a zip of them, with train/ and test/")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--images", type=int, default=0, help="train and test on so many only, to try this program out")
    parser.add_argument("--watch", action="store_true", help="look at the test set after each epoch too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(options.seed)

    (train_pixels, train_labels), (test_pixels, test_labels) = (
        cifar_jpeg.load(options.data, split, images=options.images) for split in ("train", "test")
    )
    train_images, test_images = normalised(torch.from_numpy(train_pixels)), normalised(torch.from_numpy(test_pixels))
    labels = torch.from_numpy(test_labels)
    loader = CifarLoader(train_images, torch.from_numpy(train_labels))

    # Rate, momentum and decay in decoupled form, as the authors have them.
    kilostep_scale = 1024 * (1 + 1 / (1 - MOMENTUM))
    lr = RATE / kilostep_scale
    wd = WEIGHT_DECAY * BATCH_SIZE / kilostep_scale
    lr_biases = lr * BIAS_SCALER
    loss_fn = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING, reduction="none")
    total_train_steps = ceil(len(loader) * options.epochs)

    model = make_net()
    norm_biases = [p for k, p in model.named_parameters() if "norm" in k and p.requires_grad]
    other_params = [p for k, p in model.named_parameters() if "norm" not in k and p.requires_grad]
    groups = [
        {"params": norm_biases, "lr": lr_biases, "weight_decay": wd / lr_biases},
        {"params": other_params, "lr": lr, "weight_decay": wd / lr},
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)

    def get_lr(step: int) -> float:
        warmup_steps = int(total_train_steps * 0.23)
        if step < warmup_steps:
            frac = step / warmup_steps
            return 0.2 * (1 - frac) + 1.0 * frac
        frac = (step - warmup_steps) / (total_train_steps - warmup_steps)
        return 1.0 * (1 - frac) + 0.07 * frac

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, get_lr)
    alpha_schedule = 0.95**5 * (torch.arange(total_train_steps + 1) / total_train_steps) ** 3
    lookahead_state = LookaheadState(model)
    init_whitening_conv(model[0], train_images[torch.randperm(len(train_images))[:5000]])  # type: ignore[arg-type]

    def tell(epoch: int) -> None:
        score = (infer(model, test_images).argmax(1) == labels).float().mean().item()
        line = {"epoch": epoch, "accuracy": score, "seconds_so_far": time.perf_counter() - start}
        print(json.dumps(line), flush=True)

    current_steps = 0
    for epoch in range(ceil(options.epochs)):
        model[0].bias.requires_grad = epoch < WHITEN_BIAS_EPOCHS
        model.train()
        for inputs, targets in loader:
            with torch.autocast("cpu", torch.bfloat16):
                outputs = model(inputs)
            loss = loss_fn(outputs.float(), targets).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            current_steps += 1
            if current_steps % 5 == 0:
                lookahead_state.update(model, decay=alpha_schedule[current_steps].item())
            if current_steps >= total_train_steps:
                lookahead_state.update(model, decay=1.0)
                break
        print(f"epoch {epoch + 1}: {time.perf_counter() - start:.1f} s", flush=True)
        if options.watch and current_steps < total_train_steps:
            tell(epoch + 1)
    tell(ceil(options.epochs))


if __name__ == "__main__":
    main()
