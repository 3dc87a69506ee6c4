"""Load the model: load(folder) gives a function from bytes of images (N, S, S, C) to probabilities (N, K), as NumPy arrays."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open


def load(folder):
    folder = Path(folder)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}
        about = json.loads(file.metadata()["sortal"])
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)

    @torch.inference_mode()
    def model(images):
        return network.probabilities(weights, torch.from_numpy(np.array(images))).numpy()

    model.about = about
    return model
