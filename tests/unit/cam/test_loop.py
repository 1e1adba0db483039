"""The main loop: events, filters, signals, readiness, the end, and recordings."""

import itertools
import json
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.cam.loop import STUCK_AFTER, EventFilter, Loop, ReplayClock
from evtools.cam.options import CamOptions
from evtools.errors import AccessRefused, BrokerUnavailable, CameraFailed
from evtools.transport import Notice, Statistics
from evtools.wire import from_fields
from tools.clock import FakeClock
from tools.gaps import gap
from tools.studio import PATIENCE, Album, Snap
from tools.told import told


def filter_of(*filters, redact=()):
    return EventFilter(CamOptions(filters=filters, redact=tuple(redact)), now=lambda: 100.0)


def types(events):
    return [event.type for event in events]


def event(kind, **fields):
    return from_fields(told(kind, **fields))


def test_without_a_filter_all_pass_as_they_are():
    events = [event("task-sent"), event("worker-heartbeat"), event("x")]
    assert filter_of().apply(events) is events
    assert filter_of("", " ").apply(events) is events
    assert filter_of().notes() == []


def test_an_event_is_matched_with_the_fields_of_earlier_events_of_its_task():
    keeps = filter_of("name=shop.pay", "uuid:*")
    started = ["task-received", "task-started"]
    assert types(keeps.apply([event("task-received"), event("task-started")])) == started
    assert types(keeps.apply([event("task-succeeded")])) == ["task-succeeded"]
    assert keeps.apply([event("task-received", uuid="b", name="shop.pack")]) == []
    assert keeps.apply([event("task-started", uuid="b")]) == []
    assert keeps.notes() == []


def test_workers_and_gaps_always_pass():
    events = [event("worker-heartbeat"), from_fields(gap("reconnect", 1.0, 2.0))]
    assert filter_of("name=nothing").apply(events) == events


def test_secrets_are_masked_before_a_filter_sees_them():
    events = [event("task-received", kwargs="{'password': 'hunter2'}")]
    (masked,) = filter_of("name=shop.pay", redact=["password"]).apply(events)
    assert "hunter2" not in masked.kwargs


def test_a_filter_of_a_field_that_no_event_has_is_noted():
    keeps = filter_of("queue=mail")
    keeps.apply([event("task-received")])
    assert keeps.notes()[0] == "--filter matched none of 1 events of tasks"
    assert "queue: unknown for 100% of events" in keeps.notes()[1]


# === the clock of a recording ========================================================


def at(moment):
    return from_fields({"type": "x", "local_received": moment})


class Recording:
    """Something due every ten seconds."""

    def __init__(self, tape, every=10.0):
        self.tape, self.every = tape, every
        self.due = math.inf
        self.seen = []

    def play(self, moments):
        for events, moment in self.tape.pieces([at(each) for each in moments], lambda: self.due):
            self.seen.append(([event.get("local_received") for event in events], moment))
            self.tape.move(moment)
            if self.due == math.inf:
                self.due = moment + self.every
            if self.due <= moment:
                self.due += self.every * ((moment - self.due) // self.every + 1)
        return self.seen


# fmt: off
@pytest.mark.parametrize(
    ("first", "moments", "pieces"),
    [
        # at 110, 120 and 130
        (100.0, [105.0, 110.0, 111.0, 119.0, 125.0],
         [([105.0], 110.0), ([110.0, 111.0, 119.0], 125.0), ([125.0], 125.0)]),
        (100.0, [101.0, 102.0], [([101.0, 102.0], 102.0)]),
        # a batch that begins with an event after that
        (100.0, [150.0], [([], 150.0), ([150.0], 150.0)]),
        # where time begins
        (None, [None, 100.0, 101.0, 110.0],
         [([None], 100.0), ([100.0, 101.0], 110.0), ([110.0], 110.0)]),
        # dishonest times
        (100.0, [None, "x", True, 1e300, math.inf, -5.0],
         [([None, "x", True, 1e300, math.inf, -5.0], 100.0)]),
        (None, [None], [([None], 0.0)]),
        (100.0, [], []),
    ],
)
def test_events_are_cut_where_something_is_due(first, moments, pieces):
    recording = Recording(ReplayClock())
    if first is not None:
        recording.play([first])
        recording.seen.clear()
    assert recording.play(moments) == pieces
# fmt: on


@given(
    st.lists(
        st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text()), max_size=20),
        max_size=5,
    )
)
def test_whatever_is_on_it_all_events_are_given_out_in_order(batches):
    recording = Recording(ReplayClock())
    for batch in batches:
        recording.play(batch)
    given_out = [repr(each) for events, _ in recording.seen for each in events]
    assert given_out == [repr(each) for batch in batches for each in batch]
    moments = [moment for _, moment in recording.seen]
    assert moments == sorted(moments)


