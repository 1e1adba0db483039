"""The main loop: events, filters, signals, readiness, counters, the end, and recordings."""

import itertools
import json
import math
import signal
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.alerts import parse_rule
from evtools.cam import loop
from evtools.cam.loop import STUCK_AFTER, EventFilter, ReplayClock
from evtools.cam.options import CamOptions
from evtools.cam.store import StoreCamera
from evtools.errors import AccessRefused, BrokerUnavailable, CameraFailed
from evtools.state import OTHERS
from evtools.transport import ConnectionSettings
from evtools.transport.receiver import Redelivered
from evtools.transport.source import DOCTOR
from evtools.wire import Defect, Gap, Joiner, from_fields
from tools.gaps import gap
from tools.studio import PATIENCE, Snap
from tools.told import OTHER, told


def filter_of(*filters, redact=()):
    options = CamOptions(filters=filters, redact=tuple(redact))
    keeps = EventFilter(options, now=lambda: 100.0)
    keeps.apply = partial(keeps.apply, joiner=Joiner())
    return keeps


def event(kind, **fields):
    return from_fields(told(kind, **fields))


def test_without_a_filter_all_pass_as_they_are():
    events = [event("task-sent"), event("worker-heartbeat"), event("x")]
    for keeps in (filter_of(), filter_of("", " ")):
        assert keeps.apply(events) is events
        assert keeps.notes() == []


def test_an_event_is_matched_with_the_fields_of_earlier_events_of_its_task():
    keeps = filter_of("name=shop.pay", "uuid:*")
    first = [event("task-received"), event("task-started")]
    assert keeps.apply(first) == first
    assert [each.type for each in keeps.apply([event("task-succeeded")])] == ["task-succeeded"]
    assert keeps.apply([event("task-received", uuid="b", name="shop.pack")]) == []
    assert keeps.apply([event("task-started", uuid="b")]) == []
    # Workers and gaps always pass.
    others = [event("worker-heartbeat"), from_fields(gap("reconnect", 1.0, 2.0))]
    assert keeps.apply(others) == others
    assert keeps.notes() == []


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


def received(uuid, at=10.0, **fields):
    return told("task-received", at, uuid=uuid, root_id=uuid, **fields)


# --- events ------------------------------------------------------------------------


def test_events_reach_the_state_the_camera_and_the_counters(stage):
    hole = gap("buffer", 1.0, 2.0, dropped=7)
    play = stage([received("a")], [], [told("worker-heartbeat"), received("b")], [hole])
    assert play.run() == 0
    assert sorted(play.state.tasks) == ["a", "b"]
    types = [change.event.type for change in play.camera.observed]
    assert types[:3] == ["task-received", "worker-heartbeat", "task-received"]
    assert play.counters.events == 3
    assert play.asked == [0.02]
    # Holes are noted in the next snapshot.
    (info,) = play.camera.infos
    assert (info.dropped, len(info.gaps)) == (7, 1)


def test_a_camera_that_cannot_observe_misses_that_only(stage, log):
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
        while play.supervisor.signs < 3:
            go.wait(0.01)

    def begin():
        play.thread.soon(lambda: play.state.freeze_while(hold))
        assert held.wait(PATIENCE)

    assert play.run(begin, [received("a")]) == 0
    assert list(play.state.tasks) == ["a"]


# --- signals -----------------------------------------------------------------------


def test_a_shot_can_be_wanted_now(stage):
    play = stage()
    play.run(play.want(signal.SIGUSR2), play.rest, [received("a")])
    assert play.pictures() == [[], ["a"]]


def test_counters_and_stacks_can_be_wanted(stage, log):
    play = stage()
    play.counters.shots.overrun = 3
    play.defects = [Defect("no JSON", b"\xff", "x", 2)]
    play.run(play.want(signal.SIGUSR1), [])
    counters, stacks = (line for line in log() if line.startswith(("counters:", "stacks:")))
    values = json.loads(counters.removeprefix("counters: "))
    assert values["shots"]["overrun"] == 3
    assert values["malformed"] == {"no JSON": 2}
    assert "thread MainThread:" in stacks
    assert "test_counters_and_stacks_can_be_wanted" in stacks


def test_files_can_be_opened_anew(stage):
    play = stage()
    once = (play.want(signal.SIGHUP), play.rest)
    play.run(*once, play.connect, *once)
    assert play.calls == ["hangup", "ready", "hangup"]
    assert play.camera.done == ["reopened", "reopened", "closed"]
    words = play.supervisor.words()
    assert words.count("reloading") == 1
    assert words[words.index("reloading") + 1] == "ready"


