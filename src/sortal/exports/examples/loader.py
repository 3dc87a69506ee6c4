"""Load the model: load(folder) gives a function from bytes of images (N, S, S, C) to probabilities (N, K) and maybe novelty."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors import safe_open


def load(folder):
    folder = Path(folder)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}
        about = json.loads(file.metadata()["sortal"])
    network = ModuleType("network")
    exec(compile((folder / "network.py").read_bytes(), "network.py", "exec"), network.__dict__)

    @torch.inference_mode()
    def model(images):
        return [answer.numpy() for answer in network.answers(weights, torch.from_numpy(np.array(images)))]

    model.about = about
    return model