# === the loop ========================================================================


class Script:
    """A source that follows a script: batches, and things to do between them."""

    def __init__(self, steps):
        self.steps = steps
        self.left_bytes = 0
        self.defects = ()
        self.asked = []

    def events(self, timeout=None):
        self.asked.append(timeout)
        for step in self.steps:
            if callable(step):
                step()
                yield []
            elif isinstance(step, Exception):
                raise step
            else:
                yield [from_fields(event) for event in step]

    def statistics(self):
        return Statistics(buffered_bytes=self.left_bytes, defects=self.defects)


class Supervisor:
    """What a supervisor is told, in order."""

    def __init__(self):
        self.told = []
        self.signs = 0

    def ready(self, status=""):
        self.told.append(("ready", status))

    def status(self, text):
        self.told.append(("status", text))

    def reloading(self):
        self.told.append(("reloading", ""))

    def stopping(self, status=""):
        self.told.append(("stopping", status))

    def watchdog(self):
        self.signs += 1

    def words(self):
        return [word for word, _ in self.told]


class Flags:
    ending = reopen_wanted = dump_wanted = shot_wanted = False


class Stage:
    """A loop with everything around it, and a clock that is moved by hand."""

    def __init__(self, *steps, kind=Album, replays=False, **options):
        self.clock = FakeClock(1000.0)
        options = {"freq": 1e6, "shutdown_timeout": 20.0} | options
        if replays:
            options["read"] = ("x.jsonl",)
        self.source, self.flags = Script(steps), Flags()
        self.supervisor = Supervisor()
        self.calls = []
        self.loop = Loop(
            CamOptions(**options),
            kind,
            self.clock,
            notifier=self.supervisor,
            ready=lambda: self.calls.append("ready"),
            on_hangup=lambda: self.calls.append("hangup"),
        )
        self.camera, self.state = self.loop.camera, self.loop.state
        self.counters, self.thread = self.loop.counters, self.loop.thread

    def run(self):
        return self.loop.run(self.source, self.flags)

    # --- what can happen in a script ---

    def connect(self):
        self.loop.on_notice(Notice("listening", "redis://h"))

    def wait(self, seconds):
        def wait():
            self.clock.now += seconds
            assert self.thread.catch_up(PATIENCE)

        return wait

    def want(self, flag):
        return lambda: setattr(self.flags, flag, True)

    def rest(self):
        assert self.thread.catch_up(PATIENCE)


@pytest.fixture
def stage():
    stages = []

    def start(*steps, **options):
        stages.append(Stage(*steps, **options))
        return stages[-1]

    yield start
    for each in stages:
        each.thread.stop()
        assert each.thread.join(PATIENCE)


def received(uuid, at=10.0, **fields):
    return told("task-received", at, uuid=uuid, root_id=uuid, **fields)


# --- events ------------------------------------------------------------------------


def test_events_reach_the_state_the_camera_and_the_counters(stage):
    play = stage([received("a")], [], [told("worker-heartbeat"), received("b")])
    assert play.run() == 0
    assert sorted(play.state.tasks) == ["a", "b"]
    assert [change.event.type for change in play.camera.observed] == [
        *("task-received", "worker-heartbeat", "task-received")
    ]
    assert play.counters.events == 3
    assert play.source.asked == [0.25]


def test_holes_are_noted_in_the_next_frame(stage):
    play = stage([gap("buffer", 1.0, 2.0, dropped=7), received("a")])
    play.run()
    info = play.camera.infos[0]
    assert (info.dropped, len(info.gaps)) == (7, 1)