# --- readiness, the status and signs of life -----------------------------------------


def test_it_is_ready_once_events_come_and_reports_its_status_from_time_to_time(stage):
    play = stage()
    beat = [told("worker-heartbeat", 1003.0)]
    play.run([], play.connect, play.wait(4.0), beat, play.wait(1.0), play.wait(2.0))
    assert play.calls == ["ready"]
    assert play.counters.ready
    rest = "no snapshot yet, 0 failures"
    assert play.supervisor.sent[0] == ("ready", f"connected, 0 ev/s, 0 workers, {rest}")
    status = [text for word, text in play.supervisor.sent if word == "status"]
    assert status[-1] == f"connected, 0 ev/s, 1 workers, {rest}"


def test_it_is_ready_without_a_broker_after_a_while(stage):
    play = stage(ready_timeout=30.0)
    play.run(play.wait(29.0), play.wait(1.0), [])
    assert play.calls == ["ready"]
    assert play.supervisor.sent[0] == ("ready", "waiting for broker: no connection")


def test_signs_of_life_end_when_the_camera_is_stuck(stage, gate, log):
    play, counts = stage(), []

    def begin():
        play.thread.soon(gate)
        assert gate.came.wait(PATIENCE)

    def pass_(seconds):
        def step():
            play.clock.now += seconds
            counts.append(play.supervisor.signs)

        return step

    stuck = [begin, *map(pass_, (STUCK_AFTER - 1, 0, 1, 0, 0))]
    gets_on = (play.thread.gets_on, pass_(0), pass_(0))
    play.run(*stuck, *gets_on, gate.go.set, play.rest, pass_(0), pass_(0))
    grown = [after - before for before, after in itertools.pairwise(counts)]
    assert grown[:6] == [1, 1, 0, 0, 1, 1]
    assert grown[-1] == 1
    assert "the camera has been at work for 1m59s" in log()


def test_a_connection_its_loss_and_its_return_are_logged_and_known(stage, log):
    play = stage()
    sequence = play.cluster.sequence
    play.connect()
    assert play.counters.connected
    info = sequence.next(1003.0)
    assert (info.since, info.connected) == (1000.0, True)
    play.notice("lost", "cannot reach redis://h")
    assert not play.counters.connected
    assert not sequence.next(1001.0).connected
    assert play.loop._line() == "waiting for broker: cannot reach redis://h"
    play.notice("restored", "redis://h after 2s")
    assert play.counters.connected
    assert sequence.next(1002.0).connected
    play.notice("ended", "")
    assert log() == [
        "listening on redis://h",
        "connection lost: cannot reach redis://h",
        "connected again: redis://h after 2s",
    ]


def test_of_many_retries_few_are_logged(stage, log):
    play = stage()
    for number in range(100):
        play.notice("retry", f"refused; trying again in {number}s")
    assert play.cluster.why == "refused"
    assert log() == [f"refused; trying again in {number}s" for number in (0, 1, 3, 7, 15, 31, 63)]


@pytest.mark.parametrize("replays", [False, True])
def test_the_status_is_one_line(stage, replays):
    play = stage(replays=replays)
    play.counters.connected = not replays
    play.counters.events_per_second = 1284.3
    play.counters.workers_alive = 12
    play.counters.last_success_at = 999.2
    play.counters.failures_in_row = 2
    head = "replaying" if replays else "connected"
    line = f"{head}, 1284 ev/s, 12 workers, last snapshot 800ms ago, 2 failures"
    assert play.loop._line() == line


# --- counters ------------------------------------------------------------------------


def count(play, *events):
    play.loop._apply(play.cluster, [from_fields(event) for event in events])
    return play.counters


def test_events_are_counted_by_type_and_gap_records_apart(stage):
    play = stage()
    count(play, told("worker-heartbeat", 10.0), told("task-received"))
    counters = count(play, gap("reconnect", 1.0, 2.0), told("task-started", 11.0))
    assert counters.events_by_type == {"worker-heartbeat": 1, "task-received": 1, "task-started": 1}
    assert (counters.gaps, counters.events) == (1, 3)
    assert (counters.last_heartbeat_at, counters.last_event_at) == (10.25, 11.25)


def test_types_that_senders_invent_are_counted_together(stage):
    play = stage()
    count(play, *(told(f"shop-{number}") for number in range(300)))
    counters = count(play, told("shop-0"), told("shop-299"))
    assert len(counters.events_by_type) == 201
    assert counters.events_by_type[OTHERS] == 101
    assert counters.events_by_type["shop-0"] == 2


