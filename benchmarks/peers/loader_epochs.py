"""Two epochs of torchvision's ImageFolder behind a DataLoader of two workers, with the transforms of its reference training."""

import argparse
import json
import time
from pathlib import Path

from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=0, help="of the first so many only; 0 is all")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    varied = transforms.Compose(
        [
            transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )  # fmt: skip
    began = time.perf_counter()
    folder = ImageFolder(options.data, varied)
    chosen = Subset(folder, range(min(options.images or len(folder), len(folder))))
    loader = DataLoader(chosen, batch_size=32, shuffle=True, num_workers=options.workers)
    ends = []
    for _ in range(2):
        for images, labels in loader:
            assert len(images) == len(labels)
        ends.append(time.perf_counter())
    print(
        json.dumps(
            {
                "first_images_per_second": len(chosen) / (ends[0] - began),
                "second_images_per_second": len(chosen) / (ends[1] - ends[0]),
            }
        )
    )


if __name__ == "__main__":
    main()
