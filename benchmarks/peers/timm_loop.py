"""The heart of timm's training script, `train_one_epoch`: forward, loss, backward, step, in float32 and on one device.

The network comes from `timm.create_model`, the optimiser from `timm.optim.create_optimizer_v2` with AdamW, as its documentation
trains; batches of 32 are ready made.
"""

import argparse
import json
import time

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from benchmarks.peers import lite0
from benchmarks.profiling import shares

BATCH, SKIPPED, CLASSES = 32, 2, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    model = lite0.network(CLASSES)
    model.train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-4, weight_decay=0.05)
    criterion = nn.CrossEntropyLoss()
    images, labels = torch.rand(BATCH, 3, 224, 224), torch.arange(BATCH) % CLASSES

    def step() -> float:
        output = model(images)
        loss = criterion(output, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    for _ in range(SKIPPED):
        step()
    began = time.perf_counter()
    for _ in range(steps):
        last = step()
    seconds = time.perf_counter() - began
    print(json.dumps({"images_per_second": BATCH * steps / seconds, "loss": last, "profile": shares(step)}))


if __name__ == "__main__":
    main()
