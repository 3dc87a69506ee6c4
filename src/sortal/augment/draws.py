"""Random numbers that depend on where we are, not on what ran before: a draw is a function of (seed, epoch, key, name).

The generator is Philox-4x32 with ten rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
3", SC 2011): a keyed bijection of a 128-bit counter, so any number can be had without those before it. The counter
holds the sample's key, hence draws do not change with the order of samples, the batch they are in, the number of
workers or the device.
"""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, by which the round keys advance
ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def uniform(seed: int, epoch: int, keys_N: NDArray[np.uint64], name: str, count: int = 1) -> NDArray[np.float32]:
    """Uniform draws in [0, 1), float32 with 24 random bits: shape (N,) for `count` 1, else (N, count).

    Draw i of a key is the same whatever `count` is; other keys, names, epochs and seeds give independent draws.
    """
    words_NB = _words(seed, epoch, keys_N, name, count)
    # 24 bits fill a float32 exactly; with 32 the largest draws would round up to 1.
    draws_NB = (words_NB >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
    return draws_NB[:, 0] if count == 1 else draws_NB


def grains(seed: int, epoch: int, keys_N: NDArray[np.uint64], name: str, count: int) -> NDArray[np.float32]:
    """Uniform draws in (0, 1) of shape (N, count), two to a random word: for a number a pixel, where 16 bits are enough."""
    halves_ND = _words(seed, epoch, keys_N, name, -(-count // 2)).astype("<u4", copy=False).view("<u2")[:, :count]
    return (halves_ND.astype(np.float32) + np.float32(0.5)) * np.float32(2**-16)


def normals(seed: int, epoch: int, keys_N: NDArray[np.uint64], name: str, count: int) -> NDArray[np.float32]:
    """Standard normal draws of shape (N, count), none beyond 4.9, by Box and Muller (1958): two grains make two of them."""
    grains_NP2 = grains(seed, epoch, keys_N, name, 2 * -(-count // 2)).reshape(len(keys_N), -1, 2)
    radius_NP = np.sqrt(-2 * np.log(grains_NP2[:, :, 0]))
    angle_NP = np.float32(2 * np.pi) * grains_NP2[:, :, 1]
    both_NP2 = np.stack([radius_NP * np.cos(angle_NP), radius_NP * np.sin(angle_NP)], axis=2)
    return both_NP2.reshape(len(keys_N), -1)[:, :count]


def integers(uniform_N: NDArray[np.float32], low: NDArray[Any] | int, high: NDArray[Any] | int) -> NDArray[np.int64]:
    """Whole numbers from `low` to `high`, both included, from uniform draws; bounds may differ by sample."""
    width = np.asarray(high, dtype=np.float64) - low + 1
    whole: NDArray[np.int64] = (np.floor(uniform_N.astype(np.float64) * width) + low).astype(np.int64)
    return whole


def permutation(seed: int, epoch: int, n: int, name: str) -> NDArray[np.int64]:
    """An order of 0..n-1, int64 of shape (n,): indices sorted by 64 random bits each, then by index."""
    high_and_low = _words(seed, epoch, np.arange(n, dtype=np.uint64), name, 2).astype(np.uint64)
    return np.argsort((high_and_low[:, 0] << HALF) | high_and_low[:, 1], kind="stable").astype(np.int64)


def beta(alpha: float, uniform_N: NDArray[Any]) -> NDArray[np.float64]:
    """Draws of Beta(alpha, alpha) from uniform ones by the inverse distribution function: one number makes one draw."""
    from scipy.special import betaincinv

    return np.asarray(betaincinv(alpha, alpha, np.asarray(uniform_N, dtype=np.float64)), dtype=np.float64)


def step_seed(seed: int, step: int) -> int:
    """A seed in 0..2**63-1 for the randomness inside a network (dropout) at one step of the training."""
    return int.from_bytes(_digest("step", seed, step, "")[:8], "little") >> 1


def philox(counter_N4: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox-4x32-10: the random words, uint32 of shape (N, 4), of N counters under a key of two 32-bit words."""
    c0, c1, c2, c3 = (counter_N4[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = (product1 >> HALF) ^ c1 ^ np.uint64(k0), (product0 >> HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = product1 & LOW, product0 & LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def _words(seed: int, epoch: int, keys_N: NDArray[np.uint64], name: str, count: int) -> NDArray[np.uint32]:
    """`count` random words of each key, uint32 of shape (N, count).

    Twelve bytes of a digest of (seed, epoch, name) make the Philox key and one word of the counter; the sample's key
    fills two words, and the number of the block of four draws the last.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    keys_N = np.asarray(keys_N, dtype=np.uint64)
    k0, k1, salt = np.frombuffer(_digest("draw", seed, epoch, name)[:12], dtype="<u4").tolist()
    blocks = -(-count // 4)
    counter_NB4 = np.empty((len(keys_N), blocks, 4), dtype=np.uint32)
    counter_NB4[:, :, 0] = (keys_N & LOW)[:, None]
    counter_NB4[:, :, 1] = (keys_N >> HALF)[:, None]
    counter_NB4[:, :, 2] = np.arange(blocks, dtype=np.uint32)
    counter_NB4[:, :, 3] = salt
    return philox(counter_NB4.reshape(-1, 4), (k0, k1)).reshape(len(keys_N), blocks * 4)[:, :count]


@lru_cache(maxsize=1024)
def _digest(purpose: str, seed: int, position: int, name: str) -> bytes:
    return hashlib.blake2b(f"{purpose}/{int(seed)}/{int(position)}/{name}".encode(), digest_size=16).digest()
