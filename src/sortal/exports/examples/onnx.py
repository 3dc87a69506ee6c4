"""Classify image files: python example.py photo.jpg ...   Needs onnxruntime, numpy and pillow."""

import json
import sys
from pathlib import Path

import onnxruntime

sys.dont_write_bytecode = True  # the folder stays as it was checked
from preprocess import Preprocess, network_pixels, stored_pixels

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["sortal"])
preprocess = Preprocess.from_dict(about["preprocess"])

for name in sys.argv[1:]:
    pixels = stored_pixels(Path(name).read_bytes(), preprocess)
    images = network_pixels(pixels[None], preprocess)
    probabilities = session.run(["probabilities"], {"images": images})[0][0]
    if about["task"] == "multi-label":
        said = [label for label, p, t in zip(about["classes"], probabilities, about["thresholds"]) if p >= t]
    else:
        said = [about["classes"][int(probabilities.argmax())]]
    print(json.dumps({"source": name, "labels": said, "probabilities": probabilities.tolist()}))
