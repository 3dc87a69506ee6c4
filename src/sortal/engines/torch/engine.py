"""The torch engine: recipes to sessions, trained weights to graphs."""

import os
from copy import deepcopy
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.data.samples import Samples
from sortal.engines.protocol import Arrays, Input, Parameters, Trained
from sortal.engines.torch import deploying, measure
from sortal.engines.torch import device as devices
from sortal.engines.torch.answering import Answering
from sortal.engines.torch.attribution import TorchAttributor, TorchEmbedder, methods
from sortal.engines.torch.cut import find_cut
from sortal.engines.torch.export import to_onnx
from sortal.engines.torch.frozen import TorchFrozen, to_bytes
from sortal.engines.torch.inputs import FeatureInputs, PixelInputs
from sortal.engines.torch.models import table
from sortal.engines.torch.models.body import Body
from sortal.engines.torch.models.weights import file_of, licence_of, load_weights, sha256_of
from sortal.engines.torch.network import Deployed, FromBytes, Network, NetworkInTraining, make_head
from sortal.engines.torch.runtime import fastest_runtime
from sortal.engines.torch.session import TorchSession
from sortal.engines.torch.solved import SolvedHead
from sortal.engines.torch.start import prepared
from sortal.engines.torch.thaw import Thawing
from sortal.errors import NotSupported
from sortal.evaluation.calibrators import of_bundle
from sortal.plan import Machine
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe

HEAD_SEED, BODY_SEED = 0x5EAD, 0xB0D1  # apart, so that a head's start does not depend on the body it is put on

LARGEST = 2**31 - 2**26
"""Bytes of weights that fit into one ONNX graph: Protocol Buffers end at 2 GiB, and the graph itself needs some of that."""


@lru_cache(maxsize=2)  # a run asks when it begins and when it ends
def _shapes(name: str, channels: int, image_size: int, stem: str) -> Body:
    """A body without numbers: nothing is computed and no weights are read."""
    with torch.device("meta"):
        return table.create(name, channels=channels, image_size=image_size, stem=stem)


