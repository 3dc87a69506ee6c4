"""How long one more image would wait, learnt from how quickly the last ones were answered."""

from dataclasses import dataclass

NEWEST = 0.05
"""The least weight of the newest answer in the running mean."""
HALVES = 2.0
"""Seconds after which what was learnt counts half: beside a newer answer, or where nothing confirms it, as whoever is refused
confirms nothing."""


@dataclass(slots=True)
class Expected:
    """Seconds between two answers while there is work. All moments are `time.monotonic`.

    Attributes:
        longest: seconds; no answer is taken to need more, whatever was measured.
    """

    longest: float
    mean: float = 0.0
    gap: float = 0.0
    """Between the last two answers, if the later one had waited for the earlier: a silence so long is no news."""
    told_at: float = 0.0

    def each(self, now: float) -> float:
        """Seconds until the next answer, as far as can be told."""
        return self.mean * _half(now - self.told_at - self.gap)

    def answered(self, images: int, *, since: float, now: float) -> None:
        """So many images were answered, which had been here `since` then.

        Only of those that were here before the last answer it is known that they waited for it: of the others the time would
        be the sender's, who had sent nothing.
        """
        gap = now - self.told_at
        if since < self.told_at:
            took = min(gap / images, self.longest)
            self.mean += max(NEWEST, 1 - _half(gap)) * (took - self.mean) if self.mean else took
            self.gap = min(gap, self.longest)
        else:
            self.mean, self.gap = self.each(now), 0.0
        self.told_at = now


def _half(seconds: float) -> float:
    return float(0.5 ** (max(0.0, seconds) / HALVES))
