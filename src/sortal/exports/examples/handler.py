"""A handler for TorchServe: bytes of image files in, labels with probabilities out, by ONNX Runtime."""

import base64
import json
import os

import numpy as np
import onnxruntime
from preprocess import Preprocess, UnreadableImage, network_pixels, stored_pixels


class Classifier:
    def initialize(self, context):
        """Called once by TorchServe, before the first request."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
        model = os.path.join(context.system_properties["model_dir"], "model.onnx")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.about = json.loads(self.session.get_modelmeta().custom_metadata_map["sortal"])
        self.preprocess = Preprocess.from_dict(self.about["preprocess"])

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
            for place, probabilities in zip(pixels, self.run(list(pixels.values()))):
                answers[place] = self.answer(probabilities)
        return answers

    def probabilities(self, images):
        """Of the bytes of image files, float32 of shape (N, K)."""
        return self.run([self.pixels(image) for image in images])

    def pixels(self, image):
        return network_pixels(stored_pixels(bytes(image), self.preprocess)[None], self.preprocess)[0]

    def run(self, pixels):
        return self.session.run(["probabilities"], {"images": np.stack(pixels)})[0]

    def answer(self, probabilities):
        classes = self.about["classes"]
        order = np.argsort(-probabilities, kind="stable")[:5]
        top = [{"label": classes[k], "probability": float(probabilities[k])} for k in order]
        if self.about["task"] == "multi-label":
            thresholds = self.about["thresholds"]
            return {"labels": [classes[k] for k in np.argsort(-probabilities) if probabilities[k] >= thresholds[k]], "top": top}
        return {**top[0], "top": top}


def image_of(request):
    """The bytes of a request: the body as it is, or a form's `data` or `image`; text is taken for base64."""
    found = next((request[key] for key in ("body", "data", "image") if request.get(key) is not None), b"")
    return base64.b64decode(found, validate=True) if isinstance(found, str) else found
