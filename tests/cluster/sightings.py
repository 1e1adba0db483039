"""The events that somebody has seen so far, to look through and to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servers.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Event = dict[str, Any]


class Sightings:
    """Events that another thread appends to `events`.

    `error` is what ended that thread, if anything did.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None

    def select(self, **fields: Any) -> list[Event]:
        """Return the events that have all these values."""
        return [
            event
            for event in list(self.events)
            if all(event.get(name) == value for name, value in fields.items())
        ]

    def types_of(self, uuid: str) -> list[str]:
        """Return the types of a task's events in the order of their arrival.

        Without task-sent: a client sends it after the task, which may be faster.
        """
        types = [event["type"] for event in self.select(uuid=uuid)]
        return [type_ for type_ in types if type_ != "task-sent"]

    def wait_for(
        self,
        predicate: Callable[[Event], bool] = lambda _: True,
        *,
        count: int = 1,
        deadline: float = 15,
        **fields: Any,
    ) -> list[Event]:
        """Wait for as many events with these values that satisfy the predicate."""

        def look() -> list[Event]:
            assert self.error is None, f"the receiver died: {self.error!r}"
            found = [event for event in self.select(**fields) if predicate(event)]
            return found if len(found) >= count else []

        return wait_until(
            look,
            deadline=deadline,
            what=lambda: f"{count} events with {fields}; seen: {self._summary()}",
        )

    def wait_for_each(
        self, uuids: Iterable[str], types: Iterable[str], *, deadline: float = 30
    ) -> None:
        """Wait until each of the tasks has an event of one of the types."""
        wanted, ending = set(uuids), set(types)

        def missing() -> set[str]:
            ended = {e.get("uuid") for e in list(self.events) if e["type"] in ending}
            return wanted - ended

        wait_until(
            lambda: not missing(),
            deadline=deadline,
            what=lambda: str({uuid: self.types_of(uuid) for uuid in missing()}),
        )

    def _summary(self) -> list[str]:
        return [f"{e['type']} {e.get('uuid', '')}" for e in self.events[-40:]]
