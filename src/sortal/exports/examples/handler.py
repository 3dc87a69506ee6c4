"""A handler for TorchServe: bytes of image files in, labels with probabilities out, by ONNX Runtime."""

import base64
import json
import os

import numpy as np
import onnxruntime
from decision import DecisionRule, Novelty
from preprocess import Preprocess, UnreadableImage, network_pixels, stored_pixels


class Classifier:
    def initialize(self, context):
        """Called once by TorchServe, before the first request."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
        model = os.path.join(context.system_properties["model_dir"], "model.onnx")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.about = json.loads(self.session.get_modelmeta().custom_metadata_map["sortal"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.preprocess = Preprocess.from_dict(self.about["preprocess"])
        self.rule = DecisionRule.parse(self.about["decision"], classes=len(self.about["classes"]))

    def handle(self, data, context):
        """Called with a batch of requests; an answer each. What is no image gets status 400 and the reason."""
        pixels, answers = {}, [None] * len(data)
        for place, request in enumerate(data):
            try:
                pixels[place] = self.pixels(image_of(request))
            except (UnreadableImage, ValueError) as error:
                context.set_response_status(code=400, phrase="Bad Request", idx=place)
                answers[place] = {"error": str(error)}
        if pixels:
            found = self.run(list(pixels.values()))
            for row, place in enumerate(pixels):
                answers[place] = self.answer({name: values[row] for name, values in found.items()})
        return answers

    def pixels(self, image):
        return network_pixels(stored_pixels(bytes(image), self.preprocess)[None], self.preprocess)[0]

    def run(self, pixels):
        return dict(zip(self.outputs, self.session.run(self.outputs, {"images": np.stack(pixels)})))

    def answer(self, found):
        classes, probabilities = self.about["classes"], found["probabilities"]
        order = np.argsort(-probabilities, kind="stable")[:5]
        top = [{"label": classes[k], "probability": float(probabilities[k])} for k in order]
        if self.about["task"] == "multi-label":
            thresholds = self.about["thresholds"]
            return {"labels": [classes[k] for k in np.argsort(-probabilities) if probabilities[k] >= thresholds[k]], "top": top}
        novelty = self.about.get("novelty")
        shares = Novelty.parse(novelty).shares(np.reshape(found["novelty"], -1)) if novelty and "novelty" in found else None
        (label,) = self.rule.labels(probabilities[None], classes, shares)
        said = order[0] if label is None else classes.index(label)
        return {"label": label, "probability": float(probabilities[said]), "top": top}


def image_of(request):
    """The bytes of a request: the body as it is, or a form's `data` or `image`; text is taken for base64.

    TorchServe parses JSON before it comes here. What it made of it is no image: `bytes` would make room for as many zeros as
    a number says, and an image of a list's numbers.
    """
    found = next((request[key] for key in ("body", "data", "image") if request.get(key) is not None), b"")
    if isinstance(found, str):
        return base64.b64decode(found, validate=True)
    if not isinstance(found, (bytes, bytearray)):
        raise ValueError("not an image: send the bytes of an image file, not JSON")
    return found
