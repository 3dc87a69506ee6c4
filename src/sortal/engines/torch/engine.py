"""The torch engine: recipes to sessions, trained weights to graphs."""

import os
import platform
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sortal.data.samples import Samples
from sortal.engines.protocol import Arrays, Input
from sortal.engines.torch import device as devices
from sortal.engines.torch import measure
from sortal.engines.torch.export import to_onnx, with_initializer
from sortal.engines.torch.frozen import TorchFrozen, to_bytes
from sortal.engines.torch.inputs import FeatureInputs, PixelInputs
from sortal.engines.torch.models import table
from sortal.engines.torch.models.weights import file_of, load_weights, sha256_of
from sortal.engines.torch.network import Deployed, Network, make_head
from sortal.engines.torch.session import TorchSession
from sortal.engines.torch.tasks import TASKS, TorchTask
from sortal.plan import Machine
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe

HEAD_SEED, BODY_SEED = 0x5EAD, 0xB0D1  # apart, so that a head's start does not depend on the body it is put on


class TorchEngine:
    """PyTorch on the accelerator if there is one, else on the processor."""

    def machine(self) -> Machine:
        accelerator = devices.accelerator()
        name = torch.cuda.get_device_name() if accelerator else platform.processor() or platform.machine()
        return Machine(cores=os.cpu_count() or 1, accelerator=accelerator, name=name)

    def expects(self, recipe: Recipe) -> Input:
        return table.expects(recipe.model, pretrained=self._pretrained(recipe), image_size=recipe.image_size)

    def pinned(self, recipe: Recipe) -> Recipe:
        file = file_of(recipe.model, recipe.weights) if self._pretrained(recipe) else None
        if file is None or recipe.weights_sha256:
            return recipe  # one that was asked for is compared when the weights are loaded
        return Recipe.model_validate(recipe.model_dump() | {"weights_sha256": sha256_of(file)})

    def measured(self, recipe: Recipe, preprocess: Preprocess, classes: int) -> tuple[Recipe, dict[str, str]]:
        reasons: dict[str, str] = {}
        values = recipe.model_dump()
        if not recipe.threads:
            values["threads"] = os.cpu_count() or 1
        torch.set_num_threads(values["threads"])
        if recipe.strategy == "features":
            values |= {"precision": "float32", "layout": "nchw"}  # of the head, which is too small to matter
            if recipe.runtime == "auto":
                values["runtime"], reasons["runtime"] = self._fastest_runtime(recipe, preprocess)
        else:
            values["runtime"] = "torch"
            if "auto" in (recipe.precision, recipe.layout):
                make = partial(self._network, recipe, preprocess, classes)
                precision, layout, reason = measure.training_choice(
                    recipe, make, size=preprocess.size, channels=preprocess.channels, classes=classes
                )
                values |= {"precision": precision, "layout": layout}
                reasons |= {"precision": reason, "layout": reason}
        return Recipe.model_validate(values), reasons

    def _fastest_runtime(self, recipe: Recipe, preprocess: Preprocess) -> tuple[str, str]:
        network = self._network(recipe, preprocess, classes=2)
        plain = Recipe.model_validate(recipe.model_dump() | {"runtime": "onnx"})
        frozen = TorchFrozen(plain, preprocess, network)
        images = np.zeros((16, preprocess.size, preprocess.size, preprocess.channels), np.uint8)
        return measure.inference_choice({"onnx": frozen.run, "torch": frozen.in_torch()}, images)

    def frozen(self, recipe: Recipe, preprocess: Preprocess) -> TorchFrozen:
        torch.set_num_threads(recipe.threads)
        return TorchFrozen(recipe, preprocess, self._network(recipe, preprocess, classes=2))

    def open(self, recipe: Recipe, preprocess: Preprocess, samples: Samples) -> TorchSession:
        # A head's matrices are so small that threads spend their time waiting for each other.
        torch.set_num_threads(1 if samples.features is not None else recipe.threads)
        devices.make_repeatable(recipe.deterministic)
        device = devices.device()
        classes = len(samples.classes)
        if samples.features is not None:
            torch.manual_seed(HEAD_SEED ^ recipe.seed)
            head = make_head(recipe.head, samples.features.plain_ND.shape[1], classes)
            stored = FeatureInputs(samples, samples.features, recipe, device)
            return TorchSession(recipe, samples, head, stored, dict.fromkeys(head.state_dict(), 0), device)
        network = self._network(recipe, preprocess, classes)
        inputs = PixelInputs(samples, recipe, preprocess, device)
        return TorchSession(recipe, samples, network, inputs, network.depths(), device)

    def assemble(self, recipe: Recipe, preprocess: Preprocess, classes: int, weights: Arrays) -> "TorchAssembled":
        torch.set_num_threads(recipe.threads)
        network = self._network(recipe, preprocess, classes)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        (network.head if recipe.strategy == "features" else network).load_state_dict(tensors)
        return TorchAssembled(network, preprocess, TASKS[recipe.task])

    def training_views(
        self, recipe: Recipe, preprocess: Preprocess, samples: Samples, rows_N: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        inputs = PixelInputs(samples, recipe, preprocess, torch.device("cpu"))
        images, _ = inputs.training(rows_N, epoch=0, step=0)
        return to_bytes(images)

    def _pretrained(self, recipe: Recipe) -> bool:
        return recipe.strategy != "scratch" and recipe.weights != "none"

    def _network(self, recipe: Recipe, preprocess: Preprocess, classes: int) -> Network:
        """The recipe's network with its starting weights; the same for the same recipe, in any process."""
        torch.manual_seed(BODY_SEED ^ recipe.seed)
        body = table.create(recipe.model, channels=preprocess.channels, image_size=preprocess.size, stem=recipe.stem)
        if self._pretrained(recipe):
            load_weights(body, recipe.model, recipe.weights, sha256=recipe.weights_sha256)
        torch.manual_seed(HEAD_SEED ^ recipe.seed)
        return Network(body, make_head(recipe.head, body.dimensions, classes), preprocess)


class TorchAssembled:
    """A trained network on the processor, in float32, whatever it was trained in."""

    def __init__(self, network: Network, preprocess: Preprocess, task: TorchTask) -> None:
        self.network = network.float().eval()
        self.preprocess = preprocess
        self.deployed = Deployed(self.network, task.probabilities).eval()

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.contiguous().numpy().copy() for name, tensor in self.network.state_dict().items()}

    def probabilities(self, images_NSSC: NDArray[np.uint8], *, temperature: float) -> NDArray[np.float32]:
        self.deployed.temperature.fill_(temperature)
        with torch.inference_mode():
            result: NDArray[np.float32] = self.deployed(torch.from_numpy(np.ascontiguousarray(images_NSSC))).numpy()
        return result

    def onnx(self, *, temperature: float, metadata: Mapping[str, str]) -> bytes:
        return with_initializer(self._graph, "temperature", temperature, metadata)

    @cached_property
    def _graph(self) -> bytes:
        """The graph with temperature 1; exporting takes a second, changing one number in it does not."""
        self.deployed.temperature.fill_(1.0)
        return to_onnx(self.deployed, size=self.preprocess.size, channels=self.preprocess.channels, output="probabilities")


ENGINE = TorchEngine()