def test_a_camera_that_cannot_observe_is_told_of_and_misses_that_only(stage, log):
    play = stage([received("a")], [received("b")])
    play.camera.observe = lambda changes: 1 / 0
    assert play.run() == 0
    assert sorted(play.state.tasks) == ["a", "b"]
    text = "the camera failed to observe: ZeroDivisionError: division by zero"
    assert log().count(text) == 2


def test_while_the_camera_holds_the_state_the_loop_goes_on(stage):
    play = stage()
    held, go = threading.Event(), threading.Event()

    def hold():
        held.set()
        # Nobody lets go before the loop has looked around twice.
        while play.supervisor.signs < signs + 2:
            go.wait(0.01)

    def begin():
        play.thread.soon(lambda: play.state.freeze_while(hold))
        assert held.wait(PATIENCE)

    signs = 1
    play.source.steps = [begin, [received("a")]]
    assert play.run() == 0
    assert list(play.state.tasks) == ["a"]


# --- signals -----------------------------------------------------------------------


def test_a_shot_can_be_wanted_now(stage):
    play = stage()
    play.source.steps = [play.want("shot_wanted"), play.rest, [received("a")]]
    play.run()
    assert [tasks for _, tasks in play.camera.pictures] == [[], ["a"]]
    assert not play.flags.shot_wanted


def test_counters_and_stacks_can_be_wanted(stage, log):
    play = stage()
    play.source.steps = [play.want("dump_wanted"), []]
    play.run()
    texts = [line.partition(":")[0] for line in log()]
    assert texts == ["counters", "stacks"]


def test_files_can_be_opened_anew(stage):
    play = stage()
    play.source.steps = [
        *(play.want("reopen_wanted"), play.rest),
        *(play.connect, play.want("reopen_wanted"), play.rest),
    ]
    play.run()
    assert play.calls == ["hangup", "ready", "hangup"]
    assert play.camera.done == ["reopened", "reopened", "closed"]
    assert play.supervisor.words().count("reloading") == 1
    at = play.supervisor.words().index("reloading")
    assert play.supervisor.words()[at + 1] == "ready"


# --- what others are told ----------------------------------------------------------


def test_it_is_ready_once_events_come(stage):
    play = stage()
    play.source.steps = [[], play.connect, [], []]
    play.run()
    assert play.calls == ["ready"]
    assert play.counters.ready
    assert play.supervisor.told[0] == (
        "ready",
        "connected, 0 ev/s, 0 workers, no snapshot yet, 0 failures",
    )


def test_it_is_ready_without_a_broker_after_a_while(stage):
    play = stage(ready_timeout=30.0)
    play.source.steps = [play.wait(29.0), play.wait(1.0), []]
    play.run()
    assert play.calls == ["ready"]
    assert play.supervisor.told[0] == ("ready", "waiting for broker: no connection")


def test_its_status_is_told_from_time_to_time(stage):
    play = stage()
    play.source.steps = [
        *(play.connect, play.wait(4.0), [told("worker-heartbeat", 1003.0)]),
        *(play.wait(1.0), play.wait(2.0)),
    ]
    play.run()
    told_of = [text for word, text in play.supervisor.told if word == "status"]
    assert told_of[-1].startswith("connected, 0 ev/s, 1 workers")
    assert play.counters.workers_alive == 1


def test_signs_of_life_end_when_the_camera_is_stuck(stage, log):
    play = stage()
    begun, go = threading.Event(), threading.Event()

    def work():
        begun.set()
        assert go.wait(PATIENCE)

    def begin():
        play.thread.soon(work)
        assert begun.wait(PATIENCE)

    def pass_(seconds):
        def step():
            play.clock.now += seconds
            counts.append(play.supervisor.signs)

        return step

    counts = []
    play.source.steps = [
        *(begin, pass_(STUCK_AFTER - 1), pass_(0), pass_(1), pass_(0), pass_(0)),
        *(go.set, play.rest, pass_(0), pass_(0)),
    ]
    play.run()
    grown = [after - before for before, after in itertools.pairwise(counts)]
    assert grown[:4] == [1, 1, 0, 0]
    assert grown[-1] == 1
    assert "the camera has been at work for 1m59s" in log()


# --- the end -----------------------------------------------------------------------


def test_in_the_end_there_is_a_last_shot(stage):
    play = stage()
    play.source.steps = [play.connect, [received("a")], play.want("ending"), []]
    assert play.run() == 0
    assert [tasks for _, tasks in play.camera.pictures] == [["a"]]
    assert play.camera.done == ["closed"]
    assert play.supervisor.words()[-1] == "stopping"


