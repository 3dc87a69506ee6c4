"""What a recipe can say: each field with its meaning, unit and range beneath it. Validation reports all mistakes at once."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from sortal.recipe.augment import Augment
from sortal.recipe.group import Group, NotNegative, Positive, Share

Monitor = Literal["accuracy", "log_loss", "macro_f1", "mean_average_precision"]
MOMENTUM = 0.9


class Optimizer(Group):
    """How weights move."""

    name: Literal["sgd", "adam", "adamw", "rmsprop"] = "adamw"
    """'sgd' is stochastic gradient descent with momentum; 'adam' adds the decay to the gradients, so that it is scaled as they
    are (Kingma and Ba 2015); 'adamw' is Adam with decoupled decay (Loshchilov and Hutter 2019); 'rmsprop' divides by the
    root of a running mean of squares, with momentum after it."""
    momentum: float = Field(default=MOMENTUM, ge=0, lt=1)
    """For sgd and rmsprop."""
    nesterov: bool = False
    """For sgd with momentum: look ahead by one step."""
    weight_decay: NotNegative = 1e-4
    """Decay of weights; norms and biases are spared unless `decay_all`."""
    decay_all: bool = False
    """Decay norms and biases too, as plain training scripts do."""
    clip: NotNegative = 0.0
    """Largest norm of all gradients together; 0 is off."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each block's learning rate is this times that of the block after it, where a network is trained block by block; the
    head's is the full rate. 1 is off."""
    accumulate: int = Field(default=1, ge=1, le=4096)
    """Batches whose gradients make one step, as one batch so many times as large would; 1 is a step for each batch."""

    @model_validator(mode="after")
    def _look_ahead(self) -> "Optimizer":
        if self.nesterov and self.name != "sgd":
            raise ValueError(f"nesterov is a way of sgd, got name = {self.name!r}: set name = 'sgd', or nesterov = false")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum, which is 0: set momentum, or nesterov = false")
        if self.name in ("adam", "adamw") and self.momentum != MOMENTUM:
            raise ValueError(
                f"momentum is for sgd and rmsprop, {self.name} has its own: leave it at 0.9, got {self.momentum:g}"
            )
        return self


OF_SCHEDULES = {
    "restarts": ("cosine",),
    "stretch": ("cosine",),
    "factor": ("step", "multi_step", "plateau"),
    "every": ("step",),
    "milestones": ("multi_step",),
    "monitor": ("plateau",),
    "patience": ("plateau",),
}
"""Words that only some schedules look at."""


