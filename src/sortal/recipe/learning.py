"""How weights are learnt: the optimiser, its rate over the training, the loss, the order of images, and which epoch is kept."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sortal.recipe.group import Group, NotNegative, Positive, Share

Monitor = Literal["accuracy", "log_loss", "macro_f1", "mean_average_precision"]
MOMENTUM = 0.9


class Optimizer(Group):
    """How weights move."""

    name: Literal["sgd", "adam", "adamw", "rmsprop", "muon", "lbfgs"] = "adamw"
    """'sgd' is stochastic gradient descent with momentum; 'adam' adds the decay to the gradients, so that it is scaled as they
    are (Kingma and Ba 2015); 'adamw' is Adam with decoupled decay (Loshchilov and Hutter 2019); 'rmsprop' divides by the
    root of a running mean of squares, with momentum after it; 'muon' moves each weight matrix of the body, and each convolution
    as the matrix of its filters, by the orthogonal matrix nearest to its momentum (Jordan et al. 2024), looking ahead by one
    step, with decoupled decay; what is no matrix, and the head, it leaves to sgd with Nesterov's momentum (`rest_rate`,
    `rest_momentum`); 'lbfgs' solves for a linear head on stored features, with all images and views in each step and no rate
    to choose (Liu and Nocedal 1989)."""
    momentum: float = Field(default=MOMENTUM, ge=0, lt=1)
    """For sgd, rmsprop and muon."""
    nesterov: bool = False
    """For sgd with momentum: look ahead by one step."""
    rest_rate: Positive = 1.0
    """For muon: learning rate of what it leaves to sgd, as a multiple of `learning_rate`."""
    rest_momentum: float = Field(default=MOMENTUM, gt=0, lt=1)
    """For muon: momentum of what it leaves to sgd."""
    fixed_norm: bool = False
    """For muon: instead of decaying, each matrix is scaled before every step so that its rows have norm 1 in the mean square.
    Right where a norm follows, which undoes any scale, and for nothing else."""
    bias_rate: Positive = 1.0
    """Learning rate of the body's biases, the shifts of norms above all, as a multiple of what it would be. Their decay in each
    step, if they have any, stays that of the other weights."""
    weight_decay: NotNegative = 1e-4
    """Decay of weights; norms and biases are spared unless `decay_all`. For lbfgs half of it times their squares is added to
    the loss, as 1 / (images x C) of a logistic regression."""
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
    def _of_muon(self) -> "Optimizer":
        own = ("rest_rate", "rest_momentum", "fixed_norm")
        set_here = [key for key in own if getattr(self, key) != type(self).model_fields[key].default]
        if self.name != "muon" and set_here:
            raise ValueError(f"{' and '.join(set_here)} belong to name = 'muon', got {self.name!r}")
        return self

    @model_validator(mode="after")
    def _look_ahead(self) -> "Optimizer":
        if self.nesterov and self.name != "sgd":
            raise ValueError(
                f"nesterov is a way of sgd (muon always looks ahead), got name = {self.name!r}: "
                "set name = 'sgd', or nesterov = false"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum, which is 0: set momentum, or nesterov = false")
        if self.name == "lbfgs" and (self.clip or self.accumulate > 1 or self.layer_decay != 1 or self.momentum != MOMENTUM):
            raise ValueError(
                "'lbfgs' finds the length of its steps itself: leave clip, accumulate, layer_decay and momentum alone"
            )
        if self.name in ("adam", "adamw") and self.momentum != MOMENTUM:
            raise ValueError(
                f"momentum is for sgd, rmsprop and muon, {self.name} has its own: leave it at 0.9, got {self.momentum:g}"
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
        if self.start != type(self).model_fields["start"].default and not self.warmup:
            problems.append(
                f"start is where a warm-up begins, and there is none: set warmup, or leave it at 0.01, got {self.start:g}"
            )
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

    name: Literal["none", "ema", "lookahead"] = "none"
    """'ema': an exponential moving average of the weights is what is evaluated and shipped. 'lookahead': likewise, and every
    `every` steps the training goes on from the average (Zhang et al. 2019, with a decay that rises as in airbench, Jordan
    2024)."""
    decay: float = Field(default=0.999, ge=0, lt=1)
    """Of the average. 'ema': each step; it rises to this value over the first steps. 'lookahead': each time that the average is
    taken; it rises to this value along the cube of the share of the training that is done."""
    every: int = Field(default=5, ge=1, le=10_000)
    """For lookahead: steps between averages."""

    @model_validator(mode="after")
    def _words_that_count(self) -> "Average":
        if self.name != "lookahead" and self.every != type(self).model_fields["every"].default:
            raise ValueError(f"every belongs to name = 'lookahead', got {self.every} with {self.name!r}")
        if self.name == "none" and self.decay != type(self).model_fields["decay"].default:
            raise ValueError(f"decay belongs to name = 'ema' and 'lookahead', got {self.decay:g} with 'none'")
        return self


class Start(Group):
    """How a network begins that is trained from random weights."""

    whiten: Literal["none", "frozen", "bias"] = "none"
    """The filters of the first convolution become those that whiten small patches of training images, each with its negative,
    and stay so: they are the directions in which patches vary, scaled to vary alike (Page 2018; Jordan 2024). 'frozen': nothing
    of that layer learns; 'bias': its biases do, until `whiten_until`. For networks whose first layer has room for it: brisk,
    brisk_r, brisk_s and brisk_l."""
    whiten_until: Share = 0.3
    """For whiten 'bias': share of the training in which those biases learn. Afterwards nothing is computed backwards up to the
    images."""
    identity: bool = False
    """Convolutions after the first begin with filters that hand on their maps as they are, one filter a map, the rest random
    (the Dirac start; Jordan 2024)."""

    @model_validator(mode="after")
    def _words_that_count(self) -> "Start":
        if self.whiten != "bias" and self.whiten_until != type(self).model_fields["whiten_until"].default:
            raise ValueError(f"whiten_until belongs to whiten = 'bias', got {self.whiten_until:g} with {self.whiten!r}")
        return self


STEP_OF_SIDES = 4
"""Pixels between the sides of images that grow: each side is compiled, tuned or cached for anew, so there are few of them."""


class Grow(Group):
    """Progressive resizing: the training begins with images made smaller, which cost less, and ends with whole ones."""

    start: float = Field(default=1.0, gt=0, le=1)
    """Share of the image's side at the first step, to the nearest 4 pixels, by which sides then grow at a time; 1 is off."""
    until: float = Field(default=0.5, gt=0, le=1)
    """Share of the training after which images have their own side."""

    @model_validator(mode="after")
    def _words_that_count(self) -> "Grow":
        if self.start == 1 and self.until != type(self).model_fields["until"].default:
            raise ValueError(f"until is when images are whole, and with start = 1 they always are: leave out {self.until:g}")
        return self

    def sides(self, full: int) -> int:
        """How many different sides images have on the way.

        >>> Grow(start=0.75, until=0.5).sides(32), Grow().sides(32)
        (3, 1)
        """
        return 1 + -(-(full - self.first(full)) // STEP_OF_SIDES)

    def side(self, full: int, progress: float) -> int:
        """Pixels on each side when a share `progress` of all steps is done.

        >>> [Grow(start=0.75, until=0.5).side(32, progress) for progress in (0.0, 0.24, 0.25, 0.5, 0.9)]
        [24, 24, 28, 32, 32]
        """
        first = self.first(full)
        if first == full or progress >= self.until:
            return full
        steps = -(-(full - first) // STEP_OF_SIDES)
        return first + STEP_OF_SIDES * int(steps * progress / self.until)

    def first(self, full: int) -> int:
        """Pixels on each side at the first step.

        >>> [Grow(start=0.625).first(full) for full in (2, 16, 28, 32, 64)]
        [2, 12, 16, 20, 40]
        """
        if self.start == 1:
            return full
        return min(full, max(STEP_OF_SIDES, STEP_OF_SIDES * int(full * self.start / STEP_OF_SIDES + 0.5)))


class Stop(Group):
    """When to stop before the last epoch."""

    monitor: Monitor = "log_loss"
    """The score that must get better; `best.monitor` may be another. 'accuracy' and 'macro_f1' are of one label an image,
    'mean_average_precision' is of several, 'log_loss' of either."""
    patience: int = Field(default=0, ge=0)
    """Epochs without a better value on the validation split; 0 never stops early."""

    @model_validator(mode="after")
    def _words_that_count(self) -> "Stop":
        if not self.patience and self.monitor != type(self).model_fields["monitor"].default:
            raise ValueError(f"monitor is what patience waits for, and patience is 0: set it, or leave out {self.monitor!r}")
        return self


class Best(Group):
    """Which epoch is shipped."""

    monitor: Literal["accuracy", "log_loss", "macro_f1", "mean_average_precision", "last"] = "last"
    """The epoch that is best on the validation split, or 'last', which needs no validation split; see `stop.monitor`."""
