"""How fast a network is on this machine and how much memory it takes, each network in a process of its own.

Random weights and random images: what is measured is the arithmetic, at the network's own image size.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sortal.engines.torch import device as devices
from sortal.engines.torch.losses import summed_loss
from sortal.engines.torch.measure import batch_of, best_of
from sortal.engines.torch.models import table
from sortal.engines.torch.network import NetworkInTraining, make_head
from sortal.errors import SortalError
from sortal.preprocess import Preprocess
from sortal.recipe import Head

OUR_SIZE, OUR_CLASSES = 32, 10
"""Pixels and classes for which our own networks are measured and counted."""
CLASSES = 1000
BATCH = 128
"""Images at once, or the pixels of 16 photographs of 224 pixels where they are larger."""


def in_own_process(name: str) -> dict[str, Any]:
    """`measure`, in another process, so that peak memory is the network's own; or an object with `error`."""
    command = [sys.executable, "-m", "sortal.engines.torch.models.speed", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    if done.returncode < 0:
        return {"error": f"ended by signal {-done.returncode}; on a machine without memory to spare that is what ends it"}
    return {"error": (done.stderr.strip().splitlines() or ["ended without a word"])[-1]}


def measure(name: str) -> dict[str, Any]:
    """One network with its classes (1,000, or 10 of ours), at its own image size (32 pixels for ours).

    `training_images_per_second`: forward, backward and a step of AdamW, auxiliary classifiers included, in the faster memory
    layout. `inference_images_per_second`: forward alone. `training_memory`, `inference_memory`: peak so far in bytes, of the
    whole process with its libraries on a processor, of what was allocated on an accelerator; null where the system does not
    say. `batch_size`, `image_size`, `precision`, `device`: what it was measured with.
    """
    size = OUR_SIZE if name in table.OURS else table.config(name).get("input_size", (3, 224, 224))[1]
    classes = OUR_CLASSES if name in table.OURS else CLASSES
    count, device = batch_of(BATCH, size), devices.device()
    precision = "bf16" if device.type == "cuda" else "float32"
    x = torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(0)).to(device)
    labels = (torch.arange(count) % classes).to(device)
    body = table.create(name, channels=3, image_size=size)
    geometry = Preprocess(size, size, 3, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = NetworkInTraining(body, make_head(Head(), body.dimensions, classes), geometry, classes).to(device)

    def autocast() -> Any:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

    def inference(x: torch.Tensor) -> None:
        with torch.inference_mode(), autocast():
            network(x)
        devices.wait(device)

    with devices.failures_explained():
        inferred = _faster(network.eval(), lambda: inference, x)
        inference_memory = _peak_memory(device)

        def trainer() -> Callable[[torch.Tensor], None]:
            optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

            def training(x: torch.Tensor) -> None:
                with autocast():
                    loss = summed_loss(functional.cross_entropy, network(x), labels)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                devices.wait(device)

            return training

        trained = _faster(network.train(), trainer, x)
    return {
        "training_images_per_second": trained,
        "inference_images_per_second": inferred,
        "training_memory": _peak_memory(device),
        "inference_memory": inference_memory,
        "batch_size": count,
        "image_size": size,
        "precision": precision,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads",
    }


def _faster(network: nn.Module, stepper: Callable[[], Callable[[torch.Tensor], None]], x: torch.Tensor) -> float:
    """Images a second, in the plain memory layout or with channels last; a `stepper` is made for each, since an optimiser's
    state has the layout that its parameters had."""
    rates = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network.to(memory_format=layout)
        images, step = x.contiguous(memory_format=layout), stepper()
        rates.append(len(x) / best_of(lambda images=images, step=step: step(images)))  # type: ignore[misc]
    return round(max(rates), 3)


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    if (status := Path("/proc/self/status")).is_file():
        # Not `ru_maxrss` there: a process begins with the peak of the one that started it.
        return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(name: str) -> int:
    """Print the measurements of one network as JSON; what goes wrong is the last line of standard error."""
    try:
        print(json.dumps(measure(name)))
    except SortalError as error:
        print(error.message.splitlines()[0], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
