"""Thawing: which parameters learn, as a function of the recipe and of where the training is. All else stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from sortal.engines.torch.network import Network
from sortal.errors import RecipeError, UnknownName
from sortal.recipe import Recipe

FIRST = "body.blocks.stem."
"""Where the parameters of a layer that whitens patches stand."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training in which the same parameters learn."""

    epoch: int
    """It begins with this epoch, counted from 0 ..."""
    progress: float
    """... and not before this share of the training is done."""
    learning: frozenset[str]
    """Names of the parameters that learn."""
    told: str
    """Those parameters in words."""

    @property
    def when(self) -> str:
        """When it begins, in words."""
        return f"epoch {self.epoch + 1}" if self.epoch else f"{self.progress:.0%} of the training"


class Thawing:
    """Keeps a model in the phase that a recipe names for a moment of the training.

    What is frozen gets no gradient, and its modules work as in evaluation: a batch norm's statistics stay, nothing is dropped.
    Which phase it is depends on epoch and progress alone, so that a resumed training is in the phase that it was in.
    """

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        self.model = model
        self.phases = phases(recipe, model)
        self._current = -1
        self.enter(max(range(len(self.phases)), key=lambda number: len(self.phases[number].learning)))
        self.changing = frozenset(model.state_dict()) - self._unchanging()
        """Names of the tensors that a training may change, from its first epoch to its last."""

    def at(self, epoch: int, progress: float) -> None:
        """Freeze and thaw for a step, and set all modules to training or evaluation."""
        begun = [n for n, phase in enumerate(self.phases) if epoch >= phase.epoch and progress >= phase.progress]
        self.enter(begun[-1])

    def enter(self, number: int) -> None:
        if number != self._current:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name in self.phases[number].learning)
            self._resting = _resting(self.model)
            self._current = number
        self.model.train()
        for module in self._resting:
            module.eval()

    def _unchanging(self) -> set[str]:
        """Tensors that the present phase leaves alone."""
        resting = {id(module) for module in self._resting}
        inside = {
            f"{place}.{name}"
            for place, module in self.model.named_modules()
            if id(module) in resting
            for name in module.state_dict()
        }
        return inside | {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}


def _resting(module: nn.Module) -> list[nn.Module]:
    """The largest modules that have parameters, none of which learns."""
    learn = [parameter.requires_grad for parameter in module.parameters()]
    if learn and not any(learn):
        return [module]
    return [resting for child in module.children() for resting in _resting(child)] if not all(learn) else []


def phases(recipe: Recipe, model: nn.Module) -> tuple[Phase, ...]:
    """The phases of a recipe's training, in their order; raises `RecipeError` or `UnknownName` for stages there are not."""
    everything = frozenset(name for name, _ in model.named_parameters())
    if not isinstance(model, Network):
        return (Phase(0, 0.0, everything, "the head"),)  # on stored features there is nothing else
    head = Phase(0, 0.0, frozenset(name for name in everything if name.startswith("head.")), "the head")
    thaw = recipe.thaw
    if recipe.strategy == "features":
        return (head,)
    if recipe.strategy == "last_layers":
        return (_thawed(model, thaw.names or thaw.stages or 1),)
    if recipe.strategy == "staged":
        rest = _thawed(model, thaw.names or thaw.stages or "all", progress=recipe.schedule.head_only)
        return (head, rest)
    if recipe.strategy == "progressive":
        return tuple(_thawed(model, count, epoch=epoch - 1) if count else head for epoch, count in thaw.epochs)
    whole = Phase(0, 0.0, everything, "everything")
    start = recipe.start
    if start.whiten == "bias" and start.whiten_until < 1:
        others = frozenset(name for name in everything if not name.startswith(FIRST))
        return (whole, Phase(0, start.whiten_until, others, "everything but the first layer"))
    return (whole,)


def _thawed(model: Network, what: int | str | Sequence[str], *, epoch: int = 0, progress: float = 0.0) -> Phase:
    """A phase in which the head learns with so many of the last stages, with 'all', or with parameters by parts of names."""
    # Auxiliary classifiers pull on the body, so they learn whenever some of it does.
    head = {name for name, _ in model.named_parameters() if not name.startswith("body.")}
    if what == "all":
        return Phase(epoch, progress, frozenset(name for name, _ in model.named_parameters()), "everything")
    if isinstance(what, int):
        body, told = _last_stages(model, what)
    else:
        body, told = _named(model, what), " and ".join(what)
    return Phase(epoch, progress, frozenset(head | {f"body.{name}" for name in body}), f"the head and {told}")


def _last_stages(model: Network, count: int) -> tuple[list[str], str]:
    stages = model.body.stages()
    if count >= len(stages):
        raise RecipeError(
            [f"thaw: {count} stages are to be trained besides the head, and the network has {len(stages)}"],
            hint=f"fewer than {len(stages)} leave something frozen; strategy 'full' trains everything",
        )
    found = [name for names in stages[-count:] for name in names]
    return found, ", ".join(dict.fromkeys(_told(name, stages) for name in found))


def _told(name: str, stages: Sequence[Sequence[str]]) -> str:
    """The part of the network that a parameter belongs to: 'layer4', or where several stages share it, 'blocks.6'."""
    part = name.split(".")[1]
    shared = sum(any(other.split(".")[1] == part for other in names) for names in stages) > 1
    return ".".join(name.split(".")[1:3]) if shared else part


def _named(model: Network, parts: Sequence[str]) -> list[str]:
    """Parameters of the body whose names, as the architecture calls them, contain one of the parts."""
    # The seeds' names are those of the architecture alone: 'layer4.0.conv1.weight', not 'body.net.layer4...'.
    names = {name: name.partition(".")[2] for name, _ in model.body.named_parameters()}
    for part in parts:
        if not any(part in name for name in names.values()):
            pieces = dict.fromkeys(
                name.rsplit(".", depth)[0] for name in names.values() for depth in range(name.count(".") + 1)
            )
            first = dict.fromkeys(name.partition(".")[0] for name in names.values())
            hint = "thaw.names are parts of parameter names; the head is trained in any case"
            raise UnknownName("parameter of the network", part, [*first, *pieces], hint=hint)
    found = [name for name, own in names.items() if any(part in own for part in parts)]
    if len(found) == len(names):
        raise RecipeError(
            [f"thaw.names: {' and '.join(map(repr, parts))} name every parameter, so nothing stays frozen"],
            hint="name fewer, or take strategy 'full'",
        )
    return found
