"""What a recipe can say: each field with its meaning, unit and range beneath it. Validation reports all mistakes at once."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from sortal.recipe.augment import Augment
from sortal.recipe.decision import Decide
from sortal.recipe.group import Group, Positive
from sortal.recipe.learning import Average, Best, Grow, Loss, Optimizer, Sampler, Schedule, Start, Stop


class Split(Group):
    """How images are divided where the user did not do it."""

    val: float = Field(default=0.0, ge=0, lt=1)
    """Share that goes to the validation split, unless the user gave one."""
    test: float = Field(default=0.0, ge=0, lt=1)
    """Share that goes to the test split, unless the user gave one."""
    folds: int = Field(default=0, ge=0, le=50)
    """Cross-validation folds within the training split, for trainings on stored outputs (see `frozen`); 0 is off."""

    @model_validator(mode="after")
    def _sum(self) -> "Split":
        if self.val + self.test >= 1:
            raise ValueError(f"val and test together must leave images for training, got {self.val:g} and {self.test:g}")
        if self.folds == 1:
            raise ValueError("folds must be 0 or at least 2, got 1")
        return self


class Store(Group):
    """What is kept on disk so that it is never computed twice."""

    limit: int = Field(default=0, ge=0)
    """Bytes that all stores together may take; 0 is a tenth of the free disk."""


class Head(Group):
    """What stands between the features and the classes."""

    kind: Literal["linear", "mlp"] = "linear"
    hidden: int = Field(default=512, ge=1, le=65536)
    """Units of the hidden layer of an mlp."""
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _words_that_count(self) -> "Head":
        if self.kind == "linear" and self.hidden != type(self).model_fields["hidden"].default:
            raise ValueError(f"hidden belongs to kind = 'mlp', got {self.hidden} with 'linear'")
        return self


class Thaw(Group):
    """Which part of a network learns besides the head, which always does. A stage is what its authors call so: layer1 to
    layer4 of a ResNet, each block of a vision transformer; a run prints which ones learn."""

    stages: int = Field(default=0, ge=0, le=1000)
    """How many of the last stages are trained; all before them stay frozen. 0 leaves it to the strategy: one for
    'last_layers', all of them for 'staged'."""
    names: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Instead of a number, for 'last_layers' and 'staged': the parameters whose names contain one of these are trained, such
    as ["layer4"], all others stay frozen. `sortal models NAME` prints a network's names."""
    epochs: tuple[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)] | Literal["all"]], ...] = (
        (1, 0),
        (3, 1),
        (5, "all"),
    )
    """Strategy 'progressive': pairs of an epoch, counted from 1, and how many of the last stages learn from then on. The
    default is the head alone for two epochs, the last stage with it for two more, then everything."""

    @model_validator(mode="after")
    def _in_order(self) -> "Thaw":
        if self.stages and self.names:
            raise ValueError("stages and names both say what is trained: set one of them")
        epochs = [epoch for epoch, _ in self.epochs]
        stages = [float("inf") if count == "all" else count for _, count in self.epochs]
        if not epochs or epochs[0] != 1:
            raise ValueError(f"epochs must say what learns from epoch 1 on, such as [[1, 0], [3, 1]], got {self.epochs}")
        if any(a >= b for a, b in pairwise(epochs)) or any(a >= b for a, b in pairwise(stages)):
            raise ValueError(f"epochs must name later epochs and more stages from pair to pair, got {self.epochs}")
        return self


