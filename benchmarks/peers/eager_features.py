"""Features as torchvision and timm document it: ImageFolder, transforms, a DataLoader, the network in eager float32."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.peers import lite0
from benchmarks.scoring import cross_validated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    model = lite0.network(0).eval()
    view = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224),
            transforms.ToTensor(), transforms.Normalize(lite0.MEAN, lite0.STD),
        ]
    )  # fmt: skip
    with torch.inference_mode():
        model(torch.zeros(32, 3, 224, 224))  # warm-up
        began = time.perf_counter()
        folder = ImageFolder(data, view)
        loader = DataLoader(folder, batch_size=32, num_workers=2)
        parts, labels, waited = [], [], 0.0
        asked = time.perf_counter()
        for images, targets in loader:
            waited += time.perf_counter() - asked
            parts.append(model(images).numpy())
            labels.append(targets.numpy())
            asked = time.perf_counter()
        seconds = time.perf_counter() - began
    features_ND = np.concatenate(parts)
    print(
        json.dumps(
            {
                "images_per_second": len(features_ND) / seconds, "images": len(features_ND),
                "accuracy": cross_validated(features_ND, np.concatenate(labels)),
                "profile": {"waited_for_images": round(waited / seconds, 3), "network": round(1 - waited / seconds, 3)},
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
