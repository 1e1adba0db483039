"""Who wants to hear of something: the signals of a camera, as Celery has them."""

import logging
import weakref
from collections.abc import Callable
from threading import Lock
from typing import Any

_log = logging.getLogger(__name__)

Receiver = Callable[..., Any]
#: Returns the receiver, or None if that is no more.
_Reference = Callable[[], Receiver | None]


class Signal:
    """Call those who are connected, with `sender` and what else is sent.

    As with Celery's signals a receiver is forgotten when nobody else holds it,
    unless it is connected with `weak=False`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = Lock()
        self._receivers: list[tuple[Any, _Reference]] = []

    def __repr__(self) -> str:
        return f"<Signal: {self.name}>"

    def connect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Have `receiver(signal=, sender=, ...)` called; return it.

        Only for one `sender`, if that is given.  Works as a decorator, with and
        without arguments.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, **kwargs)
        reference = _weakly(receiver) if weak else _strongly(receiver)
        with self._lock:
            known = [held() for wanted, held in self._receivers if wanted is sender]
            if receiver not in known:
                self._receivers.append((sender, reference))
        return receiver

    def disconnect(self, receiver: Receiver, sender: Any = None) -> bool:
        """Have it called no more; return whether it was."""
        with self._lock:
            before = len(self._receivers)
            self._receivers = [
                (wanted, held)
                for wanted, held in self._receivers
                if wanted is not sender or held() not in {receiver, None}
            ]
            return len(self._receivers) < before

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call the receivers; return them with what they returned or raised."""
        responses = []
        for receiver in self._live(sender):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as error:  # noqa: BLE001  (the others want to hear, too)
                _log.exception("%s: %r raised", self.name, receiver)
                response = error
            responses.append((receiver, response))
        return responses

    def _live(self, sender: Any) -> list[Receiver]:
        with self._lock:
            self._receivers = [pair for pair in self._receivers if pair[1]() is not None]
            found = [
                held() for wanted, held in self._receivers if wanted is None or wanted is sender
            ]
        return [receiver for receiver in found if receiver is not None]


def _weakly(receiver: Receiver) -> _Reference:
    if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
        return weakref.WeakMethod(receiver)
    return weakref.ref(receiver)


def _strongly(receiver: Receiver) -> _Reference:
    return lambda: receiver
