import click
import pytest

from evtools.cli.contradictions import (
    BACKWARDS,
    RECORDED_DEMO,
    both,
    flag,
    is_typed,
    refuse,
    refuse_lone,
    refuse_rivals,
)
from evtools.errors import UsageError


@pytest.fixture
def typed():
    """Return the context of a command line; REPLAY_SPEED sets --speed, too."""

    @click.command("replay")
    @click.option("--read")
    @click.option("--speed", envvar="REPLAY_SPEED")
    @click.option("-t", "ts_count", count=True)
    def replay(**_values):
        pass

    return lambda *arguments: replay.make_context("replay", [*arguments])


def test_two_options_may_exclude_each_other():
    rule = both("read", "broker_stats")
    refuse({"read": "x", "broker_stats": False}, [rule])
    with pytest.raises(UsageError) as caught:
        refuse({"read": "x", "broker_stats": True}, [rule])
    assert caught.value.message == "--read and --broker-stats exclude each other"
    assert caught.value.hint == "leave one of them out"


def test_the_first_mistake_is_told():
    values = {"read": "x", "demo": True, "since": 2.0, "until": 1.0}
    with pytest.raises(UsageError, match="--until is before --since"):
        refuse(values, [BACKWARDS, RECORDED_DEMO])
    with pytest.raises(UsageError, match="--read and --demo"):
        refuse(values, [RECORDED_DEMO, BACKWARDS])


@pytest.mark.parametrize(
    ("since", "until", "wrong"),
    [
        (None, None, False),
        (1.0, None, False),
        (None, 1.0, False),
        (1.0, 2.0, False),
        (0.0, 0.0, True),
        (2.0, 1.0, True),
    ],
)
def test_an_end_comes_after_its_beginning(since, until, wrong):
    assert BACKWARDS.is_wrong({"since": since, "until": until}) is wrong


def test_an_option_may_need_another_one(typed):
    needs = {"read": ("speed",)}
    refuse_lone(typed("--read", "x", "--speed", "2x"), needs)
    with pytest.raises(UsageError) as caught:
        refuse_lone(typed("--speed", "2x"), needs)
    assert caught.value.message == "--speed means nothing without --read"
    assert caught.value.hint == "add --read, or leave out --speed"


def test_what_was_not_typed_may_stand_alone(typed, monkeypatch):
    monkeypatch.setenv("REPLAY_SPEED", "2x")
    ctx = typed()
    assert ctx.params["speed"] == "2x"
    assert not is_typed(ctx, "speed")
    refuse_lone(ctx, {"read": ("speed",)})


def test_of_rivals_one_may_be_typed(typed, monkeypatch):
    monkeypatch.setenv("REPLAY_SPEED", "2x")
    refuse_rivals(typed("-t"), [("speed", "ts_count")])
    with pytest.raises(UsageError, match="--speed and -t exclude each other"):
        refuse_rivals(typed("-t", "--speed", "1x"), [("speed", "ts_count")])


def test_options_are_told_as_they_are_written():
    assert flag("max_tasks") == "--max-tasks"
    assert flag("json_output") == "--json"
    assert flag("ts_count") == "-t"
