"""Classify image files: python example.py photo.jpg ...   Needs torch, numpy and pillow."""

import json
import sys
from pathlib import Path

import torch

sys.dont_write_bytecode = True  # the folder stays as it was checked
from preprocess import Preprocess, network_pixels, stored_pixels

kept = {"sortal.json": ""}
model = torch.export.load(Path(__file__).with_name("model.pt2"), extra_files=kept).module()
about = json.loads(kept["sortal.json"])
preprocess = Preprocess.from_dict(about["preprocess"])

for name in sys.argv[1:]:
    pixels = stored_pixels(Path(name).read_bytes(), preprocess)
    images = network_pixels(pixels[None], preprocess)
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(images.copy()))[0].numpy()
    if about["task"] == "multi-label":
        said = [label for label, p, t in zip(about["classes"], probabilities, about["thresholds"]) if p >= t]
    else:
        said = [about["classes"][int(probabilities.argmax())]]
    print(json.dumps({"source": name, "labels": said, "probabilities": probabilities.tolist()}))