def test_what_has_come_in_by_then_is_taken_in(stage):
    play = stage()
    play.source.steps = [play.want("ending"), [received("a")], [received("b")]]
    play.run()
    assert play.camera.pictures[0][1] == ["a", "b"]


def test_but_only_as_far_as_there_is_time(stage, log):
    play = stage(shutdown_timeout=20.0)
    play.source.left_bytes = 12345
    play.source.steps = [
        *(play.want("ending"), play.wait(9.0), [received("a")]),
        *(play.wait(1.0), [received("b")]),
    ]
    assert play.run() == 0
    assert play.camera.pictures[0][1] == ["a"]
    assert "no time for events that have come in: 12345 bytes" in log()


def test_a_last_shot_that_fails_is_a_failure(stage):
    play = stage([received("a")])
    play.camera.fault = OSError("no")
    assert play.run() == 1


def test_a_camera_that_hangs_does_not_hold_up_the_end(stage, log):
    play = stage(shutdown_timeout=20.0)
    go = threading.Event()

    def during():
        play.clock.now += 20.0
        go.wait(PATIENCE)

    play.camera.during = during
    try:
        assert play.run() == 1
    finally:
        go.set()
    assert log()[-1] == (
        "the camera is still at work after 20.0s; events since its last snapshot may be lost"
    )


def test_the_last_shot_has_only_the_time_that_is_left(stage):
    play = stage(shutdown_timeout=20.0)
    go = threading.Event()

    def during():
        play.clock.now += 11.0
        go.wait(PATIENCE)

    play.camera.during = during
    play.source.steps = [play.want("ending"), play.wait(9.0)]
    try:
        assert play.run() == 1
    finally:
        go.set()


def test_one_that_holds_the_state_for_ever_does_not_either(stage):
    play = stage(shutdown_timeout=20.0)
    held, go = threading.Event(), threading.Event()

    def hold():
        held.set()
        go.wait(PATIENCE)

    def begin():
        play.thread.soon(lambda: play.state.freeze_while(hold))
        assert held.wait(PATIENCE)
        play.flags.ending = True
        watch.start()

    def pass_time():
        # The loop waits for the state, and sees the time pass while it does.
        while play.clock.now < 1040.0 and not go.wait(0.05):
            play.clock.now += 5.0

    watch = threading.Thread(target=pass_time)
    play.source.steps = [begin, [received("a")], [received("b")]]
    try:
        assert play.run() == 1
    finally:
        go.set()
        watch.join(PATIENCE)


def test_when_the_camera_gives_up_so_does_it(stage):
    play = stage(freq=1.0, max_failures=2)
    play.camera.fault = OSError(28, "no space left")
    play.source.steps = [play.wait(100.0), play.wait(100.0), [received("a")]]
    with pytest.raises(CameraFailed, match="gave up after 2 failures"):
        play.run()
    assert play.supervisor.words()[-1] == "stopping"
    assert play.counters.shots.overrun == 0


@pytest.mark.parametrize(("events", "shots"), [([], 0), ([received("a")], 1)])
def test_when_the_broker_refuses_what_came_before_is_shot(stage, events, shots):
    play = stage(events, AccessRefused("wrong password"))
    with pytest.raises(AccessRefused):
        play.run()
    assert play.counters.shots.taken == shots


# --- one period --------------------------------------------------------------------


def test_once_is_one_period_and_one_shot(stage, log):
    play = stage(once=True, freq=10.0)
    play.source.left_bytes = 12345  # of what came too late
    play.source.steps = [
        *(play.wait(20.0), play.connect, [received("a")]),
        *(play.wait(9.0), [received("b")], play.wait(1.0), [received("c")]),
    ]
    assert play.run() == 0
    assert [tasks for _, tasks in play.camera.pictures] == [["a", "b"]]
    assert play.camera.done == ["closed"]
    assert "no time" not in log()


def test_without_a_broker_there_is_nothing_to_shoot(stage):
    play = stage(once=True, ready_timeout=30.0)
    play.loop.on_notice(Notice("retry", "connection refused; trying again in 1s"))
    play.source.steps = [play.wait(31.0)]
    with pytest.raises(BrokerUnavailable, match="connection refused"):
        play.run()
    assert play.camera.pictures == []


