"""Recipes by name: functions that return one. Ours are here; the training scripts of the tutorials stand in `tutorials`."""

from sortal.recipe.augment import Augment
from sortal.recipe.learning import Grow, Loss, Optimizer, Schedule, Start
from sortal.recipe.model import Recipe, Split
from sortal.registry import Registry

HERE, THEIRS = "sortal.recipe.presets", "sortal.recipe.tutorials"
PRESETS = Registry("recipe", hint="`sortal recipes` lists them")


def named(name: str) -> Recipe:
    """The preset of that name; raises `UnknownName`."""
    recipe: Recipe = PRESETS[name].load()()
    return recipe


PRESETS.add("photos", f"{HERE}:photos", "a few hundred photographs: frozen EfficientNet-Lite0, a linear head")


def photos() -> Recipe:
    """For some dozens to a few thousand photographs: EfficientNet-Lite0 frozen, a linear head on stored features of two views.

    Epochs, rate, decay and views were chosen on CIFAR-10's classes with 96 to 300 training images: 20 epochs lost a point
    there, 80 won nothing, and neither did four views over two, nor two over the plain one (no log).
    Measured here on 2026-11-25: `transfer` and `crossval` in docs/benchmarks.md; since then the plan solves for this head
    instead (`optimizer.name = "lbfgs"`).
    """
    return Recipe(
        strategy="features",
        epochs=40,
        batch_size=32,
        learning_rate=1e-3,
        optimizer=Optimizer(weight_decay=1e-3),
        augment=Augment(views=2, crop="resized", scale=(0.35, 1.0), flip=0.5),
    )


PRESETS.add(
    "photos_finetune", f"{HERE}:photos_finetune", "thousands of photographs: the head first, then all, earlier layers slower"
)


def photos_finetune() -> Recipe:
    """For thousands of photographs: EfficientNet-Lite0, the head alone for a fifth of the training, then everything.

    The last layers start at a tenth of the head's rate and each stage before them at 0.9 of the next. Not yet measured
    here.
    """
    return Recipe(
        strategy="staged",
        epochs=10,
        batch_size=32,
        learning_rate=1e-3,
        augment=Augment(crop="resized", scale=(0.35, 1.0), flip=0.5),
        optimizer=Optimizer(weight_decay=1e-4, clip=1.0, layer_decay=0.9),
        schedule=Schedule(warmup=0.05, head_only=0.2, thawed_rate=0.1),
        loss=Loss(label_smoothing=0.1),
    )


PRESETS.add("small_images", f"{HERE}:small_images", "tens of thousands of images up to 64 pixels: brisk from scratch, by Muon")


def small_images() -> Recipe:
    """For tens of thousands of images of 16 to 64 pixels: airbench's network and training (Jordan 2024), with Muon, on images
    that grow.

    Rates are airbench's for batches of 2,000, brought to 500: SGD's in proportion, Muon's to a little more than the root. Views
    that are moved as well as mirrored won 0.001 on validation images, the mean of six short trainings (-0.001 to +0.007), and
    cost three times as much. Tried while it was written, without a log: 0.886 on 3,000 validation images of CIFAR-10 as JPEG
    (0.891 with mirrored views) after five epochs of the other 47,000, six minutes of one core. Eight epochs, as here, are not
    yet measured here.
    """
    return Recipe(
        model="brisk",
        weights="none",
        strategy="scratch",
        image_size=32,
        epochs=8,
        batch_size=500,
        learning_rate=0.16,
        test_views="mirror",
        augment=Augment(crop="padded", padding=2, padding_mode="reflect", flip=0.5, alternate_flip=True),
        optimizer=Optimizer(
            name="muon",
            momentum=0.6,
            fixed_norm=True,
            rest_rate=3.1,
            rest_momentum=0.85,
            bias_rate=64,
            weight_decay=2.4e-3,
            decay_all=True,
        ),
        schedule=Schedule(name="linear"),
        loss=Loss(label_smoothing=0.2),
        start=Start(whiten="bias", whiten_until=0.375, identity=True),
        grow=Grow(start=0.625, until=0.6),
        split=Split(val=0.02),
    )


PRESETS.add("small_quick", f"{HERE}:small_quick", "the same in two epochs of a narrow network, for a first model")


def small_quick() -> Recipe:
    """`small_images` on the narrow network for two epochs of whole images: the quickest of these.

    Not yet measured here. Tried while it was written, without a log: 0.835 on 3,000 validation images of CIFAR-10 as JPEG
    (0.845 with mirrored views) after two epochs of the other 47,000, 94 seconds of one core.
    """
    base = small_images()
    optimizer = base.optimizer.model_copy(update={"rest_rate": 3.5})
    quick = {"model": "brisk_s", "epochs": 2, "learning_rate": 0.14, "optimizer": optimizer}
    return base.model_copy(update=quick | {"start": Start(whiten="bias", whiten_until=1.0, identity=True), "grow": Grow()})


PRESETS.add("small_few", f"{HERE}:small_few", "thousands of images up to 64 pixels: a narrow brisk in small batches")


def small_few() -> Recipe:
    """For 2,000 to 20,000 images of 16 to 64 pixels: the narrow network in batches of 125, for ten epochs of whole images.

    Not yet measured here. Tried while it was written, without a log: 0.768 on 3,000 validation images of CIFAR-10 as JPEG
    (0.779 with mirrored views) after eight epochs of 5,000 others, 40 seconds of one core, where `small_compact` on compact_s
    came to 0.656 in 28. Three epochs of 16,000 of Fashion-MNIST, likewise: 0.910 in 27 seconds and 0.895 in 23.
    """
    base = small_images()
    optimizer = base.optimizer.model_copy(update={"rest_rate": 7.0})
    few = {"model": "brisk_s", "epochs": 10, "batch_size": 125, "learning_rate": 0.12, "optimizer": optimizer, "grow": Grow()}
    return base.model_copy(update=few | {"split": Split(val=0.1)})


