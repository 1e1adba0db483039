"""How many bytes values take, estimated."""

from sys import getsizeof
from typing import Any, Final

#: What a task takes beside the texts that its events bring.
TASK_BYTES: Final = 900
#: What the attributes take that few tasks have.
RARE_BYTES: Final = 200


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
