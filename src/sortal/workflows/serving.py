"""Serve: runs and bundles behind HTTP; what the server's room does not know of is joined here."""

import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.errors import DataError, MissingExtra
from sortal.evaluation.reference import Reference
from sortal.explanation.occlusion import Predict, occlusion
from sortal.serving.guard import is_loopback
from sortal.serving.limits import Limits
from sortal.serving.models import places
from sortal.workflows.predicting import Answer, as_prediction

SHORTEST_TOKEN = 16
LOOPBACK = "127.0.0.1"
NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
"""Of a host in lower case, as clients send it: no scheme, no port, no letter outside ASCII."""


def serve(
    targets: str | Path | Sequence[str | Path],
    *,
    host: str = LOOPBACK,
    port: int = 8000,
    allowed_hosts: Sequence[str] = (),
    token: str = "",
    runtime: str = "auto",
    limits: Limits | None = None,
    began: Callable[[str], None] = lambda address: print(f"serving on {address}", file=sys.stderr),
) -> None:
    """Serve runs or bundles over HTTP until SIGTERM or Ctrl-C; whoever was let in is answered first.

    Args:
        targets: `[NAME[@VERSION]=]PATH`, one or several.
        host: where to listen; anything but this machine's own addresses demands a token.
        port: 0 takes any that is free.
        allowed_hosts: names by which it may be asked besides this machine's, as by a proxy in front of it. They demand a token,
            and with them every other name is refused.
        token: asked for as `Authorization: Bearer TOKEN`, 16 characters or more.
        runtime: 'onnxruntime', 'openvino', or 'auto': the faster one that is installed and gives the same answers.
        limits: of size, time and number; see `sortal.serving.limits.Limits`.
        began: called with the address when everything answers.

    Raises:
        DataError: an open server without a token, an allowed host that is no name, or models' names that cannot be told apart.
        BundleError: a bundle that did not pass its check.
        MachineFailed: the address is taken.
    """
    try:
        from sortal.serving import server
        from sortal.serving.app import Wanted
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "serve") from error
    listed = [targets] if isinstance(targets, str | Path) else list(targets)
    local = is_loopback(host)
    names = _checked_names(allowed_hosts)
    _check_token(token, host, local, names)
    wanted = Wanted(
        places=places([str(target) for target in listed]),
        tell=tell,
        refer=refer,
        mapper=looked_at,
        limits=limits or Limits(),
        runtime=runtime,
        token=token,
        local=local,
        names=names,
    )
    shown = f"[{host}]" if ":" in host else host
    with server.listening(host, port) as listener:
        address = f"http://{shown}:{listener.getsockname()[1]}"
        server.run(wanted, listener, began=lambda: began(address))


def tell(source: str, probs_K: NDArray[np.float32], novelty: float | None, bundle: Bundle, top: int) -> dict[str, Any]:
    """The contract's prediction, in the same words as `sortal predict`."""
    return as_prediction(Answer(source, probs_K, distance=novelty), bundle, top)


def looked_at(network: Predict, pixels_SSC: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
    """What of one image the model looked at, float32 (h, w): how far the probability falls where it is hidden."""
    map_HW: NDArray[np.float32] = occlusion(network, pixels_SSC[None], np.array([label]))[0]
    return map_HW


def refer(bundle: Bundle) -> Reference | None:
    """What the validation images were said to be, as the bundle has it."""
    found = bundle.about.get("reference")
    return Reference.from_dict(found, len(bundle.classes)) if isinstance(found, dict) else None


def _checked_names(allowed_hosts: Sequence[str]) -> frozenset[str]:
    names = frozenset(name.lower() for name in allowed_hosts)
    for name in sorted(names):
        if not NAME.fullmatch(name):
            raise DataError(
                f"{name!r} is no host's name", hint="give the name alone, as in bees.example: no https://, port or *"
            )
    return names


def _check_token(token: str, host: str, local: bool, names: Collection[str]) -> None:
    if not token and (names or not local):
        which = f"asked by {', '.join(sorted(names))}" if names else f"on {host}"
        raise DataError(
            f"a server {which} can be reached by others, and needs a token",
            hint="put one into a file and name it with --token-file, or into SORTAL_TOKEN",
        )
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise DataError(
            f"a token has {SHORTEST_TOKEN} characters or more, all of them printable ASCII without blanks",
            hint="python -c 'import secrets; print(secrets.token_urlsafe())' makes one",
        )
