"""torchvision's v2 transforms, image by image, in a DataLoader of two workers."""

import argparse
import json
import time

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

BATCH, SIDE = 1024, 32


class Images(Dataset):  # type: ignore[type-arg]
    """Bytes in memory, varied when they are asked for."""

    def __init__(self, count: int) -> None:
        self.pixels = torch.randint(
            0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        self.varied = v2.Compose(
            [
                v2.RandomCrop(SIDE, padding=4), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4),
                v2.RandAugment(num_ops=2, magnitude=9), v2.ToDtype(torch.float32, scale=True), v2.RandomErasing(0.25),
            ]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, place: int) -> torch.Tensor:
        varied: torch.Tensor = self.varied(self.pixels[place])
        return varied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_480)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    images, workers = Images(options.images), options.workers
    loader = DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    # A whole epoch before the one that counts: the workers' start is left out that way, and nothing is made ahead of the clock.
    for _ in loader:
        pass
    began = time.perf_counter()
    count = sum(len(batch) for batch in loader)
    seconds = time.perf_counter() - began
    assert count == len(images)
    print(json.dumps({"images_per_second": count / seconds}))


if __name__ == "__main__":
    main()