def test_who_ends_it_before_that_gets_a_shot_all_the_same(stage):
    play = stage(once=True, ready_timeout=30.0, shutdown_timeout=100.0)
    play.source.steps = [play.want("ending"), play.wait(40.0)]
    assert play.run() == 0
    assert len(play.camera.pictures) == 1


def test_a_test_prints_the_picture_and_writes_nothing(stage, capsysbinary):
    play = stage(test=True, freq=10.0)
    play.source.steps = [play.connect, [received("a")], play.wait(10.0)]
    assert play.run() == 0
    frame, tasks = json.loads(capsysbinary.readouterr().out)
    assert (frame["sequence"], tasks) == (1, ["a"])
    assert play.camera.pictures == play.camera.done == []


def test_of_another_camera_it_prints_what_that_would_look_at(stage, capsysbinary):
    play = stage(test=True, freq=10.0, kind=Snap)
    play.source.steps = [play.connect, [received("a")], play.wait(10.0)]
    assert play.run() == 0
    assert json.loads(capsysbinary.readouterr().out)["tasks"] == {"RECEIVED": 1}
    assert play.camera.seen == []


# --- recordings --------------------------------------------------------------------


def test_a_recording_is_shot_by_its_own_time(stage):
    play = stage(
        [received("a", 100.0), received("b", 109.0), received("c", 112.0)],
        [received("d", 115.0), received("e", 250.0)],
        replays=True,
        freq=10.0,
    )
    assert play.run() == 0
    frames = [(frame.since, frame.at, tasks) for frame, tasks in play.camera.pictures]
    assert frames == [
        (100.25, 112.25, ["a", "b"]),
        (112.25, 250.25, ["a", "b", "c", "d"]),
        (250.25, 250.25, ["a", "b", "c", "d", "e"]),
    ]
    assert play.counters.shots.overrun == 0
    assert play.calls == ["ready"]


def test_its_workers_are_as_they_were_then(stage):
    seen = []

    class Watch(Snap):
        def on_shutter(self, state):
            seen.append([worker.hostname for worker in state.alive_workers()])

    play = stage(
        [told("worker-heartbeat", 100.0), told("worker-heartbeat", 111.0)],
        [told("task-received", 200.0)],
        replays=True,
        freq=10.0,
        kind=Watch,
    )
    play.run()
    assert seen == [["celery@one"], [], ["celery@one"]]


def test_an_empty_recording_is_one_shot_of_nothing(stage):
    play = stage(replays=True)
    assert play.run() == 0
    assert [tasks for _, tasks in play.camera.pictures] == [[]]


def test_a_slow_camera_slows_a_replay_down_and_signals_are_heard(stage):
    play = stage(replays=True, freq=10.0)
    go = threading.Event()

    def during():
        assert go.wait(PATIENCE)

    def signs():
        play.supervisor.signs += 1
        if play.supervisor.signs > 2:
            go.set()

    play.camera.during = during
    play.supervisor.watchdog = signs
    play.source.steps = [[received("a", 100.0), received("b", 120.0)]]
    assert play.run() == 0
    assert [tasks for _, tasks in play.camera.pictures] == [["a"], ["a", "b"]]


def test_once_and_a_recording_is_its_first_period(stage):
    play = stage(
        [received("a", 100.0)],
        [received("b", 105.0)],
        [received("c", 110.0)],
        [received("d", 120.0)],
        replays=True,
        once=True,
        freq=10.0,
    )
    assert play.run() == 0
    assert [tasks for _, tasks in play.camera.pictures] == [["a", "b", "c"]]


def test_the_end_comes_while_a_slow_camera_is_at_work_on_a_replay(stage):
    play = stage(replays=True, freq=10.0, shutdown_timeout=20.0)
    go = threading.Event()

    def during():
        play.flags.ending = True
        play.clock.now += 1.0
        while not go.wait(0.05):
            play.clock.now += 5.0

    play.camera.during = during
    play.source.steps = [[received("a", 100.0), received("b", 120.0)], [received("c")]]
    try:
        assert play.run() == 1
    finally:
        go.set()
    assert "c" not in play.state.tasks
