"""A folder of photographs through torch: timm's network, a bundle's weights, batches of 32 from a DataLoader of two workers."""

import argparse
import json
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.peers import lite0

BODY, HEAD = "body.net.", "head.1."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    view = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224),
            transforms.ToTensor(), transforms.Normalize(lite0.MEAN, lite0.STD),
        ]
    )  # fmt: skip
    images = ImageFolder(options.folder, view)
    tensors = load_file(options.bundle / "weights.safetensors")
    model = timm.create_model(lite0.NAME, pretrained=False, num_classes=len(images.classes))
    ours = {name.removeprefix(BODY): tensor for name, tensor in tensors.items() if name.startswith(BODY)}
    ours |= {f"classifier.{name}": tensors[f"{HEAD}{name}"] for name in ("weight", "bias")}
    model.load_state_dict(ours)
    model.eval()
    right = 0
    with torch.inference_mode():
        for batch, labels in DataLoader(images, batch_size=32, num_workers=2):
            right += int((model(batch).argmax(1) == labels).sum())
    print(json.dumps({"images": len(images), "accuracy": right / len(images)}))


if __name__ == "__main__":
    main()
