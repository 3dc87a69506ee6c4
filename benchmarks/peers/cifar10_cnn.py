"""The seeds' CIFAR10CNN, trained as the seeds train it, until its test accuracy first reaches a target.

SGD with momentum 0.9 and weight decay 5e-4, cosine over 100 epochs, batches of 128, float32, torchvision's transforms in a
DataLoader with 4 workers. The one thing that may be set is the rate: at the script's own 0.1 the network does not get going.
With --steps it runs so many training steps and says how fast they were. With --held-out it judges by training images that it
holds out, and never reads the test split: that is how a rate is chosen for it (benchmarks/peer_rates.py).
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.peers import cifar_jpeg

SKIPPED = 3
"""Steps before the clock starts: workers begin, memory is laid out."""


class CIFAR10CNN(nn.Module):
    """Three blocks of two convolutions with dropout, then two dense layers; (N, 3, 32, 32) to (N, 10)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in pairwise((3, 64, 128, 256)):
            for inside in (before, width):
                layers += [nn.Conv2d(inside, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2, 2), nn.Dropout2d(0.25)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(256 * 4 * 4, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))  # type: ignore[no-any-return]


def accuracy(model: nn.Module, loader: DataLoader) -> float:  # type: ignore[type-arg]
    """Share of right answers in 0..1."""
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in loader:
            right += int((model(images).argmax(1) == labels).sum())
            total += len(labels)
    return right / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folders, or a zip of them, with train/ and test/")
    parser.add_argument("--target", type=float, default=0.80, help="stop when the test accuracy first reaches it")
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=100, help="of the cosine, and the most that are run")
    parser.add_argument("--first", type=int, default=0, help="run the first so many epochs of that cosine only")
    parser.add_argument("--held-out", type=int, default=0, help="judge by so many images of train/, which are not trained on")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--limit", type=float, default=0, help="begin no epoch after so many seconds; 0 is no limit")
    parser.add_argument(
        "--images", type=int, default=0, help="train and test on so many only, to try a rate or this program out"
    )
    parser.add_argument("--steps", type=int, default=0, help="run so many steps, print images per second, and end")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(options.seed)

    finish = [transforms.ToTensor(), transforms.Normalize(cifar_jpeg.MEAN, cifar_jpeg.STD)]
    vary = [
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(brightness=0.2, contrast=0.2),
    ]  # fmt: skip
    pixels, labels = cifar_jpeg.load(options.data, "train", images=options.images)
    held_N = cifar_jpeg.held_out(len(labels), options.held_out)
    train_data = cifar_jpeg.Pictures(pixels[~held_N], labels[~held_N], transforms.Compose([*vary, *finish]))
    train = DataLoader(train_data, batch_size=128, shuffle=True, num_workers=options.workers)

    model = CIFAR10CNN()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.rate, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs)

    def step(data: Tensor, target: Tensor) -> float:
        optimizer.zero_grad()
        output = model(data)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
        right = (output.argmax(dim=1) == target).sum().item()  # as in the script, which counts them
        del right
        return float(loss.item())

    if options.steps:
        model.train()
        seen, began = 0, 0.0
        for number, (data, target) in enumerate(train):
            if number == SKIPPED:
                began = time.perf_counter()
            if number == SKIPPED + options.steps:
                break
            step(data, target)
            seen += len(target) if number >= SKIPPED else 0
        print(json.dumps({"images_per_second": seen / (time.perf_counter() - began), "images": seen}), flush=True)
        return

    judged = (
        (pixels[held_N], labels[held_N]) if options.held_out else cifar_jpeg.load(options.data, "test", images=options.images)
    )
    test = DataLoader(cifar_jpeg.Pictures(*judged, transforms.Compose(finish)), 256)
    for epoch in range(1, (options.first or options.epochs) + 1):
        if options.limit and time.perf_counter() - start > options.limit:
            break
        model.train()
        total_loss = 0.0
        for data, target in train:
            total_loss += step(data, target) * len(target)
        score = accuracy(model, test)
        scheduler.step()
        line = {
            "epoch": epoch, "loss": total_loss / len(train_data), "accuracy": score,
            "seconds_so_far": time.perf_counter() - start,
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        if score >= options.target:
            break


if __name__ == "__main__":
    main()
