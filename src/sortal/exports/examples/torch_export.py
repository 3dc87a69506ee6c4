"""Classify image files: python example.py photo.jpg ...   Needs torch, numpy and pillow."""

import json
import sys
from pathlib import Path

import torch
import numpy as np

sys.dont_write_bytecode = True  # the folder stays as it was checked
from decision import DecisionRule, Novelty
from preprocess import Preprocess, network_pixels, stored_pixels

kept = {"sortal.json": ""}
model = torch.export.load(Path(__file__).with_name("model.pt2"), extra_files=kept).module()
about = json.loads(kept["sortal.json"])
classes, preprocess = about["classes"], Preprocess.from_dict(about["preprocess"])
rule = DecisionRule.parse(about["decision"], classes=len(classes))

for name in sys.argv[1:]:
    images = network_pixels(stored_pixels(Path(name).read_bytes(), preprocess)[None], preprocess)
    with torch.inference_mode():
        answer = model(torch.from_numpy(images.copy()))
    probabilities, novelty = [each.numpy() for each in answer] if isinstance(answer, tuple) else (answer.numpy(), None)
    if about["task"] == "multi-label":
        said = [label for label, p, least in zip(classes, probabilities[0], about["thresholds"]) if p >= least]
    else:
        shares = Novelty.parse(about["novelty"]).shares(np.reshape(novelty, -1)) if novelty is not None else None
        said = rule.labels(probabilities, classes, shares)
    print(json.dumps({"source": name, "said": said, "probabilities": probabilities[0].tolist()}))
