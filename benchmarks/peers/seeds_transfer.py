"""Transfer learning as the seeds write it: freeze the network, and run all of it over every image in every epoch.

Eager mode, float32, RandomResizedCrop and flip, Adam at 0.001 on a fresh classifier, one evaluation an epoch.
`model.train()` also lets batch normalisation follow the new images, as it does in the seeds.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.peers import lite0


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
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/, one folder a class in each")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    normalise = transforms.Normalize(lite0.MEAN, lite0.STD)
    augmented = transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    )
    centre = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalise])
    train_data, val_data = ImageFolder(options.data / "train", augmented), ImageFolder(options.data / "val", centre)
    train = DataLoader(train_data, batch_size=32, shuffle=True, num_workers=2)
    val = DataLoader(val_data, batch_size=32, num_workers=2)

    model = lite0.network(0)
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.reset_classifier(len(train_data.classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-3)

    for epoch in range(1, options.epochs + 1):
        began = time.perf_counter()
        model.train()
        total_loss = 0.0
        for images, labels in train:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total_loss += loss.item() * len(labels)
        trained = time.perf_counter()
        score = accuracy(model, val)
        ended = time.perf_counter()
        line = {
            "epoch": epoch, "train_seconds": trained - began, "seconds": ended - began,
            "loss": total_loss / len(train_data), "accuracy": score,
            "train_images": len(train_data), "val_images": len(val_data),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
