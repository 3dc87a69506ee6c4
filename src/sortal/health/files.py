"""Files: which images were set aside because they cannot be used, and whether that eats into a class."""

from collections import Counter
from collections.abc import Sequence

from sortal.health.finding import Finding, counted, some
from sortal.manifest import SET_ASIDE

LARGE_SHARE = 0.1  # beyond it a class is no longer what its owner believes it to be, and so is every score of it


def unreadable(
    sources: Sequence[str], reasons: Sequence[str | None], labels: Sequence[Sequence[str]], *, large_share: float = LARGE_SHARE
) -> list[Finding]:
    """One finding for all images that cannot be used, or none; what was set aside by a decision could be.

    The three columns have a value for each of N rows: `labels` a list, `reasons` None where an image is in use. Severe if a
    class lost more than `large_share` of its images, else a warning.
    """
    lost = [row for row, reason in enumerate(reasons) if reason is not None and not reason.startswith(SET_ASIDE)]
    if not lost:
        return []
    totals = Counter(name for names in labels for name in names)
    gone = Counter(name for row in lost for name in labels[row])
    hit = [name for name in sorted(gone) if gone[name] > large_share * totals[name]]
    detail = f"{counted(len(lost), 'image')} of {len(sources):,} cannot be used and will be left out: "
    detail += some([f"{sources[row]} ({reasons[row]})" for row in lost])
    if hit:
        shares = [f"{name} loses {gone[name]:,} of {totals[name]:,}" for name in hit]
        detail += (
            f". More than a tenth of a class is gone: {some(shares)}" if large_share == LARGE_SHARE else f". {some(shares)}"
        )
    return [
        Finding(
            kind="unreadable",
            severity="severe" if hit else "warning",
            images=tuple(sources[row] for row in lost),
            detail=detail,
            cure="replace these files by good ones, or remove them",
        )
    ]