def test_rates_and_the_size_of_the_state_are_updated_from_time_to_time(stage):
    play = stage()
    play.clock.now = 20.0
    offline = told("worker-offline", 19.5, hostname=OTHER)
    heartbeats = (told("worker-heartbeat", 19.0, hostname=host) for host in (OTHER, "celery@one"))
    counters, found = count(play, *heartbeats, offline), []
    for now, events in ((100.0, 50), (105.0, 0), (105.0, 0), (110.0, 0)):
        play.loop._update(now)
        found.append(counters.events_per_second)
        count(play, *[told("task-received")] * events)
    assert found == [0.0, 10.0, 10.0, 0.0]
    assert (counters.tasks, counters.workers, counters.workers_alive) == (1, 2, 1)
    assert counters.evicted == 0


def test_the_lag_is_the_longest_delay_less_the_difference_of_the_clocks(stage):
    play = stage()
    count(play, told("worker-heartbeat", 10.0, local_received=110.0))
    count(play, told("task-received", 11.0, local_received=114.0))
    count(play, told("task-started", 12.0, local_received=112.5))
    for now, lag in ((1.0, 3.0), (2.0, None)):
        play.loop._update(now)
        assert play.counters.lag == lag


@pytest.mark.parametrize(
    "fields",
    [
        {"hostname": ["x"]},
        {"hostname": OTHER},
        {"timestamp": "x"},
        {"timestamp": None},
        {"timestamp": 10**400},
    ],
)
def test_an_event_without_time_or_known_worker_has_no_lag(stage, fields):
    play = stage()
    play.state.apply([told("worker-heartbeat")])
    play.state.get_or_create_worker(OTHER)  # which has sent no time
    play.loop._count(play.cluster, [from_fields(told("task-received", **fields))])
    play.loop._update(1.0)
    assert play.counters.lag is None


# --- problems ------------------------------------------------------------------------


def test_each_kind_of_malformed_input_is_logged_once(stage, log):
    play = stage(replays=True)
    play.defects = [Defect("no JSON", b"\xff\x1b", "line 1", 2)]
    play.loop._log_problems()
    play.defects.append(Defect("no type", b"{}"))
    play.counters.nameless = 1
    for _ in range(2):
        play.loop._log_problems()
    assert log() == [
        r"left out: no JSON (line 1): '\xff\x1b'",
        "left out: no type: '{}'",
        "some events have no uuid or hostname and were ignored",
    ]


def test_where_secrets_are_masked_only_its_length_is_logged(stage, log):
    play = stage(replays=True, redact=("x",))
    defect = Defect("no JSON", b"secret", "secret", 2, 600, "text/plain\x1b[2J")
    play.defects = [defect, Defect("no type", b"secret", "", 1, 6)]
    play.loop._log_problems()
    assert log() == [
        "left out: no JSON: 600 bytes of text/plain\\x1b[2J",
        "left out: no type: 6 bytes",
    ]


@pytest.mark.parametrize("replays", [False, True])
def test_that_nothing_comes_is_logged_once_and_of_a_broker_only(stage, log, replays):
    play = stage(replays=replays)
    for seconds in (0, 10, 0):
        play.clock.now += seconds
        play.loop._log_problems()
    assert log() == ([] if replays else [f"nothing has come for 10s; {DOCTOR}"])


# --- the end -----------------------------------------------------------------------


def test_in_the_end_all_that_has_come_by_then_is_in_a_last_shot(stage):
    play = stage()
    assert play.run(play.connect, [received("a")], play.end, [received("b")], [received("c")]) == 0
    assert play.pictures() == [["a", "b", "c"]]
    assert play.camera.done == ["closed"]
    assert play.supervisor.words()[-1] == "stopping"


def test_but_only_as_far_as_there_is_time(stage, log):
    play = stage(shutdown_timeout=20.0)
    play.left_bytes = 12345
    first, second = (play.wait(9.0), [received("a")]), (play.wait(1.0), [received("b")])
    assert play.run(play.end, *first, *second) == 0
    assert play.pictures() == [["a"]]
    assert "no time for events that have come in: 12345 bytes" in log()


def test_a_last_shot_that_fails_is_a_failure(stage):
    play = stage([received("a")])
    play.camera.fault = OSError("no")
    assert play.run() == 1


