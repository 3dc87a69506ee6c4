"""The seeds' SimpleCNN, trained as the seeds train it, on Fashion-MNIST, until its test accuracy first reaches a target.

SGD at 0.1 with momentum 0.9 and weight decay 5e-4, cosine over 100 epochs, batches of 64, float32, DataLoader. What had to be
adapted: one input channel, the data's own mean and deviation, and the random resized crop to 28 pixels, since the seeds' 224
would enlarge these images 64-fold and make them train 64 times slower. Colour jitter keeps brightness and contrast; a grey
image has no saturation.
"""

import argparse
import gzip
import json
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import FashionMNIST

MEAN, STD = 0.2860, 0.3530
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class SimpleCNN(nn.Module):
    """Three blocks of two convolutions, global average pooling, dropout of one half; (N, C, 28, 28) to (N, K)."""

    def __init__(self, num_classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        widths = (channels, 64, 128, 256)
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            for inside in (before, width):
                layers += [nn.Conv2d(inside, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, num_classes))

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


def unpack(data: Path, root: Path) -> None:
    """Lay the four files out as torchvision looks for them."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        with gzip.open(data / f"{name}.gz") as packed, (raw / name).open("wb") as file:
            shutil.copyfileobj(packed, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the four idx.gz files")
    parser.add_argument("--target", type=float, default=0.92, help="stop when the test accuracy first reaches it")
    parser.add_argument("--epochs", type=int, default=100, help="of the cosine, and the most that are run")
    parser.add_argument("--limit", type=float, default=0, help="begin no epoch after so many seconds; 0 is no limit")
    parser.add_argument("--images", type=int, default=0, help="train on the first so many only, to try this program out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(options.seed)

    normalise = transforms.Normalize(MEAN, STD)
    augmented = transforms.Compose(
        [
            transforms.RandomResizedCrop(28, scale=(0.8, 1.0)), transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=0.2, contrast=0.2), transforms.ToTensor(), normalise,
        ]
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        unpack(options.data, Path(folder))
        train_data = FashionMNIST(folder, train=True, transform=augmented)
        test_data = FashionMNIST(folder, train=False, transform=transforms.Compose([transforms.ToTensor(), normalise]))
    chosen = Subset(train_data, range(options.images or len(train_data)))
    train = DataLoader(chosen, batch_size=64, shuffle=True, num_workers=2)
    test = DataLoader(test_data, batch_size=128, num_workers=2)

    model = SimpleCNN()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs)

    for epoch in range(1, options.epochs + 1):
        if options.limit and time.perf_counter() - start > options.limit:
            break
        model.train()
        total_loss = 0.0
        for images, labels in train:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total_loss += loss.item() * len(labels)
        score = accuracy(model, test)
        scheduler.step()
        line = {
            "epoch": epoch,
            "loss": total_loss / len(chosen),
            "accuracy": score,
            "seconds_so_far": time.perf_counter() - start,
        }
        print(json.dumps(line), flush=True)
        if score >= options.target:
            break


if __name__ == "__main__":
    main()
