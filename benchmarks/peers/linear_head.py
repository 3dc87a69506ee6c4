"""A plain linear head: scikit-learn's LogisticRegression on one view's features of the frozen network, in given folds."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torchvision import transforms

from benchmarks.peers import lite0


def features(paths: list[Path]) -> NDArray[np.float32]:
    """Pooled outputs of the frozen network in float32 for the centre of each image, shape (N, 1280)."""
    view = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224), transforms.ToTensor(),
            transforms.Normalize(lite0.MEAN, lite0.STD),
        ]
    )  # fmt: skip
    model = lite0.network(0).eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(paths), 32):
            images = [view(Image.open(path).convert("RGB")) for path in paths[start : start + 32]]
            parts.append(model(torch.stack(images)).numpy())
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that the sources are relative to")
    parser.add_argument("--folds", type=Path, required=True, help="JSON: sources (N), labels (N), folds (R x N)")
    options = parser.parse_args()
    task = json.loads(options.folds.read_text())
    labels_N = np.array(task["labels"])
    features_ND = features([options.data / source for source in task["sources"]])
    right = []
    for folds_N in np.array(task["folds"]):
        answers_N = np.empty_like(labels_N)
        for fold in np.unique(folds_N):
            held_N = folds_N == fold
            # 1,000 iterations rather than 100: at its default it stops early on features that are not scaled, and warns.
            head = LogisticRegression(max_iter=1000).fit(features_ND[~held_N], labels_N[~held_N])
            answers_N[held_N] = head.predict(features_ND[held_N])
        right.append((answers_N == labels_N).astype(int).tolist())
    print(json.dumps({"right": right}))


if __name__ == "__main__":
    main()
