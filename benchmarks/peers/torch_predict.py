"""One photograph through torch: import it, build the network, load its weights, predict."""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms

from benchmarks.peers import lite0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    options = parser.parse_args()
    view = transforms.Compose(
        [
            transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
            transforms.Normalize(lite0.MEAN, lite0.STD),
        ]
    )  # fmt: skip
    model = lite0.network(2).eval()
    with torch.inference_mode():
        probs = model(view(Image.open(options.image).convert("RGB"))[None]).softmax(1)
    print(json.dumps({"label": int(probs.argmax()), "probability": float(probs.max())}))


if __name__ == "__main__":
    main()
