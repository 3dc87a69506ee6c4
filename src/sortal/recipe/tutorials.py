"""The training scripts of the tutorials that the project grew from, as recipes, rebuilt as exactly as a recipe's fields allow.

The docstring of each names what differs and where the script contradicts itself. Three differences hold for all of them. Input
is normalised with the pretrained weights' own constants, or with those measured on the training split, where the scripts copy
constants by hand. The rate moves with every step, theirs with every epoch. And where a script picks its best epoch on the test
set, ours sets a tenth of the training images aside and picks on those.
"""

from sortal.recipe.augment import Augment
from sortal.recipe.learning import Best, Loss, Optimizer, Schedule, Stop
from sortal.recipe.model import Head, Recipe, Split, Thaw

# What plain training scripts do: one rate for all, every weight decayed, float32, images in planes.
PLAIN_SGD = Optimizer(name="sgd", momentum=0.9, weight_decay=5e-4, decay_all=True)
VALIDATION = Split(val=0.1)


def seed000_simple_cnn() -> Recipe:
    """Tutorial 000, `train_classifier` on SimpleCNN: SGD 0.1 with momentum and decay, cosine, 100 epochs of batches of 64.

    Its data section resizes CIFAR-10 to 224 pixels with ImageNet's constants while the network's comments count from 32;
    32 it is here. It starts at the full rate of 0.1 without the warm-up that its own list of tips asks for. Colour jitter
    turns brightness, contrast and saturation in this order, there in a random one. Not yet measured here.
    """
    return Recipe(
        model="simple_cnn",
        weights="none",
        strategy="scratch",
        image_size=32,
        epochs=100,
        batch_size=64,
        learning_rate=0.1,
        precision="float32",
        layout="nchw",
        augment=Augment(crop="resized", scale=(0.8, 1.0), flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2),
        optimizer=PLAIN_SGD,
        schedule=Schedule(name="cosine"),
        head=Head(dropout=0.5),
        best=Best(monitor="accuracy"),
        split=VALIDATION,
    )


def seed000_lenet5() -> Recipe:
    """Tutorial 000's LeNet-5 under its `train_classifier`, for grey digits of 28 pixels.

    Its docstring says that 400 numbers enter the first dense layer; its code, and ours, have 16 x 4 x 4 = 256. Its
    augmentation is written for colour photographs and mirrors images, which digits do not survive; there is none here.
    The rate of 0.1 is the function's default; the tutorial names no other for this network. As it stands not
    yet measured here; with 60 epochs and a warm-up, on scikit-learn's digits, 0.986 (`ladder` in docs/benchmarks.md).
    """
    return seed000_simple_cnn().model_copy(
        update={"model": "lenet5", "image_size": 28, "channels": 1, "augment": Augment(), "head": Head()}
    )


def seed000_resnet_cifar() -> Recipe:
    """Tutorial 000's ResNetCIFAR under its `train_classifier`; see `seed000_simple_cnn`. Not yet measured here.

    Its table of results speaks of ResNet-18, which this is not: three stages of two blocks, not four.
    """
    return seed000_simple_cnn().model_copy(update={"model": "resnet_cifar", "head": Head()})


def seed000_strong() -> Recipe:
    """Tutorial 000's `strong_augment` (crops from 8% of the area, AutoAugment's CIFAR-10 policy, erasing) on its ResNetCIFAR.

    The tutorial gives the list without a network to use it on; its 224 pixels are 32 here, as in `seed000_simple_cnn`, and
    the policy is the one for CIFAR-10. Not yet measured here.
    """
    strong = Augment(crop="resized", scale=(0.08, 1.0), flip=0.5, auto_augment="cifar10", erase=0.25)
    return seed000_resnet_cifar().model_copy(update={"augment": strong})


