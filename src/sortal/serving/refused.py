"""What a client is told when it gets no answer: a status, a sentence, what to do about it, and never more than that."""

import json
import math
from typing import Any


class Refused(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: int, message: str, *, hint: str = "", retry_after: float = 0.0, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.retry_after = status, message, hint, retry_after
        self.reason = reason
        """One word for the metrics, where the load was shed."""

    @property
    def headers(self) -> dict[str, str]:
        """What the status has to be accompanied by."""
        if self.status == 503:
            return {"retry-after": str(max(1, math.ceil(self.retry_after)))}
        return {"connection": "close"} if self.status == 408 else {}

    @property
    def body(self) -> bytes:
        """A JSON object with `error` and, where there is one, `hint`."""
        told: dict[str, Any] = {"error": self.message, **({"hint": self.hint} if self.hint else {})}
        return json.dumps(told).encode()


def shed(reason: str, message: str, wait: float) -> Refused:
    """A load that is shed: 503, and when to come again."""
    return Refused(503, message, hint="come again after the seconds in Retry-After", retry_after=min(wait, 30.0), reason=reason)


def late() -> Refused:
    """The deadline passed before the work was begun."""
    return shed("deadline", "the deadline passed before it was this image's turn", 1.0)
