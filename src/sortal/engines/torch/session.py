"""One model being trained with torch: batches by position, one optimiser step, averages, and a state that is plain arrays."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sortal.augment import draws
from sortal.data.samples import Samples
from sortal.engines.protocol import Batch
from sortal.engines.torch.device import failures_explained
from sortal.engines.torch.inputs import Inputs
from sortal.engines.torch.optim import make_optimizer, restore_arrays, set_rate, state_arrays
from sortal.engines.torch.tasks import TASKS
from sortal.recipe import Recipe

ROWS_AT_ONCE = 256  # in evaluation; bounds the memory of activations


class TorchSession:
    """Trains `model` on `inputs`. The model is a whole network, or only a head where the inputs are features."""

    def __init__(
        self,
        recipe: Recipe,
        samples: Samples,
        model: nn.Module,
        inputs: Inputs,
        depths: Mapping[str, int],
        device: torch.device,
    ) -> None:
        self.recipe = recipe
        self.samples = samples
        self.inputs = inputs
        self.device = device
        self.model = model.to(device)
        if recipe.layout == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(recipe, self.model, depths)
        self.averaged = _tensors(self.model, copy=True) if recipe.average.name == "ema" else None
        self.rows_N = samples.splits["train"]
        self.loss = TASKS[recipe.task].make_loss(recipe.loss, samples.labels_N[self.rows_N], len(samples.classes), device)

    @property
    def steps(self) -> int:
        return len(self._bounds())

    def _bounds(self) -> list[tuple[int, int]]:
        """Where batches begin and end in an epoch's order; a single image left over joins the batch before it (batch norm)."""
        total, size = len(self.rows_N), self.recipe.batch_size
        starts = list(range(0, total, size))
        if len(starts) > 1 and total - starts[-1] == 1:
            starts.pop()
        return list(zip(starts, [*starts[1:], total], strict=True))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order_N = self.rows_N[draws.permutation(self.recipe.seed, epoch, len(self.rows_N), "order")]
        bounds = self._bounds()
        for number in range(start, len(bounds)):
            low, high = bounds[number]
            yield Batch(order_N[low:high], epoch, epoch * len(bounds) + number)

    def train_step(self, batch: Batch, rate: float, progress: float) -> Tensor:
        with failures_explained():
            return self._train_step(batch, rate, progress)

    def _train_step(self, batch: Batch, rate: float, progress: float) -> Tensor:
        recipe = self.recipe
        # Dropout draws from torch's own generator: seeded from the position, it does not depend on what ran before.
        self._reseed(draws.step_seed(recipe.seed, batch.step))
        inputs, targets = self.inputs.training(batch.rows_B, batch.epoch, batch.step)
        self.model.train()
        head_only = recipe.strategy == "staged" and progress < recipe.schedule.head_only
        with self.autocast():
            logits = self._head_only(inputs) if head_only else self.model(inputs)
            loss = self.loss(logits.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.optimizer.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optimizer.clip)
        set_rate(self.optimizer, recipe.learning_rate * rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self._average(batch.step)
        return loss.detach()

    def _reseed(self, seed: int) -> None:
        # `torch.manual_seed` also queues a call, with a stack trace, for every accelerator that is not in use: a third of the
        # time of a head's training went there, and memory that was never given back.
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        torch.default_generator.manual_seed(seed)

    def _head_only(self, inputs: Tensor) -> Tensor:
        """Logits with the body frozen: no gradients, and its batch norm as in evaluation."""
        self.model.body.eval()  # type: ignore[union-attr]
        with torch.no_grad():
            features = self.model.features(inputs)  # type: ignore[operator]
        logits: Tensor = self.model.head(features)  # type: ignore[operator]
        return logits

    def _average(self, step: int) -> None:
        assert self.averaged is not None
        # The average follows closely at first, when the weights are still far from anything worth keeping.
        decay = min(self.recipe.average.decay, (1 + step) / (10 + step))
        for name, tensor in _tensors(self.model).items():
            if tensor.is_floating_point():
                self.averaged[name].lerp_(tensor, 1 - decay)
            else:
                self.averaged[name].copy_(tensor)

    def predict(self, split: str) -> NDArray[np.float32]:
        rows_N = self.samples.splits[split]
        model = self._shipped()
        model.eval()
        with failures_explained(), torch.inference_mode(), self.autocast():
            parts = [
                model(self.inputs.plain(rows_N[start : start + ROWS_AT_ONCE])).float().cpu().numpy()
                for start in range(0, len(rows_N), ROWS_AT_ONCE)
            ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.samples.classes)), dtype=np.float32)

    def _shipped(self) -> nn.Module:
        if self.averaged is None:
            return self.model
        return _Swapped(self.model, self.averaged)

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def state(self) -> dict[str, NDArray[Any]]:
        arrays = {f"model/{name}": array for name, array in _arrays(_tensors(self.model)).items()}
        arrays |= {f"optimizer/{name}": array for name, array in state_arrays(self.optimizer, self.model).items()}
        if self.averaged is not None:
            arrays |= {f"average/{name}": array for name, array in _arrays(self.averaged).items()}
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        parts: dict[str, dict[str, NDArray[Any]]] = {"model": {}, "optimizer": {}, "average": {}}
        for key, array in state.items():
            part, _, name = key.partition("/")
            parts[part][name] = array
        _fill(_tensors(self.model), parts["model"])
        restore_arrays(self.optimizer, self.model, parts["optimizer"])
        if self.averaged is not None:
            _fill(self.averaged, parts["average"])

    def weights(self) -> dict[str, NDArray[Any]]:
        return _arrays(self.averaged if self.averaged is not None else _tensors(self.model))


class _Swapped(nn.Module):
    """A model that computes with other weights than its own."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        self.tensors = dict(tensors)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(self.model, self.tensors, (x,))
        return result


def _tensors(model: nn.Module, *, copy: bool = False) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() if copy else tensor.detach() for name, tensor in model.state_dict().items()}


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: tensor.cpu().contiguous().numpy().copy() for name, tensor in tensors.items()}


def _fill(tensors: Mapping[str, Tensor], arrays: Mapping[str, NDArray[Any]]) -> None:
    assert tensors.keys() == arrays.keys(), tensors.keys() ^ arrays.keys()
    for name, tensor in tensors.items():
        tensor.copy_(torch.from_numpy(np.array(arrays[name])))
