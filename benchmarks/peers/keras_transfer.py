"""Transfer learning as Keras's guide writes it: a frozen network, cached pictures, a new dense layer, twenty epochs of Adam.

From https://keras.io/guides/transfer_learning/: pictures of one size, cached and in batches of 32, mirrored and turned at
random; dropout of 0.2 before the dense layer. EfficientNetB0 at 224 pixels stands in the place of Xception, and it starts
without weights, which cannot be had without a network: its epochs take as long as with them, and its accuracy says nothing.
The guide's second training, with all layers thawed, is left out.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "2"

import keras  # noqa: E402 - which backend, it asks when it is imported
import tensorflow as tf  # noqa: E402

SIDE, BATCH = 224, 32
VERSIONS = {"keras": keras.__version__, "tensorflow": tf.__version__}


class Tell(keras.callbacks.Callback):  # type: ignore[misc]
    """Print each epoch's time, with the evaluation inside it, and its accuracy as a JSON line."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        line = {
            "epoch": epoch + 1, "seconds": time.perf_counter() - self.began, "accuracy": float(logs["val_accuracy"]),
            "loss": float(logs["loss"]), "versions": VERSIONS,
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def pictures(folder: Path, *, shuffle: bool) -> Any:
    """Batches of pictures and class numbers, decoded in the first epoch and held in memory from then on."""
    found = keras.utils.image_dataset_from_directory(folder, image_size=(SIDE, SIDE), batch_size=None, shuffle=shuffle, seed=0)
    return found.class_names, found.cache().batch(BATCH).prefetch(buffer_size=10)


def network(classes: int) -> Any:
    """EfficientNetB0, which scales its own pixels, frozen and in inference mode, under a dense layer of so many outputs."""
    base = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    base.trainable = False
    inputs = keras.Input(shape=(SIDE, SIDE, 3))
    varied = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1)])(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(base(varied, training=False))
    return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.Dropout(0.2)(pooled)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/, one folder a class in each")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)

    classes, train = pictures(options.data / "train", shuffle=True)
    _, val = pictures(options.data / "val", shuffle=False)
    model = network(len(classes))
    model.compile(
        optimizer=keras.optimizers.Adam(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )  # fmt: skip
    model.fit(train, epochs=options.epochs, validation_data=val, callbacks=[Tell()], verbose=0)


if __name__ == "__main__":
    main()
