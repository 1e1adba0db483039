"""How many bytes values take, estimated."""

from sys import getsizeof
from typing import Any


def weigh(value: Any) -> int:
    """Return about how many bytes a value of any JSON type takes."""
    weight = 0
    waiting = [value]
    while waiting:
        value = waiting.pop()
        weight += getsizeof(value)
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return weight
