"""The peer: the same graph behind plain FastAPI and ONNX Runtime, as a tutorial writes it; every request in a thread."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

FOLDER = Path(sys.argv[1])
ABOUT = json.loads((FOLDER / "bundle.json").read_text())
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), options)
name = session.get_inputs()[0].name
app = FastAPI()


def pixels(data, preprocess):
    """Shorter side to `resize`, centre crop of `size`: what every tutorial does."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = preprocess["resize"] / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    side = preprocess["size"]
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


@app.post("/predict")
def predict(image: UploadFile):
    row = session.run(None, {name: pixels(image.file.read(), ABOUT["preprocess"])[None]})[0][0]
    best = int(row.argmax())
    return {"label": ABOUT["classes"][best], "probability": float(row[best])}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
