"""Two epochs of torchvision's ImageFolder behind a DataLoader of two workers, with the transforms of its reference training."""

import argparse
import json
import time
from pathlib import Path

from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    varied = transforms.Compose(
        [
            transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )  # fmt: skip
    began = time.perf_counter()
    folder = ImageFolder(data, varied)
    loader = DataLoader(folder, batch_size=32, shuffle=True, num_workers=2)
    ends = []
    for _ in range(2):
        for images, labels in loader:
            assert len(images) == len(labels)
        ends.append(time.perf_counter())
    print(
        json.dumps(
            {
                "first_images_per_second": len(folder) / (ends[0] - began),
                "second_images_per_second": len(folder) / (ends[1] - ends[0]),
            }
        )
    )


if __name__ == "__main__":
    main()