class Schedule(Group):
    """How the learning rate goes, as a multiplier over the whole training."""

    name: Literal["constant", "cosine", "linear", "step", "multi_step", "one_cycle", "plateau"] = "cosine"
    """From 1 to `floor`, after the warm-up: 'cosine' along half a cosine (Loshchilov and Hutter 2017), 'linear' along a line;
    'step' falls by `factor` after each share `every`, 'multi_step' at the `milestones`; 'one_cycle' rises and falls along
    half cosines (Smith and Topin 2018; momentum stays as it is); 'plateau' falls by `factor` whenever the validation split
    gets no better for `patience` epochs; 'constant' stays at 1."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training in which the rate rises from `start` to 1."""
    start: Share = 0.01
    """Multiplier at the first step of the warm-up."""
    floor: Share = 0.0
    """Multiplier at the end; the lowest for step, multi_step and plateau."""
    restarts: int = Field(default=0, ge=0, le=100)
    """For cosine: how often the rate jumps back to 1 and falls anew."""
    stretch: float = Field(default=1.0, ge=1, le=10)
    """For cosine with restarts: each fall lasts so many times as long as the one before."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """For step, multi_step and plateau: what each fall multiplies the rate with."""
    every: float = Field(default=0.3, gt=0, lt=1)
    """For step: share of the training after which the rate falls, again and again; 30 epochs of 100 are 0.3."""
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.75)
    """For multi_step: shares of the training, rising, at which the rate falls."""
    monitor: Monitor = "log_loss"
    """For plateau: the score on the validation split."""
    patience: int = Field(default=3, ge=1)
    """For plateau: after so many epochs without a better score the rate falls, and the count begins anew."""
    head_only: float = Field(default=0.2, ge=0, le=1)
    """Strategy 'staged': share of the training in which only the head learns, before the rest is thawed."""
    thawed_rate: Positive = 0.01
    """Strategy 'staged': learning rate of the thawed part, as a multiple of the head's."""

    @model_validator(mode="after")
    def _belongs(self) -> "Schedule":
        defaults = {key: type(self).model_fields[key].default for key in OF_SCHEDULES}
        problems = [
            f"{key} is for {' and '.join(names)}, got name = {self.name!r}: leave it at {defaults[key]!r}"
            for key, names in OF_SCHEDULES.items()
            if self.name not in names and getattr(self, key) != defaults[key]
        ]
        if self.name == "constant" and self.floor:
            problems.append(f"floor is where a rate falls to, and a constant one does not: leave it at 0, got {self.floor:g}")
        if self.name == "one_cycle" and not self.warmup:
            problems.append("one_cycle rises before it falls: set warmup, to 0.3 for instance")
        if list(self.milestones) != sorted(set(self.milestones)) or not self.milestones:
            problems.append(f"milestones must rise, such as [0.5, 0.75], got {list(self.milestones)}")
        first = {"step": (self.every,), "multi_step": self.milestones}.get(self.name)
        if first and self.warmup > first[0]:
            problems.append(f"the rate would fall at {first[0]:g} while it still rises: set warmup to at most that")
        if self.stretch != 1 and not self.restarts:
            problems.append(f"stretch is for falls that begin anew: set restarts, or leave it at 1, got {self.stretch:g}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Loss(Group):
    """What is minimised."""

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    """'cross_entropy': of several labels an image, the mean of the binary cross-entropies of the labels. 'focal': the
    cross-entropy with the term of each class times (1 - p)^gamma, so that what the network is sure of hardly counts (Lin et al.
    2017, here with softmax, and with their sigmoid for several labels); of mixed images and smoothed labels each class's term
    counts by its share."""
    gamma: float = Field(default=2.0, ge=0, le=20)
    """For focal: how much less the sure ones count; 0 is the cross-entropy."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is taken from the true class and spread evenly over classes (Szegedy et al. 2016); of several
    labels an image, over the two answers to each label."""
    smooth_over: Literal["all", "others"] = "all"
    """Which classes the share is spread over. 'all': the true one among them, as torch and Keras do it; 'others': all but the
    true one, which ends with less: a share of s over K - 1 others is one of s K / (K - 1) over all K."""
    class_weights: Literal["none", "inverse", "effective"] = "none"
    """How much more the images of rare classes count. 'inverse': by one over the number of training images of the class;
    'effective': by one over their effective number, (1 - 0.999^n) / (1 - 0.999) (Cui et al. 2019). The mean over training
    images is 1. Of several labels an image, what weighs more is that a label is there: by the (effective) number of images
    without it over that of images with it. Probabilities of rare labels then come out too high; thresholds make up for it."""

    @model_validator(mode="after")
    def _words_that_count(self) -> "Loss":
        if self.name != "focal" and self.gamma != type(self).model_fields["gamma"].default:
            raise ValueError(f"gamma belongs to name = 'focal', got {self.gamma:g} with {self.name!r}")
        if self.smooth_over == "others" and not 0 < self.label_smoothing < 0.5:
            raise ValueError(
                "smooth_over = 'others' spreads label_smoothing, which must be above 0, and below 0.5 since of two classes the "
                f"true one must keep more than the other; got {self.label_smoothing:g}"
            )
        return self


class Sampler(Group):
    """In which order images come. An epoch is always as many images as the training split has."""

    name: Literal["shuffle", "oversample", "balanced"] = "shuffle"
    """'shuffle': each epoch shows every training image once, in a new order. 'oversample': the images of rare classes come
    more often and those of frequent ones less often than once an epoch, as `power` says, all images of a class equally often
    in the long run. 'balanced': likewise, and each batch has every class equally often, as far as its size allows."""
    power: float = Field(default=0.0, ge=0, lt=1)
    """For oversample: a class's share of an epoch goes with (number of its images)^power. 0: all classes equally; 0.5: as the
    square root; 1 would be 'shuffle' (Kang et al. 2020)."""

    @model_validator(mode="after")
    def _words_that_count(self) -> "Sampler":
        if self.power and self.name != "oversample":
            raise ValueError(f"power belongs to name = 'oversample', got {self.power:g} with {self.name!r}")
        return self


class Average(Group):
    """Averaging weights over steps."""

    name: Literal["none", "ema"] = "none"
    """'ema': an exponential moving average of the weights is what is evaluated and shipped."""
    decay: float = Field(default=0.999, ge=0, lt=1)
    """Of the average, each step; it rises to this value over the first steps."""


class Stop(Group):
    """When to stop before the last epoch."""

    monitor: Monitor = "log_loss"
    """The score that must get better; `best.monitor` may be another. 'accuracy' and 'macro_f1' are of one label an image,
    'mean_average_precision' is of several, 'log_loss' of either."""
    patience: int = Field(default=0, ge=0)
    """Epochs without a better value on the validation split; 0 never stops early."""


class Best(Group):
    """Which epoch is shipped."""

    monitor: Literal["accuracy", "log_loss", "macro_f1", "mean_average_precision", "last"] = "last"
    """The epoch that is best on the validation split, or 'last', which needs no validation split; see `stop.monitor`."""


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
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Width times height beyond which an image is refused before it is decoded."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Of the arithmetic inside a network in training; 'auto' is measured and written into the run before the first step. With
    'fp16' the loss is scaled, so that small gradients do not vanish; a step whose gradients overflow is left out."""
    layout: Literal["auto", "nchw", "channels_last"] = "auto"
    """Of images in memory while a network is trained; 'auto' likewise."""
    runtime: Literal["auto", "torch", "onnx"] = "auto"
    """What computes the frozen part where its outputs are stored; 'auto' likewise."""
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
        problems += self._overruled() + self._frozen_problems() + self._unmeasured()
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
            if self.optimizer.layer_decay != 1:
                problems.append("optimizer.layer_decay: strategy 'features' trains the head alone; set it to 1")
        elif self.runtime not in ("auto", "torch") and not self.may_be_stored:
            problems.append(f"runtime: strategy {self.strategy!r} has no frozen part for {self.runtime!r} to compute")
        if self.weights_sha256 and (self.strategy == "scratch" or self.weights in ("none", "hub")):
            problems.append("weights_sha256: there is no file of weights to compare with")
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