class Recipe(Group):
    """Everything a run needs besides the images."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, title="sortal recipe"
    )

    engine: Literal["torch"] = "torch"
    task: Literal["auto", "multi_class", "multi_label"] = "auto"
    """'multi_class': each image has one label, probabilities are a softmax over all. 'multi_label': any number of labels an
    image, also none; each label has a probability (sigmoid) and a threshold of its own. 'auto' is what the images have, and is
    written into the run before the first step."""
    model: str = "tf_efficientnet_lite0"
    """A name from `sortal models`."""
    weights: str = "default"
    """'default' (those at hand for the model), 'none', 'hub', or the path of a file."""
    weights_sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    """If set, the file of the weights must have this SHA-256; the run writes down that of the file it started from."""
    strategy: Literal["features", "last_layers", "full", "progressive", "staged", "scratch"] = "features"
    """'features': the network stays frozen, a head is trained on its stored outputs. 'last_layers': the head and the last
    stages are trained (`thaw.stages` or `thaw.names`). 'staged': the head first, then all, the rest slower. 'progressive':
    the head first, then stage after stage from the end to the start (`thaw.epochs`). 'full': all from the start. 'scratch':
    from random weights. What is frozen stays as it is to the last bit, the statistics of its batch norms too."""
    epochs: int = Field(default=30, ge=1, le=10_000)
    batch_size: int = Field(default=32, ge=1, le=65_536)
    micro_batch: int = Field(default=0, ge=0, le=65_536)
    """Images of a batch that go through the network at once; the gradients of the parts add up to those of the batch, but
    batch norm sees each part alone. 0 is the whole batch. Halved, and written into the run, where memory runs out."""
    learning_rate: Positive = 1e-3
    image_size: int = Field(default=224, ge=8, le=2048)
    """Pixels on each side of what the network sees."""
    resize: int = Field(default=0, ge=0, le=4096)
    """Pixels of the shorter side before the centre is cropped; 0 is the model's own, or `image_size` where it has none."""
    channels: Literal[1, 3] = 3
    """1 for grey images, 3 for colour."""
    stem: Literal["default", "small", "small_random"] = "default"
    """'small': the first convolution becomes 3x3 with stride 1 and the first pooling goes, for images up to 64 pixels; a
    pretrained kernel is resampled to 3x3. 'small_random': likewise, but that convolution starts at random while all else is
    pretrained."""
    test_views: Literal["one", "mirror", "mirror_and_shift"] = "one"
    """How many views of an image a trained network answers by the mean of their logits: 'mirror' takes the image and its mirror
    image, 'mirror_and_shift' six, these two as they are (half the weight) and moved by a pixel to the lower right and to the
    upper left. They are inside the bundle's graph, so that what is measured is what is deployed; scores on the way, after each
    epoch, are of the image alone."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Width times height beyond which an image is refused before it is decoded."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Of the arithmetic inside a network in training; 'auto' is measured and written into the run before the first step. With
    'fp16' the loss is scaled, so that small gradients do not vanish; a step whose gradients overflow is left out."""
    layout: Literal["auto", "nchw", "channels_last"] = "auto"
    """Of images in memory while a network is trained; 'auto' likewise."""
    compiled: Literal["auto", "off", "on"] = "auto"
    """Whether a network is compiled for training, with CUDA graphs on an accelerator. 'auto' is measured on an accelerator,
    likewise, and 'on' only where the training is long enough to win back the time that compiling takes; on a processor, where a
    compiled network trained more slowly, it is 'off'."""
    runtime: Literal["auto", "torch", "torch_bf16", "onnx", "openvino", "openvino_bf16"] = "auto"
    """What computes the frozen part where its outputs are stored: torch, ONNX Runtime, or OpenVINO where it is installed.
    'auto' is measured likewise; those that compute in bf16 are taken only where they hardly change what comes out."""
    frozen: Literal["auto", "stored", "pixels"] = "auto"
    """'stored': what the frozen part gives for each image and for `augment.views` augmented views is computed once and kept.
    'pixels': it is computed in every step, from newly augmented images. 'auto' is written into the run as what it became:
    'stored' where the part that stays frozen begins at the images and can be cut off, images are not mixed, and the stores
    have room."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads of arithmetic; 0 is one a core. The order of sums depends on it, so it is written into the run."""
    deterministic: bool = True
    """On an accelerator: only kernels that give the same bits each time, so that a resumed run ends like one that was never
    interrupted; false is a little faster. A processor gives the same bits either way."""
    augment: Augment = Augment()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    sampler: Sampler = Sampler()
    average: Average = Average()
    stop: Stop = Stop()
    best: Best = Best()
    split: Split = Split()
    store: Store = Store()
    head: Head = Head()
    thaw: Thaw = Thaw()
    start: Start = Start()
    grow: Grow = Grow()
    decision: Decide = Decide()

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        problems = []
        if self.resize and self.resize < self.image_size:
            problems.append(f"resize must be 0 or at least image_size ({self.image_size}), got {self.resize}")
        if self.split.folds and not self.may_be_stored:
            problems.append(
                "split.folds needs strategy 'features', or 'last_layers' without mixing and frozen = 'pixels' (stored outputs "
                f"of the frozen part make it quick), got {self.strategy!r}"
            )
        if self.split.folds and self.schedule.name == "plateau":
            problems.append(
                "schedule.name: 'plateau' looks at a validation split, which no fold has: take another, or folds = 0"
            )
        if self.micro_batch > self.batch_size:
            problems.append(f"micro_batch must be at most batch_size ({self.batch_size}), got {self.micro_batch}")
        if self.strategy == "scratch" and self.weights not in ("none", "default"):
            problems.append(f"strategy 'scratch' starts from random weights, got weights = {self.weights!r}")
        if self.stem == "small_random" and (self.strategy == "scratch" or self.weights == "none"):
            problems.append(
                "stem 'small_random' leaves out one layer of pretrained weights, and here there are none: set 'small'"
            )
        if self.strategy == "features" and (self.augment.mixup or self.augment.cutmix):
            problems.append(
                "strategy 'features' trains on stored outputs, which cannot be mixed as images: set mixup and cutmix to 0"
            )
        if self.loss.class_weights != "none" and self.sampler.name != "shuffle":
            problems.append(
                f"loss.class_weights = {self.loss.class_weights!r} and sampler.name = {self.sampler.name!r} both make rare "
                "classes count more, together twice as intended: set class_weights = 'none' or sampler.name = 'shuffle'"
            )
        if self.task == "multi_label" and self.sampler.name != "shuffle":
            problems.append(
                f"sampler.name: {self.sampler.name!r} shows images by their class, and with several labels an image has none: "
                "set 'shuffle'; rare labels get thresholds of their own"
            )
        if self.task == "multi_label" and self.decision.asked:
            problems.append(
                "decision is for one label an image; of several, each label has a threshold that it is said from: leave it out"
            )
        problems += self._overruled() + self._frozen_problems() + self._unmeasured() + self._small_problems()
        problems += self._unsolvable() + self._colourless()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _overruled(self) -> list[str]:
        """Keys that this strategy does not look at, set to something all the same."""
        problems = []
        if self.strategy == "features":
            if self.precision not in ("auto", "float32"):
                problems.append(f"precision: strategy 'features' trains its head in float32, got {self.precision!r}")
            if self.layout not in ("auto", "nchw"):
                problems.append(f"layout: strategy 'features' trains on vectors, which have none, got {self.layout!r}")
            if self.compiled == "on":
                problems.append("compiled: strategy 'features' trains a head alone, in which nothing can be fused")
            if self.optimizer.layer_decay != 1:
                problems.append("optimizer.layer_decay: strategy 'features' trains the head alone; set it to 1")
            if self.optimizer.bias_rate != 1:
                problems.append(
                    "optimizer.bias_rate: it is of the body's biases, and strategy 'features' trains the head alone"
                )
            if self.optimizer.name == "muon":
                problems.append("optimizer.name: 'muon' leaves the head to sgd, and strategy 'features' trains nothing else")
        elif self.runtime not in ("auto", "torch") and not self.may_be_stored:
            problems.append(f"runtime: strategy {self.strategy!r} has no frozen part for {self.runtime!r} to compute")
        if self.strategy != "staged":
            problems += [
                f"schedule.{key}: only strategy 'staged' looks at it, got strategy {self.strategy!r}: leave it at {left:g}"
                for key in ("head_only", "thawed_rate")
                if getattr(self.schedule, key) != (left := Schedule.model_fields[key].default)
            ]
        if self.weights_sha256 and (self.strategy == "scratch" or self.weights in ("none", "hub")):
            problems.append("weights_sha256: there is no file of weights to compare with")
        return problems

    def _small_problems(self) -> list[str]:
        """What does not fit together about beginnings, growing images and views."""
        problems = []
        if self.strategy != "scratch" and (self.start.whiten != "none" or self.start.identity):
            problems.append(
                f"start: strategy {self.strategy!r} does not begin with random weights; set whiten 'none', no identity"
            )
        if self.grow.start < 1 and self.keeps_frozen:
            problems.append(
                f"grow: strategy {self.strategy!r} may train on stored outputs, which have one size: set grow.start to 1"
            )
        if self.test_views != "one" and not self.augment.flip:
            problems.append(
                "test_views: augment.flip = 0 says that a mirror image may be of another class, so it should not be asked "
                "either: set test_views = 'one'"
            )
        if self.test_views != "one" and self.split.folds:
            problems.append(
                "test_views: with split.folds each image is judged by its stored outputs, which are of one view: set 'one'"
            )
        return problems

    def _frozen_problems(self) -> list[str]:
        """What does not fit together about thawing, and about storing what stays frozen."""
        unused = {"last_layers": {"epochs"}, "staged": {"epochs"}, "progressive": {"stages", "names"}}
        problems = [
            f"thaw.{key}: strategy {self.strategy!r} does not look at it"
            for key in ("stages", "names", "epochs")
            if key in unused.get(self.strategy, Thaw.model_fields) and getattr(self.thaw, key) != getattr(Thaw(), key)
        ]
        last = self.thaw.epochs[-1][0]
        if self.strategy == "progressive" and last > self.epochs:
            problems.append(
                f"thaw.epochs goes on to epoch {last}, but the training ends after epochs = {self.epochs}: change one"
            )
        if self.frozen == "stored" and not self.keeps_frozen:
            problems.append(f"frozen: strategy {self.strategy!r} trains everything in the end, so there is nothing to store")
        elif self.frozen == "stored" and not self.may_be_stored:
            problems.append("frozen: stored outputs cannot be mixed as images: set mixup and cutmix to 0, or frozen = 'pixels'")
        if self.frozen == "pixels" and self.strategy == "features":
            problems.append("frozen: strategy 'features' trains on stored outputs; leave it, or take strategy 'last_layers'")
        return problems

    @property
    def keeps_frozen(self) -> bool:
        """Whether a part of the network stays as it is from the first epoch to the last."""
        if self.strategy == "staged":
            return bool(self.thaw.stages or self.thaw.names)
        if self.strategy == "progressive":
            return self.thaw.epochs[-1][1] != "all"
        return self.strategy in ("features", "last_layers")

    @property
    def may_be_stored(self) -> bool:
        """Whether the outputs of what stays frozen may be stored, as far as the recipe says."""
        mixes = bool(self.augment.mixup or self.augment.cutmix)
        return self.keeps_frozen and self.frozen != "pixels" and not mixes

    def _unsolvable(self) -> list[str]:
        """What a solver does not look at, set to something all the same, and losses that have more than one minimum."""
        if self.optimizer.name != "lbfgs":
            return []
        convex = self.strategy == "features" and self.head.kind == "linear" and self.loss.name == "cross_entropy"
        if not convex:
            return ["optimizer.name: 'lbfgs' solves for a linear head with cross-entropy, strategy 'features': take another"]
        default = type(self).model_fields
        alone = {
            "learning_rate": self.learning_rate == default["learning_rate"].default,
            "batch_size": self.batch_size == default["batch_size"].default,
            "micro_batch": not self.micro_batch,
            "schedule": self.schedule == Schedule(),
            "sampler": self.sampler == Sampler(),
            "average": self.average == Average(),
            "head.dropout": not self.head.dropout,
            "optimizer.decay_all": not self.optimizer.decay_all,
        }
        return [
            f"{key}: 'lbfgs' takes all images at once and finds its own way; leave it, or take another optimizer.name"
            for key, left in alone.items()
            if not left
        ]

    def _colourless(self) -> list[str]:
        """Changes of colour to images that have none."""
        on = [key for key in ("saturation", "hue", "grey") if self.channels == 1 and getattr(self.augment, key)]
        return [f"augment.{key}: grey images (channels = 1) have no colours to change: leave it at 0" for key in on]

    def _unmeasured(self) -> list[str]:
        """Monitors that the task has no such score for."""
        measured = {"multi_class": ("accuracy", "macro_f1", "log_loss"), "multi_label": ("mean_average_precision", "log_loss")}
        if self.task not in measured:
            return []
        monitors = {"best.monitor": self.best.monitor}
        if self.stop.patience:
            monitors["stop.monitor"] = self.stop.monitor
        if self.schedule.name == "plateau":
            monitors["schedule.monitor"] = self.schedule.monitor
        return [
            f"{key}: task {self.task!r} has no score {monitor!r}: set {key} = {measured[self.task][0]!r} or 'log_loss'"
            for key, monitor in monitors.items()
            if monitor not in (*measured[self.task], "last")
        ]

    @property
    def weights_file(self) -> Path | None:
        """The file that `weights` names; None for the words."""
        return None if self.weights in ("default", "none", "hub") else Path(self.weights)
