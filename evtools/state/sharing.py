"""Equal strings kept once."""

from typing import Any, Final

#: More different names than a cluster has, and longer ones than AMQP allows; that
#: is 1 MB at most.
_SHARED_MAX: Final = 4096
_LENGTH_MAX: Final = 255


class Shared(dict[Any, Any]):
    """Return for a name the equal string that was asked for first: `shared[name]`.

    For None it returns None.  Raises TypeError for what is too long for a
    name, or none.  It begins anew when it holds too many.
    """

    def __missing__(self, name: object) -> Any:
        if name is None:
            return None
        if type(name) is not str or len(name) > _LENGTH_MAX:
            raise TypeError(name)
        if len(self) >= _SHARED_MAX:
            self.clear()
        self[name] = name
        return name
