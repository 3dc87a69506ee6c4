"""Classify image files: python example.py photo.jpg ...   Needs ai-edge-litert, numpy and pillow."""

import json
import sys
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter
import numpy as np

sys.dont_write_bytecode = True  # the folder stays as it was checked
from decision import DecisionRule, Novelty
from preprocess import Preprocess, network_pixels, stored_pixels

here = Path(__file__).parent
about = json.loads((here / "export.json").read_text(encoding="utf-8"))
interpreter = Interpreter(str(here / "model.tflite"))
interpreter.allocate_tensors()
classes, preprocess = about["classes"], Preprocess.from_dict(about["preprocess"])
rule = DecisionRule.parse(about["decision"], classes=len(classes))

for name in sys.argv[1:]:
    images = network_pixels(stored_pixels(Path(name).read_bytes(), preprocess)[None], preprocess)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    answers = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
    probabilities = next(each for each in answers if each.ndim == 2)
    novelty = next((each for each in answers if each.ndim == 1), None)
    if about["task"] == "multi-label":
        said = [label for label, p, least in zip(classes, probabilities[0], about["thresholds"]) if p >= least]
    else:
        shares = Novelty.parse(about["novelty"]).shares(np.reshape(novelty, -1)) if novelty is not None else None
        said = rule.labels(probabilities, classes, shares)
    print(json.dumps({"source": name, "said": said, "probabilities": probabilities[0].tolist()}))
