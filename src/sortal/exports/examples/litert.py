"""Classify image files: python example.py photo.jpg ...   Needs ai-edge-litert, numpy and pillow."""

import json
import sys
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

sys.dont_write_bytecode = True  # the folder stays as it was checked
from preprocess import Preprocess, network_pixels, stored_pixels

here = Path(__file__).parent
about = json.loads((here / "export.json").read_text(encoding="utf-8"))
interpreter = Interpreter(str(here / "model.tflite"))
interpreter.allocate_tensors()
preprocess = Preprocess.from_dict(about["preprocess"])

for name in sys.argv[1:]:
    pixels = stored_pixels(Path(name).read_bytes(), preprocess)
    images = network_pixels(pixels[None], preprocess)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    probabilities = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    if about["task"] == "multi-label":
        said = [label for label, p, t in zip(about["classes"], probabilities, about["thresholds"]) if p >= t]
    else:
        said = [about["classes"][int(probabilities.argmax())]]
    print(json.dumps({"source": name, "labels": said, "probabilities": probabilities.tolist()}))
