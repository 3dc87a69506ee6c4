"""Limits: how much anyone may ask of the server at once, and for how long."""

import os
from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold whoever asks. All are checked before the work that they bound is begun."""

    body: int = 16 * MEBIBYTE
    """Bytes of one request's body."""
    bodies: int = 256 * MEBIBYTE
    """Bytes of all bodies that are held at the same time."""
    pixels: int = 50_000_000
    """Width times height of an image, by its header; the bundle's own limit may be lower."""
    decode_seconds: float = 1.5
    """Of a processor, for decoding one image; then the process that does it is ended."""
    decode_bytes: int = 512 * MEBIBYTE
    """Memory that decoding one image may take beyond what the idle process has."""
    parts: int = 32
    """Parts of a multipart body."""
    images: int = 16
    """Images of one request to /predict."""
    tensors: int = 256
    """Images of one inference request of the Open Inference Protocol."""
    queue: int = 512
    """Images that were let in and are not answered yet."""
    connections: int = 1024
    deadline: float = 10.0
    """Seconds from when a request is whole to its answer; what cannot be answered by then is refused at once."""
    stall_seconds: float = 1.5
    """How long a sender may be behind `bytes_per_second`, counted from the head."""
    bytes_per_second: int = 16_384
    """What a body has to arrive with; a phone on a bad connection does."""
    body_seconds: float = 30.0
    """For a whole body, however steadily it comes."""
    head_seconds: float = 2.0
    """For a request's head, from its first byte or the connection's beginning."""
    drain_seconds: float = 30.0
    """After SIGTERM, for what was let in."""


def cores() -> int:
    """The cores that this process may use, which in a container or under taskset are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
