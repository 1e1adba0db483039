from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from evtools.cam.proof import proof, summary
from evtools.cam.roll import Roll
from evtools.state import State
from tools.told import OTHER, told


@dataclass
class Row:
    name: str
    size: float


class Odd:
    def __repr__(self):
        return "<Odd>"


class Plain:
    __slots__ = ()

    def as_dict(self):
        return {"plain": True}


@pytest.mark.parametrize(
    ("picture", "printed"),
    [
        ({"a": 1, "b": [None, True]}, {"a": 1, "b": [None, True]}),
        ((Row("x", 1.5),), [{"name": "x", "size": 1.5}]),
        (Plain(), {"plain": True}),
        ({1: "x"}, {"1": "x"}),
        ([Odd(), Path("/x"), {"s"}], ["<Odd>", "PosixPath('/x')", ["s"]]),
    ],
)
def test_whatever_a_picture_is_made_of_it_becomes_json(picture, printed):
    assert msgspec.json.decode(proof(picture)) == printed


def test_a_frame_is_shown_as_it_would_be_written():
    frame = Roll({}, started=990.0).next(1000.0)
    assert msgspec.json.decode(proof({"frame": frame}))["frame"]["sequence"] == 1


def test_nothing_in_it_can_harm_a_terminal():
    line = proof({"name": "\x1b[31mred\u202e"})
    assert line.decode().isprintable()
    assert b"\n" not in line


def test_what_cannot_be_a_key_or_a_value_is_shown_somehow():
    assert proof({(1, 2): Odd()}) == b'{"picture":"{(1, 2): <Odd>}"}'
    assert proof([float("nan"), "\ud800"])


def test_a_state_is_summed_up():
    state = State()
    state.apply(
        [
            *(told("worker-heartbeat"), told("worker-heartbeat", hostname=OTHER)),
            *(told("worker-offline", 11.0, hostname=OTHER), told("task-received")),
            told("task-succeeded", uuid="b"),
        ]
    )
    told_of = summary(state, Roll(state.workers, started=9.0).next(12.0))
    assert told_of["tasks"] == {"RECEIVED": 1, "SUCCESS": 1}
    assert told_of["workers"] == {"celery@one": "online", "celery@two": "offline"}
    assert (told_of["sequence"], told_of["event_count"], told_of["task_count"]) == (*(1, 5, 1),)
