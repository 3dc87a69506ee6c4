"""The perceptual hash stays near when a picture is resized or recompressed, and far between pictures."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sortal.data.phash import perceptual_hashes


def perceptual_hash(image: Image.Image) -> int:
    (hashed,) = perceptual_hashes([image])
    return hashed


def scene(seed: int) -> Image.Image:
    """Something with large shapes, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((320, 240), Image.Resampling.BICUBIC)


def differing_bits(one: Image.Image, other: Image.Image) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


def recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize(
    "change", [recompressed, lambda image: image.resize((100, 75)), lambda image: image.filter(ImageFilter.GaussianBlur(2))]
)
def test_a_changed_copy_has_nearly_the_same_hash(change) -> None:  # type: ignore[no-untyped-def]
    assert max(differing_bits(scene(seed), change(scene(seed))) for seed in range(10)) <= 6


def test_different_pictures_have_far_hashes() -> None:
    assert min(differing_bits(scene(seed), scene(seed + 1)) for seed in range(10)) > 12


def test_even_pictures_all_have_one_hash() -> None:
    hashes = {perceptual_hash(Image.new("RGB", (50, 30), colour)) for colour in ("red", "white", "grey")}
    assert len(hashes) == 1


def test_the_hash_is_an_unsigned_64_bit_number_that_never_changes() -> None:
    assert perceptual_hash(scene(0)) == 18201378034144292411


def test_the_transform_is_the_discrete_cosine_transform_by_its_definition() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1)))
    # A ramp from left to right has frequencies in that direction only: all other bits equal each other.
    bits = np.unpackbits(np.frombuffer(perceptual_hash(ramp).to_bytes(8, "big"), np.uint8)).reshape(8, 8)
    assert not bits[1:].any()
    assert bits[0].any()


def test_images_hashed_together_have_the_hashes_that_each_has_alone():
    images = [scene(seed) for seed in range(4)] + [Image.new("RGB", (7, 90), "blue")]
    assert perceptual_hashes(images) == [perceptual_hash(image) for image in images]
    assert perceptual_hashes([]) == []
