"""Classify image files: python example.py photo.jpg ...   Needs torch, safetensors, numpy and pillow."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the folder stays as it was checked
from preprocess import Preprocess, network_pixels, stored_pixels
from loader import load

model = load(Path(__file__).parent)
preprocess = Preprocess.from_dict(model.about["preprocess"])

for name in sys.argv[1:]:
    pixels = stored_pixels(Path(name).read_bytes(), preprocess)
    probabilities = model(network_pixels(pixels[None], preprocess))[0]
    if model.about["task"] == "multi-label":
        said = [label for label, p, t in zip(model.about["classes"], probabilities, model.about["thresholds"]) if p >= t]
    else:
        said = [model.about["classes"][int(probabilities.argmax())]]
    print(json.dumps({"source": name, "labels": said, "probabilities": probabilities.tolist()}))
