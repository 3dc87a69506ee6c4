"""Classify image files: python example.py photo.jpg ...   Needs openvino, numpy and pillow."""

import json
import sys
from pathlib import Path

import openvino
import numpy as np

sys.dont_write_bytecode = True  # the folder stays as it was checked
from decision import DecisionRule, Novelty
from preprocess import Preprocess, network_pixels, stored_pixels

here = Path(__file__).parent
core = openvino.Core()
network = core.read_model(here / "model.xml")
about = json.loads(network.get_rt_info(["sortal"]).value)
model = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": about["computed_in"]})
outputs = [output.any_name for output in model.outputs]
classes, preprocess = about["classes"], Preprocess.from_dict(about["preprocess"])
rule = DecisionRule.parse(about["decision"], classes=len(classes))

for name in sys.argv[1:]:
    images = network_pixels(stored_pixels(Path(name).read_bytes(), preprocess)[None], preprocess)
    answer = model(images)
    probabilities = answer["probabilities"]
    novelty = answer["novelty"] if "novelty" in outputs else None
    if about["task"] == "multi-label":
        said = [label for label, p, least in zip(classes, probabilities[0], about["thresholds"]) if p >= least]
    else:
        shares = Novelty.parse(about["novelty"]).shares(np.reshape(novelty, -1)) if novelty is not None else None
        said = rule.labels(probabilities, classes, shares)
    print(json.dumps({"source": name, "said": said, "probabilities": probabilities[0].tolist()}))
