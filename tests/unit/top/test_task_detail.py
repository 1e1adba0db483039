"""Tests for evtools.top.task_detail."""

from hypothesis import given
from hypothesis import strategies as st

from evtools.state import State
from evtools.top.columns import Lens
from evtools.top.task_detail import plain_task, run_of, state_of, task_detail
from tools.life import Life


def seen(*events, now=None):
    """Return the detail of the task "t" after events."""
    state = State()
    state.apply(events)
    last = max(event["local_received"] for event in events)
    lens = Lens(last + 1 if now is None else now)
    return task_detail(state.tasks["t"], lens, state)


def test_a_failure_begins_with_its_traceback():
    life = Life()
    detail = seen(*life.failure("t"))
    assert detail.section == "Traceback"
    assert detail.sections["Traceback"][-1] == "ValueError: no 12"
    assert detail.title == "proj.add t"
    assert list(detail.sections) == [*("Traceback", "Info", "Args", "Timeline", "Tree", "Raw")]


def test_the_facts_are_in_four_lines():
    life = Life()
    state, args, times, tree = seen(*life.failure("t")).lines
    assert state == "state   FAILURE after 100ms on w1@host pid 7"
    assert args == "args    (1, 2)   kwargs {}"
    assert times == (
        "time    sent 00:16:40.100  received +100ms  started +200ms  failed +300ms"
        "   queue mail   retries 0"
    )
    assert tree == "tree    this > 0 children"


def test_a_clock_that_is_off_is_told_beside_its_times():
    life = Life()
    for ahead, words in ((29.0, "29.0s ahead"), (-3.0, "3.00s behind")):
        detail = seen(life.beat(ahead=ahead), *life.success("t"))
        assert detail.lines[2].endswith(f"(the worker's clock is {words})")
    assert "clock" not in seen(life.beat(), *life.success("t")).lines[2]


def test_a_success_begins_with_its_arguments():
    life = Life()
    detail = seen(*life.success("t"))
    assert detail.section == "Args"
    assert detail.sections["Args"] == (*("args", "  (1, 2)", "kwargs", "  {}", "result", "  3"),)
    assert detail.sections["Traceback"] == (
        "There is none: nothing was raised, as far as we know.",
    )


def test_what_the_sender_cut_is_said():
    life = Life()
    detail = seen(life.received("t", args="(" + "x" * 1020 + "...)"))
    assert "cut by the sender" in detail.lines[1]
    assert any("cut by the sender" in line for line in detail.sections["Args"])


def test_what_nobody_told_is_not_made_up():
    life = Life()
    detail = seen(life.event("task-failed", uuid="t", exception="E()"))
    assert detail.title == "? t"
    assert detail.lines[1] == "args    unknown: not received while we listened"
    assert detail.sections["Traceback"][0] == "The event had no traceback."
    assert any("unknown" in line for line in detail.sections["Info"])
    started = seen(life.started("t", timestamp=None))
    assert started.sections["Args"] == ("Unknown: not received while we listened.",)


def test_a_task_without_a_single_time_has_no_timeline():
    life = Life()
    detail = seen(life.event("task-progress", uuid="t", hostname="w1@host", x=1))
    assert detail.sections["Timeline"] == ("No event with a time was received.",)
    assert detail.lines[2] == "time    unknown"


def test_every_attempt_is_in_the_timeline():
    life = Life()
    events = [
        life.received("t"),
        life.started("t"),
        life.event("task-retried", uuid="t", hostname="w1@host", exception="E(1)"),
        life.received("t", retries=1, hostname="w2@host"),
        life.started("t", hostname="w2@host"),
        life.succeeded("t", hostname="w2@host"),
    ]
    timeline = seen(*events).sections["Timeline"]
    assert timeline[0].startswith("from 00:16:40.100 on")
    assert timeline[1] == "attempt 0 on w1@host"
    assert "attempt 1 on w2@host" in timeline
    assert any("E(1)" in line for line in timeline)
    assert timeline[-1].split() == ["+500ms", "succeeded", "(+100ms)"]


