"""Times of which some are not known: differences, and moments written as text."""

from datetime import UTC, datetime


def elapsed(start: float | None, end: float | None) -> float | None:
    """Return the seconds from one moment to the other, None unless they are known.

    None also if they are negative, as the clocks of two machines can make them.
    """
    if start is None or end is None or end < start:
        return None
    return end - start


def epoch(moment: str | None) -> float | None:
    """Return a moment in ISO 8601 as UTC epoch seconds, None if it is none.

    Celery writes UTC where it does not write a zone.
    """
    if moment is None:
        return None
    try:
        parsed = datetime.fromisoformat(moment)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
