"""One model being trained with torch: batches by position, one optimiser step, averages, and a state that is plain arrays."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sortal.augment import draws
from sortal.augment.sampling import bounds, epoch_order
from sortal.data.samples import Samples
from sortal.engines.protocol import Batch
from sortal.engines.torch.compiling import compiled, step_begins
from sortal.engines.torch.device import failures_explained, release
from sortal.engines.torch.inputs import Inputs
from sortal.engines.torch.losses import summed_loss
from sortal.engines.torch.network import Network, shipped
from sortal.engines.torch.optim import make_optimizer, restore_arrays, set_rate, state_arrays
from sortal.engines.torch.parts import PREDICTED_AT_ONCE, Buffers, Room
from sortal.engines.torch.precision import autocast, learning, loss_scaler, restore_scaler, scaler_arrays
from sortal.engines.torch.start import SAMPLED, first_layer, whiten
from sortal.engines.torch.tasks import TASKS
from sortal.engines.torch.thaw import Thawing
from sortal.errors import OutOfMemory
from sortal.recipe import Recipe


class TorchSession:
    """Trains `model` on `inputs`. The model is a whole network, or only a head where the inputs are features.

    What stays frozen to the end is in no state: whoever opens the session again has it.
    """

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
        on = recipe.compiled == "on"
        self.learner = compiled(self.model, device, deterministic=recipe.deterministic) if on else self.model
        self.thawing = Thawing(recipe, self.model)
        self.optimizer = make_optimizer(recipe, self.model, depths)
        self.scaler = loss_scaler(recipe.precision, device)
        self.averaged = self._changing(copy=True) if recipe.average.name != "none" else None
        self.buffers = Buffers(self.model)
        self.rows_N = samples.splits["train"]
        self.room = Room(self.model, min(recipe.batch_size, len(self.rows_N)), recipe.micro_batch)
        self.loss = TASKS[recipe.task].make_loss(recipe.loss, samples.labels_N[self.rows_N], len(samples.classes), device)

    @property
    def steps(self) -> int:
        return len(self._bounds())

    def _bounds(self) -> list[tuple[int, int]]:
        """Where the images of a step begin and end in an epoch's order."""
        return bounds(len(self.rows_N), self.recipe.batch_size * self.recipe.optimizer.accumulate)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        recipe = self.recipe
        labels_N = self.samples.labels_N[self.rows_N]
        order = epoch_order(recipe.sampler, labels_N, batch_size=recipe.batch_size, seed=recipe.seed, epoch=epoch)
        rows_N = self.rows_N[order.places_M]
        steps = self._bounds()
        self.inputs.epoch_begins()
        for number in range(start, len(steps)):
            low, high = steps[number]
            for next_low, next_high in steps[number + 1 : number + 2]:
                for first, last in bounds(next_high - next_low, recipe.batch_size):
                    self.inputs.expect(rows_N[next_low + first : next_low + last])
            yield Batch(rows_N[low:high], epoch, epoch * len(steps) + number, order.walks_M[low:high])

    def train_step(self, batch: Batch, rate: float, progress: float) -> Tensor:
        if batch.step == 0 and self.recipe.start.whiten != "none":
            self._begin()
        self.buffers.keep()
        try:
            with failures_explained(OutOfMemory):
                loss = self._gradients(batch, progress)
        except OutOfMemory:
            self.optimizer.zero_grad(set_to_none=True)
            self.buffers.put_back()
            raise
        with failures_explained():
            self._update(batch, rate, progress)
        return loss

    def _begin(self) -> None:
        """What the first step starts from and only the images can tell."""
        rows_N = self.rows_N[draws.permutation(self.recipe.seed, 0, len(self.rows_N), "whiten")[:SAMPLED]]
        model = self.model
        assert isinstance(model, Network)
        with torch.no_grad():
            parts = (rows_N[start : start + PREDICTED_AT_ONCE] for start in range(0, len(rows_N), PREDICTED_AT_ONCE))
            whiten(first_layer(model.body), (model.normalised(self.inputs.plain(rows_M)) for rows_M in parts))
        if self.averaged is not None:
            self.averaged = self._changing(copy=True)

    def _gradients(self, batch: Batch, progress: float) -> Tensor:
        """Leave the gradients of the batch's mean loss in the parameters, part by part; returns that loss."""
        recipe, total = self.recipe, len(batch.rows_B)
        # Dropout draws from torch's own generator: seeded from the position, it does not depend on what ran before.
        self._reseed(draws.step_seed(recipe.seed, batch.step))
        self.thawing.at(batch.epoch, progress)
        if self.learner is not self.model:
            step_begins(self.device)
        losses = []
        for low, high in bounds(total, recipe.batch_size):
            walks_B = None if batch.walks_B is None else batch.walks_B[low:high]
            inputs, targets = self.inputs.training(batch.rows_B[low:high], batch.epoch, batch.step, walks_B)
            inputs = self._smaller(inputs, progress)
            for start, end in self.room.parts(high - low):
                loss = self._loss(inputs[start:end], targets[start:end])
                if end - start < total:
                    loss = loss * ((end - start) / total)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with learning(self.recipe.precision, self.device):
            return summed_loss(self.loss, self.learner(inputs), targets)

    def _smaller(self, inputs: Tensor, progress: float) -> Tensor:
        """Images at the side that they have grown to, by averaging so that nothing is skipped."""
        if self.recipe.grow.start == 1:
            return inputs
        side = self.recipe.grow.side(inputs.shape[-1], progress)
        if side == inputs.shape[-1]:
            return inputs
        return functional.interpolate(inputs, (side, side), mode="bilinear", antialias=True, align_corners=False)

    def _update(self, batch: Batch, rate: float, progress: float) -> None:
        """One step along the gradients, and one of the average behind it."""
        self.scaler.unscale_(self.optimizer)
        if self.recipe.optimizer.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimizer.clip)
        set_rate(self.optimizer, self.recipe.learning_rate * rate)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self._average(batch.step, progress)

    @property
    def micro_batch(self) -> int:
        return self.room.micro_batch

    def halve(self) -> bool:
        release(self.device)
        return self.room.halve()

    def _reseed(self, seed: int) -> None:
        # `torch.manual_seed` also queues a call, with a stack trace, for every accelerator that is not in use: a third of the
        # time of a head's training went there, and memory that was never given back.
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        torch.default_generator.manual_seed(seed)

    def _average(self, step: int, progress: float) -> None:
        assert self.averaged is not None
        spec = self.recipe.average
        if spec.name == "lookahead":
            if (step + 1) % spec.every:
                return
            decay = spec.decay * progress**3
        else:
            # The average follows closely at first, when the weights are still far from anything worth keeping.
            decay = min(spec.decay, (1 + step) / (10 + step))
        for name, tensor in self._changing().items():
            if tensor.is_floating_point():
                self.averaged[name].lerp_(tensor, 1 - decay)
            else:
                self.averaged[name].copy_(tensor)
            if spec.name == "lookahead":
                tensor.copy_(self.averaged[name])

    def predict(self, split: str) -> NDArray[np.float32]:
        while True:
            try:
                with failures_explained(OutOfMemory):
                    return self._predict(self.samples.splits[split])
            except OutOfMemory:
                if not self.room.halve_predicted():
                    raise
            release(self.device)  # here, where the failed attempt and its tensors are gone

    def _predict(self, rows_N: NDArray[np.int64]) -> NDArray[np.float32]:
        model, size = self._shipped(), self.room.predicted
        model.eval()
        parts = []
        with torch.inference_mode(), autocast(self.recipe.precision, self.device):
            for start in range(0, len(rows_N), size):
                inputs = self.inputs.plain(rows_N[start : start + size])
                if start + size < len(rows_N):
                    self.inputs.expect(rows_N[start + size : start + 2 * size])
                parts.append(model(inputs).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, len(self.samples.classes)), dtype=np.float32)

    def _shipped(self) -> nn.Module:
        if self.averaged is None:
            return self.model
        return _Swapped(self.model, self.averaged)

    def state(self) -> dict[str, NDArray[Any]]:
        arrays = {f"model/{name}": array for name, array in _arrays(self._changing()).items()}
        arrays |= {f"optimizer/{name}": array for name, array in state_arrays(self.optimizer, self.model).items()}
        arrays |= {f"scaler/{name}": array for name, array in scaler_arrays(self.scaler).items()}
        arrays |= {f"room/{name}": array for name, array in self.room.arrays().items()}
        if self.averaged is not None:
            arrays |= {f"average/{name}": array for name, array in _arrays(self.averaged).items()}
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        parts: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
        for key, array in state.items():
            part, _, name = key.partition("/")
            parts[part][name] = array
        _fill(self._changing(), parts["model"])
        restore_arrays(self.optimizer, self.model, parts["optimizer"])
        restore_scaler(self.scaler, parts["scaler"])
        self.room.restore(parts["room"])
        if self.averaged is not None:
            _fill(self.averaged, parts["average"])

    def weights(self) -> dict[str, NDArray[Any]]:
        return _arrays(shipped(self.averaged if self.averaged is not None else self._changing()))

    def _changing(self, *, copy: bool = False) -> dict[str, Tensor]:
        """The tensors that training changes, or copies of them."""
        tensors = {name: each.detach() for name, each in self.model.state_dict().items() if name in self.thawing.changing}
        return {name: tensor.clone() for name, tensor in tensors.items()} if copy else tensors


class _Swapped(nn.Module):
    """A model that computes with other weights than its own."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        self.tensors = dict(tensors)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(self.model, self.tensors, (x,))
        return result


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: tensor.cpu().contiguous().numpy().copy() for name, tensor in tensors.items()}


def _fill(tensors: Mapping[str, Tensor], arrays: Mapping[str, NDArray[Any]]) -> None:
    assert tensors.keys() == arrays.keys(), tensors.keys() ^ arrays.keys()
    for name, tensor in tensors.items():
        tensor.copy_(torch.from_numpy(np.array(arrays[name])))
