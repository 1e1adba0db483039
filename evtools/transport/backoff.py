"""How long to wait before trying the broker again."""

import random
from collections.abc import Iterator

#: Events must flow again within 5 s of the broker's return, so no wait may come near to that.
FIRST, LONGEST = 0.25, 2.5


def delays(
    first: float = FIRST, longest: float = LONGEST, *, rng: random.Random | None = None
) -> Iterator[float]:
    """Yield ever longer waits in seconds, the last of them for ever.

    Each is drawn between half and all of its bound, so that a fleet of
    monitors does not come back all at once.  Begin anew after a success.
    """
    draw = (rng or random.SystemRandom()).uniform
    bound = first
    while True:
        yield draw(bound / 2, bound)
        bound = min(longest, bound * 2)
