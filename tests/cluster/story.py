"""A scenario that is over: its events as we received them, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.witness import Witness
from evtools.state import State, Task

if TYPE_CHECKING:
    from cluster.scenario import Outcome, Scenario
    from cluster.sightings import Event


@dataclass(frozen=True)
class Story:
    """`batches` are events that came together, `outcome` is what the application says.

    `state` has taken them all in.
    """

    batches: list[list[Event]]
    outcome: Outcome
    state: State

    @property
    def events(self) -> list[Event]:
        """All events in the order of their receipt."""
        return [event for batch in self.batches for event in batch]

    @property
    def names(self) -> dict[str, str]:
        """The names of tasks by uuid; what nobody named goes by its uuid."""
        named = {uuid: name for name, uuid in self.outcome.uuids.items()}
        return {uuid: named.get(uuid, uuid) for uuid in self.state.tasks}

    def task(self, name: str) -> Task:
        """Return the task of a name as the state has it."""
        return self.state.tasks[self.outcome.uuids[name]]

    def result(self, name: str) -> dict[str, Any]:
        """Return what the result backend holds of the task of a name."""
        return self.outcome.results[self.outcome.uuids[name]]

    def by_task(self) -> dict[str, list[Event]]:
        """Return the events of each task by the task's name."""
        found = defaultdict(list)
        for event in self.events:
            if event["type"].startswith("task-"):
                found[self.names[event["uuid"]]].append(event)
        return found


def watch(scenario: Scenario) -> Story:
    """Let a scenario happen, and listen; leave nothing of it behind."""
    try:
        with Witness(scenario.broker_url, scenario.event_exchange) as witness:
            scenario.play(witness)
        state = State()
        for batch in witness.batches:
            state.apply(batch)
        return Story(witness.batches, scenario.outcome(state.tasks), state)
    finally:
        scenario.end()
