"""The peer: the same graph behind LitServe, with its batching; preprocessing as its examples write it, with Pillow."""

import io
import json
import sys
from pathlib import Path

import litserve
import numpy as np
import onnxruntime
from PIL import Image


class Classifier(litserve.LitAPI):
    def setup(self, device):
        about = json.loads((Path(sys.argv[1]) / "bundle.json").read_text())
        self.classes, self.preprocess = about["classes"], about["preprocess"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(Path(sys.argv[1]) / "model.onnx"), options)
        self.name = self.session.get_inputs()[0].name

    def decode_request(self, request):
        return pixels(request["image"].file.read(), self.preprocess)

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, images):
        # Without batches there is one image, and no `batch` is called.
        images = images if images.ndim == 4 else images[None]
        return self.session.run(None, {self.name: images})[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        row = np.asarray(output).ravel()
        best = int(row.argmax())
        return {"label": self.classes[best], "probability": float(row[best])}


def pixels(data, preprocess):
    """Shorter side to `resize`, centre crop of `size`: what every tutorial does."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = preprocess["resize"] / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    side = preprocess["size"]
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


if __name__ == "__main__":
    size = int(sys.argv[3])
    batched = {"max_batch_size": size, "batch_timeout": float(sys.argv[4])} if size > 1 else {}
    server = litserve.LitServer(Classifier(**batched), accelerator="cpu", workers_per_device=1, timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, num_api_servers=1, log_level="warning")
