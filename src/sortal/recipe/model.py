"""What a recipe can say: each field with its meaning, unit and range beneath it. Validation reports all mistakes at once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Group(BaseModel):
    """A part of a recipe: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True, allow_inf_nan=False)


class Augment(Group):
    """How training images are varied. Applied in the order of the fields, one draw a sample; never on validation or test."""

    views: int = Field(default=4, ge=1, le=64)
    """Augmented views of each image whose features are stored (strategy 'features')."""
    crop: Literal["none", "padded", "resized"] = "none"
    """'padded': shift by up to `padding` pixels; 'resized': a random part of the image, resized to the network's size."""
    padding: int = Field(default=4, ge=1, le=64)
    """Pixels on each side, for padded crops."""
    padding_mode: Literal["constant", "reflect"] = "constant"
    """What fills the border of padded crops: black, or the mirrored image."""
    scale: tuple[Share, Share] = (0.35, 1.0)
    """Smallest and largest share of the image's area that a resized crop keeps."""
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of a resized crop."""
    flip: Share = 0.0
    """Probability of mirroring left and right. Not for digits, letters and whatever changes its class in a mirror."""
    vertical_flip: Share = 0.0
    """Probability of turning upside down."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Rotation by up to so many degrees either way."""
    translate: Share = 0.0
    """Shift by up to this share of the image's side."""
    shear: float = Field(default=0.0, ge=0, le=80)
    """Shear by up to so many degrees either way."""
    zoom: float = Field(default=0.0, ge=0, lt=1)
    """Scale by a factor from 1 - zoom to 1 + zoom."""
    fill: Literal["constant", "nearest", "reflect"] = "constant"
    """What fills the corners that rotation, shift, shear and zoom uncover."""
    brightness: NotNegative = 0.0
    """Brightness times a factor from max(0, 1 - brightness) to 1 + brightness."""
    contrast: NotNegative = 0.0
    """Contrast likewise."""
    saturation: NotNegative = 0.0
    """Saturation likewise."""
    hue: float = Field(default=0.0, ge=0, le=0.5)
    """Hue turned by up to this share of the colour circle."""
    rand_augment: int = Field(default=0, ge=0, le=8)
    """How many operations of RandAugment each image gets (Cubuk et al. 2020)."""
    rand_magnitude: int = Field(default=9, ge=0, le=30)
    """Their strength, of 30."""
    erase: Share = 0.0
    """Probability of blanking a random rectangle (Zhong et al. 2020)."""
    erase_scale: tuple[Share, Share] = (0.02, 0.33)
    """Smallest and largest share of the area that is blanked."""
    mixup: NotNegative = 0.0
    """Alpha of mixup's Beta distribution (Zhang et al. 2018); 0 is off."""
    cutmix: NotNegative = 0.0
    """Alpha of cutmix's (Yun et al. 2019); 0 is off. With both on, each step draws one of them."""

    @model_validator(mode="after")
    def _ranges(self) -> "Augment":
        for key in ("scale", "ratio", "erase_scale"):
            low, high = getattr(self, key)
            if low > high or (key == "scale" and low == 0):
                raise ValueError(f"{key} must go from a smaller to a larger number above 0, got [{low:g}, {high:g}]")
        return self


class Optimizer(Group):
    """How weights move."""

    name: Literal["sgd", "adamw"] = "adamw"
    """'sgd' is stochastic gradient descent with momentum; 'adamw' is Adam with decoupled decay."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For sgd."""
    nesterov: bool = False
    """For sgd with momentum: look ahead by one step."""
    weight_decay: NotNegative = 1e-4
    """Decay of weights; norms and biases are spared unless `decay_all`."""
    decay_all: bool = False
    """Decay norms and biases too, as plain training scripts do."""
    clip: NotNegative = 0.0
    """Largest norm of all gradients together; 0 is off."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each stage's learning rate is this times that of the stage after it; 1 is off."""

    @model_validator(mode="after")
    def _look_ahead(self) -> "Optimizer":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum, which is 0: set momentum, or nesterov = false")
        return self


class Schedule(Group):
    """How the learning rate goes, as a multiplier over the whole training."""

    name: Literal["constant", "cosine", "linear"] = "cosine"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training in which the rate rises from `start` to 1."""
    start: Share = 0.01
    """Multiplier at the first step of the warm-up."""
    floor: Share = 0.0
    """Multiplier at the end."""
    head_only: float = Field(default=0.2, ge=0, le=1)
    """Strategy 'staged': share of the training in which only the head learns, before the rest is thawed."""
    thawed_rate: Positive = 0.01
    """Strategy 'staged': learning rate of the thawed part, as a multiple of the head's."""


class Loss(Group):
    """What is minimised."""

    name: Literal["cross_entropy"] = "cross_entropy"
    """Of several labels an image it is the mean of the binary cross-entropies of the labels."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread evenly over all classes, the true one among them (Szegedy et al. 2016); of several
    labels an image, over the two answers to each label."""
    class_weights: Literal["none", "inverse", "effective"] = "none"
    """How much more the images of rare classes count. 'inverse': by one over the number of training images of the class;
    'effective': by one over their effective number, (1 - 0.999^n) / (1 - 0.999) (Cui et al. 2019). The mean over training
    images is 1. Of several labels an image, what weighs more is that a label is there: by the (effective) number of images
    without it over that of images with it. Probabilities of rare labels then come out too high; thresholds make up for it."""