def seed000_transfer() -> Recipe:
    """Tutorial 000's `create_transfer_model`: ResNet-50 frozen, 512 hidden units, dropout 0.3, under its `train_classifier`.

    The tutorial leaves batch norms of the frozen part in training mode, so that its statistics drift though its weights
    do not; frozen here means unchanged. Four stored views an image stand for new crops in each epoch. The weights of 2015
    are timm's resnet50.tv_in1k, from the local cache, or with weights = 'hub' from the network. Not yet measured here.
    """
    return Recipe(
        model="resnet50.tv_in1k",
        strategy="features",
        epochs=100,
        batch_size=64,
        learning_rate=0.1,
        resize=256,
        augment=Augment(crop="resized", scale=(0.8, 1.0), flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2),
        optimizer=PLAIN_SGD,
        schedule=Schedule(name="cosine"),
        head=Head(kind="mlp", hidden=512, dropout=0.3),
        best=Best(monitor="accuracy"),
        split=VALIDATION,
    )


def seed001_keras_cnn() -> Recipe:
    """Tutorial 001's network from scratch, with its ImageDataGenerator and its early stopping; Adam at 0.001.

    `shear_range=0.2` means 0.2 degrees to Keras, next to nothing, and so here; probably a share was meant. Keras draws
    zooms for both axes, here one keeps the shape. ReduceLROnPlateau halves the rate after three epochs without a better
    loss, down to 1e-7, as its callbacks do. The tutorial gives no compile step for this network: optimizer and rate are
    those of its transfer section, epochs a bound that early stopping undercuts. Not yet measured here.
    """
    return Recipe(
        model="keras_cnn",
        weights="none",
        strategy="scratch",
        image_size=224,
        epochs=100,
        batch_size=32,
        learning_rate=1e-3,
        precision="float32",
        layout="nchw",
        augment=Augment(flip=0.5, rotate=20, translate=0.2, shear=0.2, zoom=0.2, fill="nearest"),
        optimizer=Optimizer(name="adam", weight_decay=0.0),
        schedule=Schedule(name="plateau", monitor="log_loss", factor=0.5, patience=3, floor=1e-4),
        head=Head(dropout=0.5),
        stop=Stop(monitor="log_loss", patience=10),
        best=Best(monitor="log_loss"),
        split=VALIDATION,
    )


def seed001_transfer() -> Recipe:
    """Tutorial 001's two steps: EfficientNet-B0 with a head of 256 at 1e-3 for ten epochs, then ten more with the rest at 1e-5.

    In its second step the first hundred Keras layers stay frozen. The hundredth stands in the last block of the fourth of
    seven stages; here the first four stages stay frozen, and what they give for four views of each image is computed
    once, where there each epoch draws new views. There the head, too, slows down to 1e-5; here it keeps its rate. Its
    generator divides pixels by 255 before a network that does so itself, so that it sees black; here the network gets
    what its weights were trained with. The weights are timm's. Not yet measured here.
    """
    return Recipe(
        model="efficientnet_b0",
        strategy="staged",
        image_size=224,
        epochs=20,
        batch_size=32,
        learning_rate=1e-3,
        precision="float32",
        augment=Augment(flip=0.5, rotate=20, translate=0.2, shear=0.2, zoom=0.2, fill="nearest"),
        optimizer=Optimizer(name="adam", weight_decay=0.0),
        schedule=Schedule(name="constant", head_only=0.5, thawed_rate=0.01),
        thaw=Thaw(stages=3),
        head=Head(kind="mlp", hidden=256, dropout=0.5),
        best=Best(monitor="accuracy"),
        split=VALIDATION,
    )


def seed002_cifar10() -> Recipe:
    """Tutorial 002's `train_cifar10`: CIFAR10CNN, shifts, mirrors and jitter, SGD 0.1, cosine, 100 epochs of batches of 128.

    It starts at the full rate of 0.1 with no warm-up, from which a network with a dense layer of 4096 x 512 and no norm
    after it may not get going; it is left so. Its goal for this network is 70-75% in one table and 75-80% in another.
    Not yet measured here in this form; at 0.05 with a warm-up and Nesterov's momentum it gives 0.8755 after 36 epochs (`ladder`
    in docs/benchmarks.md).
    """
    return Recipe(
        model="cifar10_cnn",
        weights="none",
        strategy="scratch",
        image_size=32,
        epochs=100,
        batch_size=128,
        learning_rate=0.1,
        precision="float32",
        layout="nchw",
        augment=Augment(crop="padded", padding=4, flip=0.5, brightness=0.2, contrast=0.2),
        optimizer=PLAIN_SGD,
        schedule=Schedule(name="cosine"),
        head=Head(dropout=0.5),
        best=Best(monitor="accuracy"),
        split=VALIDATION,
    )