class TorchEngine:
    """PyTorch on the accelerator if there is one, else on the processor."""

    def machine(self) -> Machine:
        return devices.machine()

    def expects(self, recipe: Recipe) -> Input:
        return table.expects(
            recipe.model, pretrained=self._pretrained(recipe), image_size=recipe.image_size, channels=recipe.channels
        )

    def pinned(self, recipe: Recipe) -> Recipe:
        file = file_of(recipe.model, recipe.weights) if self._pretrained(recipe) else None
        if file is None or recipe.weights_sha256:
            return recipe  # one that was asked for is compared when the weights are loaded
        return Recipe.model_validate(recipe.model_dump() | {"weights_sha256": sha256_of(file)})

    def measured(self, recipe: Recipe, preprocess: Preprocess, classes: int, *, images: int) -> tuple[Recipe, dict[str, str]]:
        reasons: dict[str, str] = {}
        values = recipe.model_dump()
        if not recipe.threads:
            values["threads"] = os.cpu_count() or 1
        torch.set_num_threads(values["threads"])
        devices.make_repeatable(recipe.deterministic)  # what is measured is what will run
        if recipe.frozen != "stored":
            values["runtime"] = "torch"
        elif recipe.runtime == "auto":
            values["runtime"], reasons["runtime"] = self._fastest_runtime(recipe, preprocess)
        if recipe.strategy == "features":
            # Of the head, which is too small to matter.
            values |= {"precision": "float32", "layout": "nchw", "compiled": "off"}
        else:
            if recipe.model not in table.OURS:
                self._require_exportable(recipe, preprocess, classes)
            make = partial(self._in_training, recipe, preprocess, classes, stored=recipe.frozen == "stored")
            if "auto" in (recipe.precision, recipe.layout):
                precision, layout, reason = measure.training_choice(recipe, make, size=preprocess.size, classes=classes)
                values |= {"precision": precision, "layout": layout}
                reasons |= {"precision": reason, "layout": reason}
            if recipe.compiled == "auto" and not devices.accelerator():
                values["compiled"] = "off"
            elif recipe.compiled == "auto":
                values["compiled"], reasons["compiled"] = measure.compiling_choice(
                    Recipe.model_validate(values), make, size=preprocess.size, classes=classes, shown=images * recipe.epochs
                )
        return Recipe.model_validate(values), reasons

    def _require_exportable(self, recipe: Recipe, preprocess: Preprocess, classes: int) -> None:
        """Raise `NotSupported` before a training that could not end in a bundle; a few seconds, once for each network."""
        _graph_of(self._network(recipe, preprocess, classes), preprocess)

    def _fastest_runtime(self, recipe: Recipe, preprocess: Preprocess) -> tuple[str, str]:
        network = self._cut(recipe, preprocess, self._network(recipe, preprocess, classes=2))
        return fastest_runtime(TorchFrozen(recipe, preprocess, network))

    def frozen(self, recipe: Recipe, preprocess: Preprocess) -> TorchFrozen:
        torch.set_num_threads(recipe.threads or os.cpu_count() or 1)  # 0 before it is measured
        devices.make_repeatable(recipe.deterministic)
        return TorchFrozen(recipe, preprocess, self._cut(recipe, preprocess, self._network(recipe, preprocess, classes=2)))

    def parameters(self, recipe: Recipe, preprocess: Preprocess, classes: int) -> Parameters:
        body = prepared(deepcopy(_shapes(recipe.model, preprocess.channels, preprocess.size, recipe.stem)), recipe.start)
        with torch.device("meta"):
            network = Network(body, make_head(recipe.head, body.dimensions, classes), preprocess)
        phases = Thawing(recipe, network).phases
        sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
        later = [f"from {phase.when}: {phase.told}" for phase in phases[1:]]
        return Parameters(
            total=sum(sizes.values()),
            trainable=sum(sizes[name] for name in phases[-1].learning),
            told="; ".join([phases[0].told, *later]),
        )

    def open(self, recipe: Recipe, preprocess: Preprocess, samples: Samples) -> TorchSession | SolvedHead:
        # A head's matrices are so small that threads spend their time waiting for each other.
        head_alone = recipe.strategy == "features" and samples.features is not None
        torch.set_num_threads(1 if head_alone else recipe.threads)
        devices.make_repeatable(recipe.deterministic)
        device = devices.device()
        devices.keep_memory(device)
        classes = len(samples.classes)
        stored = None if samples.features is None else FeatureInputs(samples, samples.features, recipe, device)
        if stored is not None and head_alone:
            torch.manual_seed(HEAD_SEED ^ recipe.seed)
            head = make_head(recipe.head, stored.features.shape[0], classes)
            if recipe.optimizer.name == "lbfgs":
                return SolvedHead(recipe, samples, stored.features, head, device)
            return TorchSession(recipe, samples, head, stored, dict.fromkeys(head.state_dict(), 0), device)
        network = self._in_training(recipe, preprocess, classes, stored=stored is not None)
        if recipe.grow.start < 1:
            _require_small_sides(recipe, network, preprocess)
        inputs = stored or PixelInputs(samples, recipe, preprocess, device)
        return TorchSession(recipe, samples, network, inputs, network.depths(), device)

    def assemble(self, recipe: Recipe, preprocess: Preprocess, classes: int, weights: Arrays) -> "TorchAssembled":
        torch.set_num_threads(recipe.threads)
        network = self._network(recipe, preprocess, classes)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        if recipe.strategy == "features":
            network.head.load_state_dict(tensors)
        else:
            assert tensors.keys() == Thawing(recipe, network).changing, "weights of another part of the network"
            network.load_state_dict(tensors, strict=False)  # what stayed frozen is there already
        return TorchAssembled(network, preprocess)

    def training_views(
        self, recipe: Recipe, preprocess: Preprocess, samples: Samples, rows_N: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        inputs = PixelInputs(samples, recipe, preprocess, torch.device("cpu"))
        images, _ = inputs.training(rows_N, epoch=0, step=0)
        return to_bytes(images)

    def training_targets(
        self, recipe: Recipe, preprocess: Preprocess, samples: Samples, rows_N: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        inputs = PixelInputs(samples, recipe, preprocess, torch.device("cpu"))
        _, targets = inputs.training(rows_N, epoch=0, step=0)
        if targets.ndim == 1:
            targets = torch.nn.functional.one_hot(targets, len(samples.classes))
        shares_NK: NDArray[np.float32] = targets.to(torch.float32).numpy()
        return shares_NK

    def attributions(self, bundle: Bundle) -> tuple[str, ...]:
        return methods(self._shipped(bundle), bundle.preprocess.size)

    def attribute(self, trained: Trained, method: str) -> TorchAttributor:
        return TorchAttributor(self._trained(trained), trained.preprocess.size, method)

    def embed(self, trained: Trained) -> TorchEmbedder:
        return TorchEmbedder(self._trained(trained))

    def _trained(self, trained: Trained) -> Network:
        if isinstance(trained, Bundle):
            return self._shipped(trained)
        assert isinstance(trained, TorchAssembled), "assembled by another engine"
        return trained.network

    def _shipped(self, bundle: Bundle) -> Network:
        """A bundle's network with its own weights; those that it once started from are not needed."""
        from safetensors.torch import load_file

        recipe = recipes.parse(bundle.about["recipe"], place=f"the recipe in {bundle.path}")
        torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
        started = recipe.model_copy(update={"weights": "none", "weights_sha256": ""})
        network = self._network(started, bundle.preprocess, len(bundle.classes))
        network.load_state_dict(load_file(bundle.weights))
        return network.eval()

    def export(self, bundle: Bundle, target: Path, kind: str, about: str) -> None:
        preprocess = bundle.preprocess
        deployed = Answering(self._deployed(bundle), bundle.graph).eval()
        shape = (preprocess.size, preprocess.size, preprocess.channels)
        match kind:
            case "torchscript":
                deploying.write_torchscript(deployed, shape, target, about)
            case "torch-export":
                deploying.write_program(deployed, shape, target, about)
            case "code":
                deploying.write_code(deployed, shape, target, about)
            case "litert":
                deploying.write_litert(deployed, shape, target)
            case _:
                raise NotSupported(f"PyTorch writes no {kind}")

    def exported(self, target: Path, kind: str) -> deploying.Run:
        openers = {
            "torchscript": deploying.open_torchscript,
            "torch-export": deploying.open_program,
            "litert": deploying.open_litert,
        }
        return openers[kind](target)

    def licence(self, recipe: Recipe) -> str:
        return licence_of(recipe.model, recipe.weights) if self._pretrained(recipe) else ""

    def _deployed(self, bundle: Bundle) -> Deployed:
        return Deployed(self._shipped(bundle), of_bundle(bundle)).eval()

    def _pretrained(self, recipe: Recipe) -> bool:
        return recipe.strategy != "scratch" and recipe.weights != "none"

    def _network(self, recipe: Recipe, preprocess: Preprocess, classes: int, *, training: bool = False) -> Network:
        """The recipe's network with its starting weights; the same for the same recipe, in any process.

        For training, a body with taps gets its auxiliary classifiers, if the strategy trains what is before them.
        """
        torch.manual_seed(BODY_SEED ^ recipe.seed)
        body = table.create(recipe.model, channels=preprocess.channels, image_size=preprocess.size, stem=recipe.stem)
        if self._pretrained(recipe):
            load_weights(body, recipe.model, recipe.weights, sha256=recipe.weights_sha256)
        body = prepared(body, recipe.start)
        _require_small_enough(recipe.model, body)
        torch.manual_seed(HEAD_SEED ^ recipe.seed)
        head = make_head(recipe.head, body.dimensions, classes)
        if training and body.taps and not recipe.keeps_frozen:  # else there may be nothing for them to pull on
            return NetworkInTraining(body, head, preprocess, classes)
        network = Network(body, head, preprocess)
        network.test_views = recipe.test_views
        return network

    def _in_training(self, recipe: Recipe, preprocess: Preprocess, classes: int, *, stored: bool) -> Network:
        """The network as it is trained; cut where its inputs are stored outputs of its frozen part."""
        network = self._network(recipe, preprocess, classes, training=True)
        if stored:
            network = self._cut(recipe, preprocess, network)
        Thawing(recipe, network)
        return network

    def _cut(self, recipe: Recipe, preprocess: Preprocess, network: Network) -> Network:
        """The network, cut before the first layer that ever learns, if that is one of the body's."""
        if recipe.strategy == "features":
            return network
        learning = [
            name.removeprefix("body.") for name in Thawing(recipe, network).phases[-1].learning if name.startswith("body.")
        ]
        shape = (1, preprocess.channels, preprocess.size, preprocess.size)
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        try:
            network.cut = find_cut(network.body, sorted(learning), (images - network.mean) / network.std)
        except NotSupported as error:
            raise NotSupported(f"{recipe.model} cannot be cut there: {error}", hint="set frozen = 'pixels'") from error
        return network


def _require_small_enough(name: str, body: Body) -> None:
    """Raise `NotSupported` before a training whose result could not be written."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in body.state_dict().values())
    if size > LARGEST:
        raise NotSupported(
            f"{name} has {size / 1e9:.1f} GB of weights, and a bundle's graph holds at most {LARGEST / 1e9:.1f} GB",
            hint="take a smaller model; `sortal models PATTERN` shows how many parameters each has",
        )


def _require_small_sides(recipe: Recipe, network: Network, preprocess: Preprocess) -> None:
    """Raise `NotSupported` where the network does not take the smaller images that a growing training begins with."""
    side = recipe.grow.first(preprocess.size)
    small = torch.zeros((2, preprocess.channels, side, side))
    try:
        with torch.no_grad():
            network.eval()(small)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise NotSupported(
            f"{recipe.model} for images of {preprocess.size} pixels does not take smaller ones of {side}",
            hint="set grow.start to 1 or to a larger share, or take a network that ends in global pooling",
        ) from error


def _graph_of(network: Network, preprocess: Preprocess) -> bytes:
    names = ["logits", "features"]
    return to_onnx(FromBytes(network), size=preprocess.size, channels=preprocess.channels, outputs=names)


class TorchAssembled:
    """A trained network on the processor, in float32, whatever it was trained in."""

    def __init__(self, network: Network, preprocess: Preprocess) -> None:
        self.network = network.float().eval()
        self.preprocess = preprocess

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.contiguous().numpy().copy() for name, tensor in self.network.state_dict().items()}

    def logits(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits, _ = FromBytes(self.network).eval()(torch.from_numpy(np.ascontiguousarray(images_NSSC)))
        result: NDArray[np.float32] = logits.numpy()
        return result

    @cached_property
    def graph(self) -> bytes:
        return _graph_of(self.network, self.preprocess)


ENGINE = TorchEngine()
