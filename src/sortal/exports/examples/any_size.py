"""Classify image files, each of its own size: python any_size.py photo.jpg ...   Needs onnxruntime, numpy and pillow."""

import json
import sys
from pathlib import Path

import onnxruntime
import numpy as np

sys.dont_write_bytecode = True  # the folder stays as it was checked
from decision import DecisionRule, Novelty
from preprocess import Preprocess, open_rgb

session = onnxruntime.InferenceSession(Path(__file__).with_name("any_size.onnx"), providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["sortal"])
outputs = [output.name for output in session.get_outputs()]
classes, preprocess = about["classes"], Preprocess.from_dict(about["preprocess"])
rule = DecisionRule.parse(about["decision"], classes=len(classes))

for name in sys.argv[1:]:
    image, *_ = open_rgb(Path(name).read_bytes(), max_pixels=preprocess.max_pixels)
    answer = dict(zip(outputs, session.run(outputs, {"image": np.asarray(image)})))
    probabilities, novelty = answer["probabilities"], answer.get("novelty")
    if about["task"] == "multi-label":
        said = [label for label, p, least in zip(classes, probabilities[0], about["thresholds"]) if p >= least]
    else:
        shares = Novelty.parse(about["novelty"]).shares(np.reshape(novelty, -1)) if novelty is not None else None
        said = rule.labels(probabilities, classes, shares)
    print(json.dumps({"source": name, "said": said, "probabilities": probabilities[0].tolist()}))