PRESETS.add("small_best", f"{HERE}:small_best", "brisk for thirty epochs, wider crops and erased rectangles")


def small_best() -> Recipe:
    """`small_images` for thirty epochs, wider crops and erased rectangles against learning by heart.

    Measured here on CIFAR-10 as JPEG: 0.9080 on test (0.902 to 0.914) in 32 minutes of two cores; `ladder` in
    docs/benchmarks.md.
    """
    base = small_images()
    augment = base.augment.model_copy(update={"padding": 4, "erase": 0.5, "erase_scale": (0.02, 0.15)})
    return base.model_copy(update={"epochs": 30, "augment": augment, "start": Start(whiten="bias", identity=True)})


PRESETS.add("small_accelerated", f"{HERE}:small_accelerated", "small_images in batches of 2,000, for an accelerator")


def small_accelerated() -> Recipe:
    """`small_images` on whole images in batches of 2,000: on an H100 a step took as long as one of 500 (16 ms, no log).

    Rates are those of 500, brought to such batches. Not yet measured here on a test split; tried on 5,000 validation images of
    CIFAR-10 as JPEG with mirrored views, without a log: 0.901 after eight epochs of the other 45,000, 0.907 after twelve, 0.909
    after sixteen, and 0.908 with erased rectangles.
    """
    base = small_images()
    optimizer = base.optimizer.model_copy(update={"rest_rate": 8.27})
    large = {"batch_size": 2_000, "learning_rate": 0.24, "optimizer": optimizer, "grow": Grow()}
    return base.model_copy(update=large | {"epochs": 16})


PRESETS.add("small_compact", f"{HERE}:small_compact", "compact from scratch by AdamW: the studies' start, easy to change")


def small_compact() -> Recipe:
    """For thousands of images of 16 to 64 pixels: the compact network by AdamW, which takes any other network too.

    Measured here, narrow (`compact_s`) on all of Fashion-MNIST: 0.9349 on test after ten epochs; `fashion` in
    docs/benchmarks.md.
    """
    return Recipe(
        model="compact",
        weights="none",
        strategy="scratch",
        image_size=32,
        epochs=10,
        batch_size=128,
        learning_rate=3e-3,
        augment=Augment(crop="padded", padding=2, padding_mode="reflect", flip=0.5),
        optimizer=Optimizer(name="adamw", weight_decay=0.05),
        schedule=Schedule(warmup=0.15, start=0.1),
        loss=Loss(label_smoothing=0.1),
    )


PRESETS.add("seed000_simple_cnn", f"{THEIRS}:seed000_simple_cnn", "tutorial 000: SimpleCNN, SGD at 0.1, 100 epochs")
PRESETS.add("seed000_lenet5", f"{THEIRS}:seed000_lenet5", "tutorial 000: LeNet-5 for grey digits of 28 pixels")
PRESETS.add("seed000_resnet_cifar", f"{THEIRS}:seed000_resnet_cifar", "tutorial 000: ResNetCIFAR, SGD at 0.1, 100 epochs")
PRESETS.add("seed000_strong", f"{THEIRS}:seed000_strong", "tutorial 000: ResNetCIFAR with AutoAugment and erasing")
PRESETS.add("seed000_transfer", f"{THEIRS}:seed000_transfer", "tutorial 000: ResNet-50 frozen, a head of 512 hidden units")
PRESETS.add("seed001_keras_cnn", f"{THEIRS}:seed001_keras_cnn", "tutorial 001: a Keras network from scratch on 224 pixels")
PRESETS.add(
    "seed001_transfer", f"{THEIRS}:seed001_transfer", "tutorial 001: EfficientNet-B0, the head for 10 epochs, then all at 1e-5"
)
PRESETS.add("seed002_cifar10", f"{THEIRS}:seed002_cifar10", "tutorial 002: CIFAR10CNN, SGD at 0.1, 100 epochs")
PRESETS.add("seed002_mixup", f"{THEIRS}:seed002_mixup", "tutorial 002 with mixup at 0.2")
PRESETS.add("seed002_cutmix", f"{THEIRS}:seed002_cutmix", "tutorial 002 with cutmix at 1")
PRESETS.add(
    "seed002_transfer", f"{THEIRS}:seed002_transfer", "tutorial 002: pretrained ResNet-18 with a small stem, all of it trained"
)
PRESETS.add("seed003_features", f"{THEIRS}:seed003_features", "guide 003: feature extraction, ResNet-50 frozen")
PRESETS.add("seed003_last_layers", f"{THEIRS}:seed003_last_layers", "guide 003: the last stage of ResNet-50 and the head")
PRESETS.add(
    "seed003_progressive", f"{THEIRS}:seed003_progressive", "guide 003: ResNet-50 thawed from the end, all from epoch 5 on"
)
PRESETS.add("seed003_full", f"{THEIRS}:seed003_full", "guide 003: full fine-tuning of ResNet-50 at 1e-4")
PRESETS.add(
    "seed003_albumentations",
    f"{THEIRS}:seed003_albumentations",
    "guide 003: `seed003_full` with its advanced augmentations: turns, one of noise and blurs, one of three distortions",
)
PRESETS.add(
    "seed004_resnet18", f"{THEIRS}:seed004_resnet18", "article 004: ResNet-18 for CIFAR-10, AdamW, RandAugment, 100 epochs"
)
PRESETS.add("seed004_keras", f"{THEIRS}:seed004_keras", "article 004's Keras twin: a residual network of 3-3-3 blocks")