class Sampler(Group):
    """In which order images come."""

    name: Literal["shuffle"] = "shuffle"
    """Each epoch shows every training image once, in a new order."""


class Average(Group):
    """Averaging weights over steps."""

    name: Literal["none", "ema"] = "none"
    """'ema': an exponential moving average of the weights is what is evaluated and shipped."""
    decay: float = Field(default=0.999, ge=0, lt=1)
    """Of the average, each step; it rises to this value over the first steps."""


class Stop(Group):
    """When to stop before the last epoch."""

    monitor: Literal["accuracy", "mean_average_precision", "log_loss"] = "log_loss"
    """'accuracy' of one label an image, 'mean_average_precision' of several, 'log_loss' of either."""
    patience: int = Field(default=0, ge=0)
    """Epochs without a better value on the validation split; 0 never stops early."""


class Best(Group):
    """Which epoch is shipped."""

    monitor: Literal["accuracy", "mean_average_precision", "log_loss", "last"] = "last"
    """The epoch that is best on the validation split, or 'last', which needs no validation split; see `stop.monitor`."""


class Split(Group):
    """How images are divided where the user did not do it."""

    val: float = Field(default=0.0, ge=0, lt=1)
    """Share that goes to the validation split, unless the user gave one."""
    test: float = Field(default=0.0, ge=0, lt=1)
    """Share that goes to the test split, unless the user gave one."""
    folds: int = Field(default=0, ge=0, le=50)
    """Cross-validation folds within the training split (strategy 'features'); 0 is off."""

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
    strategy: Literal["features", "full", "staged", "scratch"] = "features"
    """'features': the network stays frozen, a head is trained on its stored outputs. 'staged': the head first, then all,
    earlier layers slower. 'full': all from the start. 'scratch': from random weights."""
    epochs: int = Field(default=30, ge=1, le=10_000)
    batch_size: int = Field(default=32, ge=1, le=65_536)
    learning_rate: Positive = 1e-3
    image_size: int = Field(default=224, ge=8, le=2048)
    """Pixels on each side of what the network sees."""
    resize: int = Field(default=0, ge=0, le=4096)
    """Pixels of the shorter side before the centre is cropped; 0 is the model's own, or `image_size` where it has none."""
    channels: Literal[1, 3] = 3
    """1 for grey images, 3 for colour."""
    stem: Literal["default", "small"] = "default"
    """'small': the first convolution becomes 3x3 with stride 1 and the first pooling goes, for images up to 64 pixels."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Width times height beyond which an image is refused before it is decoded."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the arithmetic inside a network in training; 'auto' is measured and written into the run before the first step."""
    layout: Literal["auto", "nchw", "channels_last"] = "auto"
    """Of images in memory while a network is trained; 'auto' likewise."""
    runtime: Literal["auto", "torch", "onnx"] = "auto"
    """What computes the frozen part (strategy 'features'); 'auto' likewise."""
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

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        problems = []
        if self.resize and self.resize < self.image_size:
            problems.append(f"resize must be 0 or at least image_size ({self.image_size}), got {self.resize}")
        if self.split.folds and self.strategy != "features":
            problems.append(f"split.folds needs strategy 'features' (stored features make it quick), got {self.strategy!r}")
        if self.strategy == "scratch" and self.weights not in ("none", "default"):
            problems.append(f"strategy 'scratch' starts from random weights, got weights = {self.weights!r}")
        if self.strategy == "features" and (self.augment.mixup or self.augment.cutmix):
            problems.append(
                "strategy 'features' trains on stored outputs, which cannot be mixed as images: set mixup and cutmix to 0"
            )
        problems += self._overruled()
        problems += self._unmeasured()
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
        elif self.runtime not in ("auto", "torch"):
            problems.append(f"runtime: strategy {self.strategy!r} has no frozen part for {self.runtime!r} to compute")
        if self.weights_sha256 and (self.strategy == "scratch" or self.weights in ("none", "hub")):
            problems.append("weights_sha256: there is no file of weights to compare with")
        return problems

    def _unmeasured(self) -> list[str]:
        """Monitors that the task has no such score for."""
        monitors = {"best.monitor": self.best.monitor} | ({"stop.monitor": self.stop.monitor} if self.stop.patience else {})
        others = {"multi_class": "mean_average_precision", "multi_label": "accuracy"}
        cures = {"multi_class": "accuracy", "multi_label": "mean_average_precision"}
        return [
            f"{key}: task {self.task!r} has no score {monitor!r}: set {key} = {cures[self.task]!r} or 'log_loss'"
            for key, monitor in monitors.items()
            if monitor == others.get(self.task)
        ]

    @property
    def weights_file(self) -> Path | None:
        """The file that `weights` names; None for the words."""
        return None if self.weights in ("default", "none", "hub") else Path(self.weights)
