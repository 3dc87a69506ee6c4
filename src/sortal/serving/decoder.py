"""The process that decodes images for the server: it can open no file, and may be ended at any moment.

What a decoder written in C does with bytes that a stranger sent can be bounded in time and memory, and survived when it goes
wrong, only in a process of its own. It is started as `python -m sortal.serving.decoder SOCKET MEMORY BYTES` and imports the one
preprocessing, nothing else of the server. Images come and pixels go through memory that both processes see.
"""

import contextlib
import io
import json
import mmap
import os
import signal
import socket
import struct
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sortal.errors import UnreadableImage
from sortal.preprocess import FORMATS, Preprocess, TooManyPixels, network_pixels, stored_pixels

ASKED = struct.Struct("!II")
"""Length of the preprocessing as JSON, which follows, and of the image's bytes, which lie in the memory."""
TOLD = struct.Struct("!BI")
"""What came of it, and the length of what lies in the memory: pixels (uint8, S x S x C), or the reason as UTF-8."""
PIXELS, UNREADABLE, TOO_MANY_PIXELS, TOO_MUCH_MEMORY = range(4)
READY = b"\x01"


def main(descriptor: int, memory: int, allowed_bytes: int) -> None:
    """Answer until the other end is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server that drains still needs this process; it ends it by closing
    connection = socket.socket(fileno=descriptor)
    shared = mmap.mmap(memory, os.fstat(memory).st_size)
    os.close(memory)
    load_all()
    confine(allowed_bytes)
    connection.sendall(READY)
    while head := exactly(connection, ASKED.size):
        length, size = ASKED.unpack(head)
        kind, payload = decoded(bytes(exactly(connection, length)), shared[:size])
        shared[: len(payload)] = payload
        connection.sendall(TOLD.pack(kind, len(payload)))


def decoded(about: bytes, data: bytes) -> tuple[int, bytes]:
    """One image: what came of it, and the network's pixels or the reason."""
    try:
        preprocess = preprocessing(about)
        pixels_SSC: NDArray[np.uint8] = network_pixels(stored_pixels(data, preprocess)[None], preprocess)[0]
        return PIXELS, pixels_SSC.tobytes()
    except TooManyPixels as error:
        return TOO_MANY_PIXELS, str(error).encode()
    except UnreadableImage as error:
        # A decoder's message may quote the file; whoever reads it gets text, and not much of it.
        return UNREADABLE, str(error).encode("utf-8", "replace")[:500]
    except MemoryError:
        return TOO_MUCH_MEMORY, b"decoding it takes more memory than is allowed"


@lru_cache(maxsize=64)
def preprocessing(about: bytes) -> Preprocess:
    return Preprocess.from_dict(json.loads(about))


def exactly(connection: socket.socket, size: int) -> bytearray:
    """That many bytes; fewer only where the other end is closed, and then none."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = connection.recv_into(view[at:])
        if not count:
            return bytearray()
        at += count
    return data


def load_all() -> None:
    """Decode one picture of every format, since what is loaded on first use cannot be once no file can be opened."""
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # threads cannot be started later
    about = json.dumps(Preprocess(size=3, resize=4).to_dict()).encode()
    for name in FORMATS:
        picture = io.BytesIO()
        # A Pillow that was built without a format cannot write it either.
        with contextlib.suppress(OSError, ValueError, KeyError):
            Image.new("RGB", (9, 7)).save(picture, name)
        decoded(about, picture.getvalue())


def confine(allowed_bytes: int) -> None:
    """Give up what decoding does not need: more memory, files, processes, a core dump."""
    import resource

    def at_most(kind: int, value: int) -> None:
        resource.setrlimit(kind, (value, value))

    at_most(resource.RLIMIT_CORE, 0)
    at_most(resource.RLIMIT_FSIZE, 0)
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        at_most(resource.RLIMIT_AS, in_use + allowed_bytes)
        at_most(resource.RLIMIT_NPROC, 0)
    # With no number left below the limit nothing can be opened any more: no file, no socket.
    at_most(resource.RLIMIT_NOFILE, 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