def test_a_running_task_has_run_so_far():
    life = Life()
    state = State()
    state.apply([life.beat(), life.received("t"), life.started("t")])
    task = state.tasks["t"]
    assert run_of(task, life.now + 3) == 3.0
    assert state_of(task, life.now + 3) == ("RUN", "running")
    assert run_of(task, life.now - 3) == 0.0


def test_a_task_whose_worker_went_may_be_lost():
    life = Life()
    state = State()
    state.apply([life.beat(), life.received("t"), life.started("t")])
    task, later = state.tasks["t"], life.now + 300
    assert state_of(task, later) == ("LOST?", "late")
    assert run_of(task, later) is None
    detail = task_detail(task, Lens(later), state)
    assert detail.lines[0].startswith("state   LOST? (its worker has gone) on w1@host")


def test_of_a_worker_that_restarted_the_process_that_had_a_task_has_gone():
    life = Life()
    state = State()
    state.apply([life.beat(), life.received("t"), life.started("t")])
    life.now += 1
    state.apply([{**life.beat(), "type": "worker-online", "pid": 8, "processed": 0}])
    detail = task_detail(state.tasks["t"], Lens(life.now + 2), state)
    assert detail.lines[0].startswith("state   LOST? (the process that had it has gone) on w1@host")


def test_relatives_are_shown_as_a_tree():
    life = Life()
    events = [
        life.received("r", "proj.checkout"),
        life.received("t", root_id="r", parent_id="r"),
        life.received("c", root_id="r", parent_id="t"),
        life.received("d", root_id="r", parent_id="t"),
    ]
    detail = seen(*events)
    assert detail.lines[3] == (
        "tree    root r proj.checkout > parent r proj.checkout > this > 2 children"
    )
    assert detail.sections["Tree"] == (
        "  proj.checkout r RECV",
        "> └─ proj.add t RECV",
        "     ├─ proj.add c RECV",
        "     └─ proj.add d RECV",
    )


def test_one_child_is_a_child():
    life = Life()
    events = [life.received("t"), life.received("c", root_id="t", parent_id="t")]
    assert seen(*events).lines[3] == "tree    this > 1 child"


def test_a_root_that_is_not_known_is_named_by_its_id():
    life = Life()
    detail = seen(life.received("t", root_id="0123456789", parent_id="t"))
    assert detail.lines[3] == "tree    root 01234567 > this > 1 child"


def test_a_progress_note_is_told():
    life = Life()
    events = [
        life.received("t"),
        life.event("task-progress", uuid="t", hostname="w1@host", percent=40),
    ]
    assert any("percent" in line for line in seen(*events).sections["Info"])


def test_plain_fields_are_json_without_objects():
    life = Life()
    state = State()
    state.apply(life.failure("t"))
    plain = plain_task(state.tasks["t"])
    assert plain["hostname"] == "w1@host"
    assert plain["state"] == "FAILURE"
    assert list(plain)[:3] == ["uuid", "name", "state"]


@given(
    st.lists(
        st.sampled_from(["sent", "received", "started", "succeeded", "failed"]),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([None, 3, [], {}, "\x1b[31m", "\u202e", 1e300, "x" * 2000]),
    st.sampled_from(
        [
            *("name", "hostname", "args", "exception", "timestamp", "retries"),
            *("root_id", "parent_id", "runtime", "eta", "queue", "pid", "traceback"),
        ]
    ),
)
def test_nothing_that_comes_breaks_a_detail(kinds, junk, field):
    life = Life()
    events = [getattr(life, kind)("t", **{field: junk}) for kind in kinds]
    detail = seen(*events)
    lines = [detail.title, *detail.lines]
    for section in detail.sections.values():
        lines += section
    assert all(line.isprintable() for line in lines)