@pytest.mark.parametrize(("waited", "works"), [(0.0, 20.0), (9.0, 11.0)])
def test_a_camera_that_hangs_does_not_hold_up_the_end(stage, gate, log, waited, works):
    play = stage(shutdown_timeout=20.0)

    def during():
        play.clock.now += works
        gate()

    play.camera.during = during
    assert play.run(play.end, play.wait(waited)) == 1
    assert log()[-1] == (
        "the camera is still at work after 20.0s; events since its last snapshot may be lost"
    )


def test_what_waits_in_a_spool_is_not_lost_when_a_store_hangs_at_the_end(
    stage, gate, log, tmp_path
):
    play = stage([received("a")], kind=partial(Shop, spool=str(tmp_path)), shutdown_timeout=20.0)

    def store(batch):
        play.clock.now += 20.0
        gate()

    play.camera.store = store
    assert play.run() == 1
    words = "the camera is still at work after 20.0s; what it has not stored is in the spool"
    assert log()[-1] == words


def test_one_that_holds_the_state_for_ever_does_not_either(stage, gate):
    play = stage(shutdown_timeout=20.0)

    def begin():
        play.thread.soon(lambda: play.state.freeze_while(gate))
        assert gate.came.wait(PATIENCE)
        play.ending = True
        watch.start()

    def pass_time():
        # The loop waits for the state, and sees the time pass while it does.
        while not gate.go.wait(0.05):
            play.clock.now += 5.0

    watch = threading.Thread(target=pass_time)
    assert play.run(begin, [received("a")], [received("b")]) == 1
    gate.go.set()
    watch.join(PATIENCE)


def test_when_the_camera_gives_up_so_does_it(stage):
    play = stage(freq=1.0, max_failures=2)
    play.camera.fault = OSError(28, "no space left")
    with pytest.raises(CameraFailed, match="gave up after 2 failures"):
        play.run(play.wait(100.0), play.wait(100.0), [received("a")])
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
    play.left_bytes = 12345  # of what came too late
    first = (play.wait(20.0), play.connect, [received("a")])
    assert play.run(*first, play.wait(9.0), [received("b")], play.wait(1.0), [received("c")]) == 0
    assert play.pictures() == [["a", "b"]]
    assert play.camera.done == ["closed"]
    assert not [line for line in log() if "no time" in line]


def test_without_a_broker_there_is_nothing_to_shoot(stage):
    play = stage(once=True, ready_timeout=30.0)
    play.notice("retry", "connection refused; trying again in 1s")
    with pytest.raises(BrokerUnavailable, match="connection refused"):
        play.run(play.wait(31.0))
    assert play.camera.pictures == []


def test_who_ends_it_before_that_gets_a_shot_all_the_same(stage):
    play = stage(once=True, ready_timeout=30.0, shutdown_timeout=100.0)
    assert play.run(play.end, play.wait(40.0)) == 0
    assert len(play.camera.pictures) == 1


def test_a_test_prints_the_picture_and_writes_nothing(stage, capsysbinary):
    play = stage(test=True, freq=10.0)
    assert play.run(play.connect, [received("a")], play.wait(10.0)) == 0
    info, tasks = json.loads(capsysbinary.readouterr().out)
    assert (info["sequence"], tasks) == (1, ["a"])
    assert play.camera.pictures == play.camera.done == []


