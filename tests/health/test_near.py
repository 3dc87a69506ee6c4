import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageEnhance

from sortal.data.phash import perceptual_hashes
from sortal.health.near import NEAR, near_groups, near_pairs


def random_hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def groups(phashes, contents=None) -> list[list[int]]:
    phashes = np.asarray(phashes, np.uint64)
    contents = np.arange(len(phashes)) if contents is None else np.asarray(contents)
    return [rows.tolist() for rows in near_groups(phashes, contents)]


def flipped(value, *bits: int) -> int:
    value = int(value)
    for bit in bits:
        value ^= 1 << int(bit)
    return value


# Hashes from a narrow range, so that there are many near pairs to find or to miss.
crowded = arrays(np.uint64, st.integers(0, 40), elements=st.integers(0, 2**64 - 1) | st.integers(0, 255))


@given(crowded)
def test_the_pairs_found_are_those_that_comparing_all_would_find(hashes):
    hashes = np.unique(hashes)
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = [(i, j) for i, j in np.argwhere(distances <= NEAR).tolist() if i < j]
    assert [tuple(pair) for pair in near_pairs(hashes).tolist()] == sorted(expected)


def test_three_bits_apart_is_near_wherever_the_bits_are_and_four_is_not():
    base = random_hashes(1)[0]
    for bits in [(0, 1, 2), (0, 30, 63), (10, 11, 22), (61, 62, 63)]:
        assert groups([base, flipped(base, *bits)]) == [[0, 1]]
        assert groups([base, flipped(base, *bits, 40)]) == []


def test_strangers_are_not_near():
    assert groups(random_hashes(5_000)) == []


def test_a_chain_of_near_hashes_is_one_group_in_order_of_rows():
    base = random_hashes(1)[0]
    assert groups([flipped(base, 1, 2, 3, 4), random_hashes(1, 9)[0], base, flipped(base, 1, 2)]) == [[0, 2, 3]]


def test_byte_identical_rows_alone_are_no_near_copies_but_join_those_that_are():
    base = random_hashes(1)[0]
    assert groups([base, base], contents=[7, 7]) == []
    assert groups([base, base, flipped(base, 5)], contents=[7, 7, 8]) == [[0, 1, 2]]


def test_different_files_with_the_same_hash_are_near():
    base = random_hashes(1)[0]
    assert groups([base, base]) == [[0, 1]]


@pytest.mark.parametrize("blank", [0, 1, 2**64 - 1, 0b101_0101])
def test_blank_pictures_are_nobodys_copies(blank):
    assert groups([blank, blank, flipped(blank, 3)]) == []


def test_a_hash_that_many_pictures_share_says_nothing_of_them():
    base = random_hashes(1)[0]
    assert groups([base] * 10) == [list(range(10))]
    assert groups([base] * 11) == []
    assert groups([base] * 500, contents=[0] * 499 + [1]) == [list(range(500))]  # one picture 499 times, saved again once


def test_near_pictures_in_a_crowd_of_lookalikes_are_not_called_copies():
    rng = np.random.default_rng(1)
    base = random_hashes(1)[0]
    crowd = [flipped(base, *rng.choice(64, 5, replace=False)) for _ in range(60)]  # ten bits from one another
    pair = [base, flipped(base, 0, 1)]
    assert groups(pair) == [[0, 1]]
    assert groups(pair + crowd) == []


def test_a_further_more_altered_version_does_not_hide_near_copies():
    base = random_hashes(1)[0]
    assert groups([base, flipped(base, 0), flipped(base, *range(10, 18))]) == [[0, 1]]


def test_no_rows_make_no_groups():
    assert groups([]) == []
    assert near_pairs(np.array([], np.uint64)).shape == (0, 2)


def test_sixty_thousand_flat_or_alike_pictures_are_not_compared_in_pairs(monkeypatch):
    compared = []
    from sortal.health import near

    plain = near._compared
    monkeypatch.setattr(near, "_compared", lambda hashes, rows: compared.append(len(rows) ** 2) or plain(hashes, rows))
    one = np.zeros(60_000, np.uint64)
    alike = random_hashes(60_000) & np.uint64(0xFFFF) | (np.uint64(0x9A3C_55F0) << np.uint64(20))
    assert groups(one) == groups(alike) == []
    assert sum(compared) < 60_000 * 100  # all pairs would be 3,600,000,000


def saved_again(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def test_pictures_saved_again_halved_or_brightened_are_near_copies_and_others_are_not():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 9, 12, 3), dtype=np.uint8)  # a dozen pictures of soft coloured patches
    pictures = [Image.fromarray(each).resize((320, 240), Image.Resampling.BICUBIC) for each in coarse]
    altered = [
        saved_again(pictures[0], 50),
        saved_again(pictures[1].resize((160, 120)), 75),
        ImageEnhance.Brightness(pictures[2]).enhance(1.05),
        pictures[3].convert("L"),
    ]
    hashes = perceptual_hashes(pictures + altered)
    assert groups(hashes) == [[0, 12], [1, 13], [2, 14], [3, 15]]
