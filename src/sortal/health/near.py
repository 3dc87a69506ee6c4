"""Near copies: pictures whose 64-bit perceptual hashes differ in a bit or two, found without comparing all pairs.

Hashes are cut into six blocks. Two that differ in at most three bits agree in at least three blocks, so it is enough to
compare those that agree in some three: twenty sorts, each on about half of the bits (Manku, Jain and Das Sarma 2007,
'Detecting near-duplicates for web crawling'; Norouzi, Punjani and Fleet 2012 index single blocks, which photographs of one
kind of thing fill with thousands).

A small distance alone proves little. Where every picture shows a shoe from the left, strangers are as near as copies: of the
69,469 different hashes of Fashion-MNIST 12,098 pairs differ in two bits, though nearly all are different shoes. So a match
counts only if both hashes stand alone otherwise, that is, if hardly any hash stands a little further off: 32 pairs are left,
nearly all the same article photographed once more. It is the argument of Lowe's ratio test (2004) for local features.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAR = 3
"""Bits. Of 200 photographs saved again (quality 90, 50, 20), halved, shrunk to 100 pixels or made a tenth brighter, 97 to
100% move by 2 bits or fewer; unrelated photographs differ in 32 bits on average."""
AROUND = 12
"""Bits within which a hash's surroundings are judged."""
COMPANY = 2
"""Hashes of the sample that may stand between NEAR and AROUND: a picture may have a further, more altered version or two."""
SAMPLE = 4_096
"""Hashes that surroundings are judged on: work for N of them grows as N, not as N squared."""
SHARED = 10
"""Different pictures with one and the same hash beyond which it says nothing of them: flat or nearly flat images."""
BLANK_BITS = 8
"""A hash with fewer bits set, or with fewer not set, is that of a picture without structure."""

BLOCKS = ((0, 11), (11, 22), (22, 33), (33, 44), (44, 54), (54, 64))  # from bit, to bit
AGREEING = len(BLOCKS) - NEAR


def near_groups(phashes_N: NDArray[np.uint64], contents_N: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Groups of rows that show nearly the same picture, each sorted, in order of their first row.

    `contents_N` numbers the files' contents: byte-identical rows share a number. A group holds at least two contents.
    Groups are chains: each member is near another one. The result depends on the rows alone, and on their order.
    """
    hashes_U, which_N = np.unique(phashes_N, return_inverse=True)
    telling_U = _telling(hashes_U, which_N, contents_N)
    kept_M = np.flatnonzero(telling_U)
    pairs_P2 = kept_M[near_pairs(hashes_U[kept_M])]
    chain_U = chains(len(hashes_U), pairs_P2)
    chain_N = np.where(telling_U[which_N], chain_U[which_N], -1)
    runs = _runs(np.argsort(chain_N, kind="stable"), chain_N)
    groups = [rows for rows in runs if chain_N[rows[0]] >= 0 and len(np.unique(contents_N[rows])) > 1]
    return sorted(groups, key=lambda rows: int(rows[0]))


def near_pairs(hashes_U: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs (i, j), i < j, of different hashes at most NEAR bits apart, shape (P, 2); every such pair, each once."""
    found = [np.empty((0, 2), np.int64)]
    for chosen in combinations(BLOCKS, AGREEING):
        mask = np.uint64(sum(((1 << (high - low)) - 1) << low for low, high in chosen))
        keys_U = hashes_U & mask
        order = np.argsort(keys_U, kind="stable")
        found.extend(_compared(hashes_U, rows) for rows in _runs(order, keys_U))
    return np.unique(np.concatenate(found), axis=0)


def _runs(order_N: NDArray[np.int64], values_N: NDArray[Any]) -> list[NDArray[np.int64]]:
    """The stretches of rows, already in order of their values, that share a value: those of two rows and more."""
    if not len(order_N):
        return []
    ends = np.append(np.flatnonzero(np.diff(values_N[order_N])) + 1, len(order_N))
    starts = np.append(0, ends[:-1])
    several = ends - starts > 1
    return [order_N[start:end] for start, end in zip(starts[several], ends[several], strict=True)]


def _compared(hashes_U: NDArray[np.uint64], rows_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pairs within NEAR bits among a few rows, a slab at a time so that memory stays small."""
    found = []
    for start in range(0, len(rows_B), 256):
        slab = rows_B[start : start + 256]
        near = np.bitwise_count(hashes_U[slab, None] ^ hashes_U[None, rows_B]) <= NEAR
        left, right = np.nonzero(near & (slab[:, None] < rows_B[None]))
        found.append(np.stack([slab[left], rows_B[right]], axis=1))
    return np.concatenate(found)


def _telling(hashes_U: NDArray[np.uint64], which_N: NDArray[np.int64], contents_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which hashes tell their picture from others: not blank, not shared by many pictures, not in a crowd."""
    bits_U = np.bitwise_count(hashes_U)
    pictures = np.unique(np.stack([which_N, contents_N], axis=1), axis=0)
    shared_U = np.bincount(pictures[:, 0], minlength=len(hashes_U))
    telling_U: NDArray[np.bool_] = (bits_U >= BLANK_BITS) & (bits_U <= 64 - BLANK_BITS) & (shared_U <= SHARED)
    sample_S = hashes_U[np.random.default_rng(0).permutation(len(hashes_U))[:SAMPLE]]
    for start in range(0, len(hashes_U), 256):
        distances = np.bitwise_count(hashes_U[start : start + 256, None] ^ sample_S[None])
        telling_U[start : start + 256] &= ((distances > NEAR) & (distances <= AROUND)).sum(axis=1) <= COMPANY
    return telling_U


def chains(count: int, pairs_P2: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of `count` hashes the smallest one that it is linked to, over any number of pairs."""
    chain = list(range(count))

    def root(one: int) -> int:
        while chain[one] != one:
            chain[one] = chain[chain[one]]
            one = chain[one]
        return one

    for left, right in pairs_P2.tolist():
        low, high = sorted((root(left), root(right)))
        chain[high] = low
    return np.array([root(one) for one in range(count)], dtype=np.int64)