def test_of_another_camera_it_prints_what_that_would_look_at(stage, capsysbinary):
    play = stage(test=True, freq=10.0, kind=Snap)
    assert play.run(play.connect, [received("a")], play.wait(10.0)) == 0
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
    shots = [(info.since, info.at, tasks) for info, tasks in play.camera.pictures]
    assert shots == [
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

    beats = [told("worker-heartbeat", 100.0), told("worker-heartbeat", 111.0)]
    stage(beats, [told("task-received", 200.0)], replays=True, freq=10.0, kind=Watch).run()
    assert seen == [["celery@one"], [], ["celery@one"]]


def test_an_empty_recording_is_one_shot_of_nothing(stage):
    play = stage(replays=True)
    assert play.run() == 0
    assert play.pictures() == [[]]


def test_a_slow_camera_slows_a_replay_down_and_signals_are_seen(stage, gate):
    play = stage(replays=True, freq=10.0)

    def signs():
        play.supervisor.signs += 1
        if play.supervisor.signs > 2:
            gate.go.set()

    play.camera.during = gate
    play.supervisor.watchdog = signs
    assert play.run([received("a", 100.0), received("b", 120.0)]) == 0
    assert play.pictures() == [["a"], ["a", "b"]]


def test_once_and_a_recording_is_its_first_period(stage):
    batches = [[received(uuid, at)] for uuid, at in zip("abcd", (100, 105, 110, 120), strict=True)]
    play = stage(*batches, replays=True, once=True, freq=10.0)
    assert play.run() == 0
    assert play.pictures() == [["a", "b", "c"]]


def test_the_end_comes_while_a_slow_camera_is_at_work_on_a_replay(stage, gate):
    play = stage(replays=True, freq=10.0, shutdown_timeout=20.0)

    def during():
        play.ending = True
        play.clock.now += 1.0
        while not gate.go.wait(0.05):
            play.clock.now += 5.0

    play.camera.during = during
    assert play.run([received("a", 100.0), received("b", 120.0)], [received("c")]) == 1
    assert "c" not in play.state.tasks


# --- several clusters --------------------------------------------------------------


def test_what_has_one_name_in_two_clusters_is_two_things(stage):
    play = stage(kind=Snap, names=("prod", "eu"), max_tasks=9, max_memory=2_000_000, freq=1.0)
    play.clusters["prod"].camera.fault = OSError("no")
    first = [received("a") | {"cluster": "prod"}], [received("b") | {"cluster": "eu"}]
    assert play.run(*first, play.wait(1.0), play.wait(10.0)) == 1
    # Each has a camera of its own, and the failures of one are not those of the other.
    assert play.clusters["eu"].camera.seen[0] == ["b"]
    assert play.clusters["eu"].camera.state.cluster == "eu"
    assert play.counters.failures_in_row == play.counters.shots.failed > 1
    for each in play.clusters.values():
        assert [*each.state.workers] == ["celery@one"]
        assert (each.state.max_tasks_in_memory, each.state.max_bytes) == (4, 1_000_000)
    assert play.counters.as_dict()["events_by_type"] == {"task-received": 2}


def test_it_is_ready_for_the_first_cluster_once_each_was_tried(stage, log):
    play = stage(names=("prod", "eu", "mq"))
    sent = play.supervisor.words
    play.run(
        lambda: play.notice("listening", "redis://p", "prod"),
        lambda: play.notice("retry", "cannot reach redis://e; trying again in 1s", "eu"),
        lambda: play.calls.append(sent().count("ready")),
        lambda: play.notice("refused", "wrong password", "mq"),
        lambda: play.calls.append(sent().count("ready")),
    )
    assert play.calls == [0, "ready", 1]
    away = "away: eu: cannot reach redis://e; mq: wrong password; in all"
    assert play.loop._line().startswith(f"connected to prod; {away}, 0 ev/s, 0 workers")
    assert log() == [
        "prod: listening on redis://p",
        "eu: cannot reach redis://e; trying again in 1s",
        "mq: wrong password; nothing more is recorded of it, the others go on",
    ]
    assert {name: each.counters.connected for name, each in play.clusters.items()} == {
        "prod": True, "eu": False, "mq": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("notice", "ends"), [("listening", 1021.0), ("refused", 1021.0), ("", 1040.0)]
)
def test_the_only_snapshot_waits_for_all_that_may_still_come(stage, notice, ends):
    play = stage(names=("prod", "eu"), once=True, freq=10.0, ready_timeout=30.0)
    steps = [play.wait(1.0) for _ in range(60)]
    steps[:10] = [lambda: play.notice("listening", "redis://p", "prod"), *steps[:9]]
    if notice:
        steps.insert(12, lambda: play.notice(notice, "redis://e", "eu"))
    assert play.run(*steps) == (0 if notice == "listening" else 69)
    assert play.clock.now == ends
    assert [len(each.camera.pictures) for each in play.clusters.values()] == [1, 1]


def test_a_recording_has_its_own_clusters_and_not_too_many(stage, log, monkeypatch):
    monkeypatch.setattr(loop, "CLUSTERS_MAX", 2)
    hole = {"type": Gap.type, "reason": "stopped", "from": 1.0, "to": 2.0}
    play = stage(
        [received("a", 100.0) | {"cluster": "prod"}, received("a", 100.0) | {"cluster": "eu"}],
        [{**hole, "local_received": 101.0}],
        [received(uuid, 111.0) | {"cluster": uuid} for uuid in ("asia", "mars")],
        replays=True, freq=10.0,
    )  # fmt: skip
    assert play.run() == 0
    assert {*play.loop.states} == {"eu", "prod"}
    for name, each in play.loop._clusters.items():
        assert [(info.cluster, tasks) for info, tasks in each.camera.pictures] == [
            (name, ["a"])
        ] * 2
        assert [hole.reason for hole in each.camera.infos[0].gaps] == ["stopped"]
    assert play.counters.left_out == 2
    assert "more than 2 clusters: the events of others are left out, as of asia" in log()[0]
    assert "2 events of clusters beyond 2 were left out" in log()


# --- alerts -----------------------------------------------------------------------------


def rules(*tables):
    return tuple(
        parse_rule(f"a{n}", f"f: alert.a{n}", {"window": "10s", **each})
        for n, each in enumerate(tables)
    )


def test_alerts_of_a_recording_go_by_its_time_and_its_clusters(stage, log):
    hole = {"type": Gap.type, "reason": "stopped", "from": 1.0, "to": 2.0}
    play = stage(
        [received("a", 100.0) | {"cluster": "prod"}, received("a", 100.0) | {"cluster": "eu"}],
        [{**hole, "local_received": 101.0}],
        [received("b", 150.0) | {"cluster": "eu"}],
        replays=True,
        alerts=rules({"filter": "type:task-received"}, {"view": "types", "filter": "has:name",
            "window": "1m"}),
    )  # fmt: skip
    assert play.run() == 0
    assert [line.partition(" shop")[0] for line in log() if "a0" in line] == [
        "alert a0 fired: type:task-received: eu", "alert a0 fired: type:task-received: prod",
        "alert a0 resolved: type:task-received: eu", "alert a0 resolved: type:task-received: prod",
    ]  # fmt: skip
    assert sum("alert a1 fired" in line for line in log()) == 2
    assert not any("alerts" in line for line in log())  # that something failed


def test_what_waits_for_a_hook_is_delivered_in_the_end_while_there_is_time(stage, log, tmp_path):
    out = tmp_path / "out"
    play = stage(
        [received("a", 999.0)],
        alerts=rules({"filter": "x or type:task-received", "run": f"sh -c 'cat >> {out}'"}),
    )
    play.connect()
    assert play.run() == 0
    assert json.loads(out.read_text())["state"] == "fired"
    assert play.loop._line().endswith("1 alert fires")
    hanging = {"filter": "type:*", "window": "1h", "run": "sleep 600"}
    play = stage([received("a", 999.0)], alerts=rules(hanging))
    play.connect()
    now = itertools.count(1000.0, 5.0)
    # Time passes once the camera has ended, however long that takes.
    play.clock.monotonic = lambda: next(now) if play.thread.join(0.0) else 1000.0
    assert play.run() == 0
    assert "alert a0: sleep 600: evcam ends, and 1 notices were not delivered" in log()


# --- a queue that keeps events --------------------------------------------------------


class Shop(StoreCamera):
    """Store everything."""

    def store(self, batch):
        pass


def keeping(**how):
    return ConnectionSettings(event_queue="q", event_queue_ttl=60.0, **how)


def test_the_broker_keeps_what_is_not_in_a_spool_yet(stage, tmp_path):
    stage = stage(kind=partial(Shop, spool=str(tmp_path)))
    [kept] = stage.loop.keep([keeping(event_queue_expires=30.0)])
    assert kept.acknowledges
    assert stage.camera.kept_for == 30.0
    acknowledged, marks = [], []
    # There is no room for the second batch, then there is, without any other event.
    answers = iter([True, False, False])
    stage.acknowledge = acknowledged.append
    stage.camera.persist = lambda: next(answers, True)

    def mark():
        marks.append(len(acknowledged))

    stage.run([told("task-received")], mark, [told("task-started")], mark, mark)
    assert marks == [1, 2, 3]


def test_without_a_spool_or_a_queue_nothing_is_kept(stage, tmp_path):
    plain = stage(kind=Shop).loop
    assert [each.acknowledges for each in plain.keep([keeping()])] == [False]
    spooling = stage(kind=partial(Shop, spool=str(tmp_path))).loop
    assert [each.acknowledges for each in spooling.keep([ConnectionSettings()])] == [False]


def test_what_is_delivered_again_reaches_neither_state_nor_spool_twice(stage, tmp_path):
    stage = stage(kind=partial(Shop, spool=str(tmp_path)))
    events = [told("task-received", uuid=uuid) for uuid in "ab"]
    batches = [[from_fields(event) for event in events[:count]] for count in (1, 2)]
    stage.events = lambda timeout: iter([batches[0], Redelivered(batches[1])])
    stage.run()
    assert stage.state.event_count == 2
    assert stage.camera.spool.end.event == 2