def seed002_mixup() -> Recipe:
    """`seed002_cifar10` with mixup at alpha 0.2; each image draws its share, there a batch draws one. Not yet measured here."""
    base = seed002_cifar10()
    return base.model_copy(update={"augment": base.augment.model_copy(update={"mixup": 0.2})})


def seed002_cutmix() -> Recipe:
    """`seed002_cifar10` with cutmix at alpha 1; each image draws its box, there a batch draws one. Not yet measured here.

    The tutorial's function writes into the batch that it reads its partners from, so an image may get a piece that was
    pasted into its partner a moment before; here partners are as they came.
    """
    base = seed002_cifar10()
    return base.model_copy(update={"augment": base.augment.model_copy(update={"cutmix": 1.0})})


def seed002_transfer() -> Recipe:
    """Tutorial 002's transfer: pretrained ResNet-18, first convolution 3x3 with stride 1, no first pooling, on 32 pixels.

    As in the tutorial the first convolution is a new, random one; stem = 'small' would resample the pretrained kernel. It names
    no rate for this network; SGD at 0.1 as in its training loop would undo what was learnt before, so a tenth is set. The
    weights are timm's resnet18.tv_in1k, from the local cache, or with weights = 'hub' from the network. Not yet measured
    here.
    """
    return seed002_cifar10().model_copy(
        update={
            "model": "resnet18.tv_in1k",
            "weights": "default",
            "strategy": "full",
            "stem": "small_random",
            "learning_rate": 0.01,
            "epochs": 30,
            "head": Head(),
        }
    )


def seed003_features() -> Recipe:
    """Guide 003's first strategy: ResNet-50 frozen, a new last layer at 1e-3, its basic augmentations, its band of 10k to 100k.

    That band (batch 64, 50 epochs, decay 1e-4, dropout 0.3) goes with the rate of 1e-3; its band below 10k names 1e-4 for
    every kind of transfer, and elsewhere 1e-4 for full fine-tuning alone. Four stored views an image stand for new crops
    in each epoch. Not yet measured here.
    """
    return Recipe(
        model="resnet50.tv_in1k",
        strategy="features",
        epochs=50,
        batch_size=64,
        learning_rate=1e-3,
        resize=256,
        augment=Augment(crop="resized", scale=(0.08, 1.0), flip=0.5, rotate=15, brightness=0.2, contrast=0.2),
        optimizer=Optimizer(name="adam", weight_decay=1e-4, decay_all=True),
        schedule=Schedule(name="cosine"),
        head=Head(dropout=0.3),
    )


def seed003_last_layers() -> Recipe:
    """Guide 003's second strategy: layer4 of ResNet-50 and a new last layer are trained, all before them stays frozen.

    The guide freezes by name, and so does this; it leaves the frozen batch norms in training mode, here their statistics
    stay. It names no rate for this strategy; 1e-4 is what its band below 10k images has for every kind of transfer. Where
    the stores have room, what layer3 gives for four views of each image is computed once, 0.8 MB a view; else each epoch
    draws new crops, as there. The rest is as in `seed003_full`. Not yet measured here.
    """
    return seed003_full().model_copy(update={"strategy": "last_layers", "thaw": Thaw(names=("layer4",))})


def seed003_progressive() -> Recipe:
    """Guide 003's fourth strategy: the head alone for two epochs, with layer4 for two more, then all of ResNet-50.

    The guide gives the epochs in comments and no rate; 1e-4 is that of its full fine-tuning, for the head too. The rest is as
    in `seed003_full`. Not yet measured here.
    """
    return seed003_full().model_copy(update={"strategy": "progressive"})


def seed003_full() -> Recipe:
    """Guide 003's third strategy: all of ResNet-50 at 1e-4 from the start, with its band below 10k images.

    Adam's coupled decay, early stopping after five epochs and label smoothing of 0.1 are its own. Not yet measured here.
    """
    return Recipe(
        model="resnet50.tv_in1k",
        strategy="full",
        epochs=50,
        batch_size=32,
        learning_rate=1e-4,
        resize=256,
        augment=Augment(crop="resized", scale=(0.08, 1.0), flip=0.5, rotate=15, brightness=0.2, contrast=0.2),
        optimizer=Optimizer(name="adam", weight_decay=1e-3, decay_all=True),
        schedule=Schedule(name="cosine"),
        loss=Loss(label_smoothing=0.1),
        head=Head(dropout=0.5),
        stop=Stop(monitor="log_loss", patience=5),
        best=Best(monitor="log_loss"),
        split=VALIDATION,
    )


