"""Classify image files: python example.py photo.jpg ...   Needs openvino, numpy and pillow."""

import json
import sys
from pathlib import Path

import openvino

sys.dont_write_bytecode = True  # the folder stays as it was checked
from preprocess import Preprocess, network_pixels, stored_pixels

here = Path(__file__).parent
core = openvino.Core()
network = core.read_model(here / "model.xml")
about = json.loads(network.get_rt_info(["sortal"]).value)
model = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": about["computed_in"]})
preprocess = Preprocess.from_dict(about["preprocess"])

for name in sys.argv[1:]:
    pixels = stored_pixels(Path(name).read_bytes(), preprocess)
    images = network_pixels(pixels[None], preprocess)
    probabilities = model(images)[0][0]
    if about["task"] == "multi-label":
        said = [label for label, p, t in zip(about["classes"], probabilities, about["thresholds"]) if p >= t]
    else:
        said = [about["classes"][int(probabilities.argmax())]]
    print(json.dumps({"source": name, "labels": said, "probabilities": probabilities.tolist()}))
