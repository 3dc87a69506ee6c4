"""CIFAR as it is published, in small: binary records, and pickles operation by operation as Python 2 wrote them."""

import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from sortal.data import cifar

EACH = {"train": 10, "test": 2}
FINE = [f"fine_{number}" for number in range(100)]
CIFAR_10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def small(name: str) -> cifar.CifarSet:
    """The set with 10 training and 2 test images a class (of CIFAR-100's 20 groups: 50 and 10)."""
    wanted = cifar.SETS[name]
    classes = 10 if name == "cifar-10" else 100
    labels = {
        key: replace(kind, each={split: count * (5 if key == "coarse" else 1) for split, count in EACH.items()})
        for key, kind in wanted.labels.items()
    }
    rows = {split: classes * EACH[split] // len(wanted.binary.files[split]) for split in EACH}
    return replace(wanted, labels=labels, rows=rows)


def batches(name: str) -> dict[str, dict[str, np.ndarray]]:
    """Images and labels of each file with images, by its name in the binary version; every image shows who it is."""
    wanted = small(name)
    made = {}
    for split in EACH:
        classes = 10 if name == "cifar-10" else 100
        total = classes * EACH[split]
        # Sorted by class, so that no batch has all classes: what is in the wrong place changes the counts of the classes.
        fine = np.repeat(np.arange(classes, dtype=np.uint8), EACH[split])
        if split == "test":
            fine = np.tile(np.arange(classes, dtype=np.uint8), EACH[split])
        images = np.random.default_rng(total).integers(0, 256, (total, 3, 32, 32), dtype=np.uint8)
        images[:, 0, 0, 0], images[:, 1, 0, 0], images[:, 2, 0, 0] = fine, np.arange(total) % 256, split == "test"
        for number, file in enumerate(wanted.binary.files[split]):
            rows = slice(number * wanted.rows[split], (number + 1) * wanted.rows[split])
            made[file] = {"images": images[rows], "fine": fine[rows], "coarse": fine[rows] // 5}
    return made


def write_binary(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, batch in batches(name).items():
        columns = [batch["fine"][:, None], batch["images"].reshape(len(batch["fine"]), -1)]
        if name == "cifar-100":
            columns.insert(0, batch["coarse"][:, None])
        (folder / file).write_bytes(np.concatenate(columns, axis=1).tobytes())
    for file, names in names_files(name).items():
        (folder / file).write_text("\n".join(names) + "\n\n")
    return folder


def names_files(name: str) -> dict[str, list[str]]:
    if name == "cifar-10":
        return {"batches.meta.txt": CIFAR_10}
    return {"fine_label_names.txt": FINE, "coarse_label_names.txt": [f"coarse_{number}" for number in range(20)]}


def write_python(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = small(name)
    for file, batch in batches(name).items():
        said = "testing batch 1 of 1" if file.startswith("test") else f"training batch {file[-5]} of 5"
        content = {"batch_label": said, "data": batch["images"].reshape(len(batch["fine"]), -1)}
        if name == "cifar-10":
            content["labels"] = batch["fine"].tolist()
        else:
            content |= {"fine_labels": batch["fine"].tolist(), "coarse_labels": batch["coarse"].tolist()}
        content["filenames"] = [f"picture_{number:06}.png" for number in range(len(batch["fine"]))]
        (folder / file.removesuffix(".bin")).write_bytes(python_2(content))
    names = list(names_files(name).values())
    keys = ["label_names"] if name == "cifar-10" else ["fine_label_names", "coarse_label_names"]
    meta = {"num_vis": 3072, **dict(zip(keys, names, strict=True))}
    (folder / wanted.names_file).write_bytes(python_2(meta))
    return folder


def pack(folder: Path, archive: Path) -> Path:
    """A tar.gz with the folder in it, in an order of its own, as the published ones are."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir(), key=lambda path: path.name[::-1]):
            info = tarfile.TarInfo(f"{folder.name}/{path.name}")
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    return archive


def python_2(content: dict) -> bytes:
    """A pickle as Python 2's cPickle wrote it, protocol 2, with NumPy of that time."""
    writer = _Python2()
    return b"\x80\x02" + writer.value(content) + b"."


class _Python2:
    def __init__(self) -> None:
        self.count = 0

    def put(self) -> bytes:
        self.count += 1
        return b"q" + bytes([self.count]) if self.count < 256 else b"r" + struct.pack("<I", self.count)

    def value(self, value) -> bytes:
        if isinstance(value, dict):
            pairs = b"".join(self.value(key) + self.value(item) for key, item in value.items())
            return b"}" + self.put() + b"(" + pairs + b"u"
        if isinstance(value, list):
            return b"]" + self.put() + b"(" + b"".join(self.value(item) for item in value) + b"e"
        if isinstance(value, str):
            return b"U" + bytes([len(value)]) + value.encode() + self.put()
        if isinstance(value, int):
            return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)
        return self.array(value)

    def array(self, values: np.ndarray) -> bytes:
        empty = b"cnumpy.core.multiarray\n_reconstruct\n" + self.put() + b"cnumpy\nndarray\n" + self.put()
        empty += b"K\x00\x85" + self.put() + b"U\x01b" + self.put() + b"\x87" + self.put() + b"R" + self.put()
        kind = b"cnumpy\ndtype\n" + self.put() + b"U\x02u1" + self.put() + b"K\x00K\x01\x87" + self.put() + b"R" + self.put()
        kind += b"(K\x03U\x01|" + self.put() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t" + self.put() + b"b"
        shape = b"".join(self.value(size) for size in values.shape) + b"\x86" + self.put()
        data = values.tobytes()
        return empty + b"(K\x01" + shape + kind + b"\x89T" + struct.pack("<i", len(data)) + data + self.put() + b"tb"