def seed003_albumentations() -> Recipe:
    """`seed003_full` with guide 003's advanced augmentations, which it writes with albumentations. Not yet measured here.

    Numbers that the guide leaves to defaults are those of albumentations 1.3: each step for half of the images, noise of 3 to
    7 shades, Gaussians of 0.8 to 1.4 pixels, lines of up to 7. Its Flip mirrors along one axis or both, which here are two
    mirrors of a third each; its ShiftScaleRotate does all three or none, where each has a draw of its own here. Its elastic
    distortion by default moves pixels by thousandths of one, so that of torchvision is taken. Mirrors and turns of all kinds
    suit images from above or through a microscope, and few others.
    """
    advanced = Augment(
        order=(
            "quarter_turns", "flip", "vertical_flip", "rotate", "zoom", "translate",
            "noise", "blur", "motion_blur", "optical", "grid", "elastic",
        ),
        one_of=(("noise", "blur", "motion_blur"), ("optical", "grid", "elastic")),
        one_of_chance=0.5,
        chance={"rotate": 0.5, "zoom": 0.5, "translate": 0.5},
        quarter_turns=0.5,
        flip=1 / 3,
        vertical_flip=1 / 3,
        rotate=45,
        zoom=0.1,
        translate=0.0625,
        noise=(0.0124, 0.0277),
        blur=(0.8, 1.4),
        motion_blur=7,
        optical=0.05,
        grid=0.3,
        elastic=50,
        fill="reflect",
    )  # fmt: skip
    return seed003_full().model_copy(update={"augment": advanced})


def seed004_resnet18() -> Recipe:
    """Article 004: ResNet-18 with a small stem from scratch, AdamW at 1e-3, RandAugment, erasing, warm-up over five epochs.

    The rate rises from 1e-5 and falls along a cosine to 1e-6; gradients are clipped to 1, labels smoothed by 0.1, and
    every weight decays by 0.05 times the rate. The last epoch is what it ends with. Not yet measured here.
    """
    return Recipe(
        model="resnet18",
        weights="none",
        strategy="scratch",
        stem="small",
        image_size=32,
        epochs=100,
        batch_size=128,
        learning_rate=1e-3,
        precision="float32",
        layout="nchw",
        augment=Augment(
            crop="padded",
            padding=4,
            flip=0.5,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
            rand_augment=2,
            rand_magnitude=9,
            erase=0.25,
        ),
        optimizer=Optimizer(name="adamw", weight_decay=0.05, decay_all=True, clip=1.0),
        schedule=Schedule(name="cosine", warmup=0.05, start=0.01, floor=1e-3),
        loss=Loss(label_smoothing=0.1),
    )


def seed004_keras() -> Recipe:
    """Article 004's Keras version, on torch: its residual network of 3-3-3 blocks, AdamW at 1e-3, shifts, zooms and contrast.

    It is called a comparison with ResNet-18 but is another network with other augmentation, without clipping. Its warm-up
    rises from 1e-3 to 1e-3, that is, not at all, and `alpha=1e-6` is a share of the rate, so it ends at 1e-9, not at the
    1e-6 of the torch version. Keras turns contrast about each channel's own mean, here about the mean grey. Not yet
    measured here.
    """
    return Recipe(
        model="resnet_333",
        weights="none",
        strategy="scratch",
        image_size=32,
        epochs=100,
        batch_size=128,
        learning_rate=1e-3,
        precision="float32",
        layout="nchw",
        augment=Augment(flip=0.5, translate=0.1, zoom=0.1, fill="reflect", contrast=0.2),
        optimizer=Optimizer(name="adamw", weight_decay=0.05, decay_all=True),
        schedule=Schedule(name="cosine", warmup=0.05, start=1.0, floor=1e-6),
        loss=Loss(label_smoothing=0.1),
    )
