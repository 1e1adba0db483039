"""Everything evtop can do to a cluster, done to real workers on real brokers."""

from __future__ import annotations

import ast
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from evtools.clock import SystemClock
from evtools.state import State
from evtools.top.control import BY_NAME, ControlClient, Request, prepare
from evtools.top.rerun import prepare_again
from evtools.transport import ConnectionSettings
from servers.process import wait_until
from servers.redis import RedisServer

if TYPE_CHECKING:
    from cluster.worker import Worker

Act = Callable[..., Request]


@pytest.fixture
def act() -> Iterator[Callable[[Worker], Act]]:
    """Carry out actions: `act(worker)("terminate", uuid, signal="SIGKILL")`.

    Each waits until the worker has answered, or for `deadline` seconds.
    """
    clients = []

    def open_client(worker: Worker, *, deadline: float = 30) -> Act:
        settings = ConnectionSettings(urls=worker.broker_url, event_exchange=worker.event_exchange)
        done = threading.Semaphore(0)
        clock = SystemClock()
        client = ControlClient(settings, done.release, clock=clock, deadline=deadline)
        clients.append(client)
        state = State()
        state.apply([_beat(worker)])

        def carry_out(command: str | Request, *targets: str, **answers: str) -> Request:
            request = command
            if isinstance(request, str):
                request = prepare(state, BY_NAME[request], targets, now=clock.wall())
            client.submit(request.answered(answers))
            assert done.acquire(timeout=60)
            outcome = client.take()
            assert outcome is not None
            return outcome

        return carry_out

    yield open_client
    for client in clients:
        client.close()


def _beat(worker: Worker) -> dict[str, Any]:
    now = SystemClock().wall()
    return {
        "type": "worker-heartbeat",
        "hostname": worker.hostname,
        "timestamp": now,
        "local_received": now,
        "freq": 600.0,
        "active": 0,
        "processed": 0,
        "pid": worker.pid,
        "clock": 1,
    }


def ask(worker: Worker, command: str, **arguments: Any) -> Any:
    """Ask the worker with Celery's own remote control."""
    replies = worker.app.control.broadcast(
        command, arguments=arguments, reply=True, destination=[worker.hostname], timeout=20, limit=1
    )
    return replies[0][worker.hostname]


@pytest.fixture
def own_worker(worker: Any, broker: Any, event_exchange: str) -> Worker:
    """A worker for one test, on each kind of broker in turn.

    Nobody else is there to answer.
    """
    apart = isinstance(broker, RedisServer)
    url = broker.fresh_url() if apart else broker.vhost_url("staging")
    made: Worker = worker(url, event_exchange=event_exchange)
    return made


@pytest.fixture(scope="module")
def steady_worker(broker: Any, _start_any_worker: Any) -> Iterator[Worker]:
    """A worker for the tests that leave it as it was, alone on each kind of broker."""
    apart = isinstance(broker, RedisServer)
    url = broker.fresh_url() if apart else broker.vhost_url("team%2Fqueue")
    made: Worker = _start_any_worker(url, event_exchange="celeryev.steady", queue="steady")
    try:
        made.start()
        yield made
    finally:
        made.end()


# --- tasks ------------------------------------------------------------------------


def test_a_task_that_waits_is_revoked_and_never_starts(own_worker, act, celery_capture):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    send = own_worker.app.send_task
    # As many as it takes: the others wait until these have ended.
    running = [send("cluster.occupy", args=(600,)).id for _ in range(4)]
    capture.wait_for_each(running, {"task-received"})
    ids = [send("cluster.add", args=(1, n)).id for n in range(2)]
    outcome = act(own_worker)("revoke", *ids)
    assert outcome.good, outcome.sentence()
    assert outcome.sentence().startswith("Revoke, 2 tasks: 1 of 1 worker replied in")
    own_worker.app.control.revoke(running, terminate=True, signal="SIGKILL")
    capture.wait_for_each(ids, {"task-revoked"})
    assert not [event for event in capture.select(type="task-started") if event["uuid"] in ids]


def test_a_task_that_runs_is_terminated(own_worker, act, celery_capture):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    uuid = own_worker.app.send_task("cluster.occupy", args=(60,)).id
    capture.wait_for(type="task-started", uuid=uuid)
    outcome = act(own_worker)("terminate", uuid, signal="SIGKILL")
    assert outcome.good, outcome.sentence()
    [event] = capture.wait_for(type="task-revoked", uuid=uuid)
    assert event["terminated"]


def test_tasks_with_a_stamp_are_revoked_and_those_that_run_are_terminated(
    own_worker, act, celery_capture
):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    sign = own_worker.app.signature("cluster.occupy", args=(60,), app=own_worker.app)
    sign.stamp(rush="a=b", number=7)
    uuid = sign.apply_async().id
    capture.wait_for(type="task-started", uuid=uuid)
    do = act(own_worker)
    outcome = do("revoke-stamped", "rush=c", signal="SIGKILL")
    assert "were not terminated" in outcome.sentence()
    assert do("revoke-stamped", "number=7", signal="SIGKILL").good
    capture.wait_for(type="task-revoked", uuid=uuid)
    assert "flagged as revoked, but not terminated" in do("revoke-stamped", "rush=a=b").sentence()
    sign = own_worker.app.signature("cluster.add", args=(1, 1), app=own_worker.app)
    sign.stamp(rush="a=b")
    uuid = sign.apply_async().id
    capture.wait_for(type="task-revoked", uuid=uuid)


#: A task of every kind of signature.
SIGNATURES: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((4711, -2.5, 1e300, None, True), {}),
    ((), {"to": "a@b.example", "note": "say 'no'", "é": 1}),
    (("it's", 'a "quote"', "é 日本 \U0001f980", "two\nlines\t", ""), {}),
    (([1, [2, 3]], {"a": {"b": 1}}), {"deep": {"x": 2}}),
    (("2026-11-30T12:00:00+00:00", "b1946ac9-2492-4f0c-a1f5-5e1b2e1c1f0a"), {"amount": "12.30"}),
]
#: Those that events do not have whole, or have as no literals.
UNKNOWN: list[tuple[Any, str]] = [
    ("x" * 1100, "were cut by the sender"),
    ({"a": {"b": {"c": 1}}}, "were cut by the sender"),
    (datetime(2026, 11, 30, tzinfo=UTC), "are not literals"),
    (b"bytes", "are not literals"),
    ("C:\\new", "are not literals"),
]


def test_tasks_are_run_again_with_the_same_arguments_or_not_at_all(
    own_worker, act, celery_capture, caplog
):
    caplog.set_level("INFO")
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    send = own_worker.app.send_task
    ids = [send("cluster.refuse", args=one, kwargs=two).id for one, two in SIGNATURES]
    lost = {send("cluster.refuse", args=(one,)).id: why for one, why in UNKNOWN}
    capture.wait_for_each([*ids, *lost], {"task-failed"})
    state = State()
    state.apply(capture.events)
    now = SystemClock().wall()
    request = prepare_again(state, BY_NAME["run-again"], [*ids, *lost], now=now)
    refused = {target: why for target, _, why in request.refused}
    assert refused == {uuid: refused[uuid] for uuid, why in lost.items() if why in refused[uuid]}
    outcome = act(own_worker)(request)
    assert outcome.good, outcome.sentence()
    again = {reply.name: reply.text.removeprefix("sent as ") for reply in outcome.replies}
    assert list(again) == ids
    capture.wait_for_each(again.values(), {"task-failed"})
    ends = {one["uuid"]: one["exception"] for one in capture.events if one["type"] == "task-failed"}
    for uuid, (args, kwargs) in zip(ids, SIGNATURES, strict=True):
        received = json.loads(ast.literal_eval(ends[again[uuid]].removeprefix("ValueError")))
        assert received == json.loads(json.dumps([args, kwargs]))
        assert ends[again[uuid]] == ends[uuid]
    [line] = [one.message for one in caplog.records if one.message.startswith("audit ")]
    facts = json.loads(line.removeprefix("audit "))
    assert facts["replies"] == {old: f"sent as {new}" for old, new in again.items()}
    assert {old: call["root"] for old, call in facts["calls"].items()} == {
        uuid: uuid for uuid in ids
    }
    assert set(facts["refused"]) == set(lost)


# --- types ------------------------------------------------------------------------


def test_the_rate_of_a_type_is_limited(steady_worker, act):
    outcome = act(steady_worker)("rate-limit", "cluster.add", rate_limit="7/m")
    assert outcome.good, outcome.sentence()
    listed = ask(steady_worker, "registered", taskinfoitems=["rate_limit"])
    assert "cluster.add [rate_limit=7/m]" in listed


def test_the_run_time_of_a_type_is_limited(steady_worker, act):
    outcome = act(steady_worker)("time-limit", "cluster.occupy", soft="1s", hard="2s")
    assert outcome.good, outcome.sentence()
    listed = ask(steady_worker, "registered", taskinfoitems=["soft_time_limit", "time_limit"])
    assert "cluster.occupy [soft_time_limit=1.0 time_limit=2.0]" in listed


def test_a_type_that_no_worker_has_is_told_by_each(steady_worker, act):
    outcome = act(steady_worker)("rate-limit", "no.such.type", rate_limit="1/s")
    assert not outcome.good
    assert f"{steady_worker.hostname}: unknown task" in outcome.sentence()


# --- workers ----------------------------------------------------------------------


def test_a_worker_answers_a_ping(steady_worker, act):
    outcome = act(steady_worker)("ping", steady_worker.hostname)
    assert [reply.text for reply in outcome.replies] == ["pong"]
    assert outcome.sentence().startswith(f"Ping, worker {steady_worker.hostname}, online")


def test_events_are_switched_on_and_off(worker, broker_url, event_exchange, act, celery_capture):
    silent = worker(broker_url, event_exchange=event_exchange, events=False)
    # Its application says -E for all; what counts is what it is told.
    ask(silent, "disable_events")
    capture = celery_capture(broker_url, event_exchange)
    do = act(silent)
    assert do("enable-events", silent.hostname).good
    uuid = silent.app.send_task("cluster.add", args=(1, 2)).id
    capture.wait_for(type="task-succeeded", uuid=uuid)
    assert do("disable-events", silent.hostname).good


def test_the_pool_grows_and_shrinks(steady_worker, act):
    do = act(steady_worker)

    def size() -> int:
        return len(ask(steady_worker, "stats")["pool"]["processes"])

    before = size()
    assert do("pool-grow", steady_worker.hostname, n="1").good
    wait_until(lambda: size() == before + 1, deadline=20, what="one process more")
    assert do("pool-shrink", steady_worker.hostname, n="1").good
    wait_until(lambda: size() == before, deadline=20, what="one process less")


def test_the_pool_scales_itself_where_it_may(worker, broker_url, event_exchange, act):
    scaling = worker(broker_url, event_exchange=event_exchange, arguments=("--autoscale", "2,1"))
    outcome = act(scaling)("autoscale", scaling.hostname, max="3", min="2")
    assert outcome.good, outcome.sentence()
    assert ask(scaling, "stats")["autoscaler"]["max"] == 3


def test_a_worker_that_may_not_scale_itself_says_so(steady_worker, act):
    outcome = act(steady_worker)("autoscale", steady_worker.hostname, max="3", min="1")
    assert not outcome.good
    assert "Autoscale not enabled" in outcome.sentence()


def test_a_pool_is_restarted_only_where_the_worker_allows_it(steady_worker, act):
    outcome = act(steady_worker)("pool-restart", steady_worker.hostname)
    assert not outcome.good
    assert "Pool restarts not enabled" in outcome.sentence()


def queues_of(worker: Worker) -> set[str]:
    return {queue["name"] for queue in ask(worker, "active_queues")}


def wait_consumes(worker: Worker, queue: str, *, consumes: bool) -> None:
    """Wait for what a worker has said yes to: it does it in its own time."""
    wait_until(
        lambda: (queue in queues_of(worker)) is consumes,
        deadline=15,
        what=lambda: f"{queue} among {queues_of(worker)}: {consumes}",
    )


def test_a_worker_begins_and_stops_to_consume_a_queue(steady_worker, act):
    do = act(steady_worker)
    queue = "begun"
    assert do("add-consumer", steady_worker.hostname, queue=queue).good
    wait_consumes(steady_worker, queue, consumes=True)
    assert do("cancel-consumer", steady_worker.hostname, queue=queue).good
    wait_consumes(steady_worker, queue, consumes=False)


def test_a_queue_is_given_to_a_worker_and_taken_from_all(steady_worker, act):
    do = act(steady_worker)
    queue = "given"
    assert do("queue-add", queue, worker=steady_worker.hostname).good
    wait_consumes(steady_worker, queue, consumes=True)
    assert do("queue-cancel", queue).replied >= 1
    wait_consumes(steady_worker, queue, consumes=False)


def test_a_worker_is_shut_down(own_worker, act):
    outcome = act(own_worker)("shutdown", own_worker.hostname)
    assert outcome.good
    assert outcome.sentence().endswith("sent; workers do not answer this")
    wait_until(lambda: not own_worker.process.running, deadline=30, what="the worker to end")
    assert own_worker.process.returncode == 0


def test_a_worker_that_is_silent_is_missing_among_the_replies(steady_worker, act):
    do = act(steady_worker, deadline=10)
    outcome = do("ping", steady_worker.hostname, "nobody@nowhere")
    assert not outcome.good
    assert "1 of 2 workers replied" in outcome.sentence()


# --- from the keyboard --------------------------------------------------------------


def test_a_running_task_is_terminated_from_the_keyboard_and_it_is_on_record(
    evtop, own_worker, celery_capture
):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    watching = evtop(
        *("-b", own_worker.broker_url, "--event-exchange", own_worker.event_exchange),
        *("--log-file", "evtop.log", "name:occupy", "--ascii"),
        terminal=(120, 32),
        patient=True,
    )
    watching.wait_ready()
    uuid = own_worker.app.send_task("cluster.occupy", args=(60,)).id
    capture.wait_for(type="task-started", uuid=uuid)
    watching.wait_screen(uuid[:8])
    watching.press("K")
    watching.wait_screen("SIGKILL")
    watching.press("down", "enter")
    watching.wait_screen("its process gets the signal")
    watching.press("y")
    capture.wait_for(type="task-revoked", uuid=uuid)
    watching.wait_screen("Revoke and terminate, task cluster.occupy", deadline=30)
    log = evtop.folder / "evtop.log"
    wait_until(lambda: "audit " in log.read_text(), deadline=10, what="a line in the log")
    facts = json.loads(log.read_text().partition("audit ")[2])
    assert (facts["action"], facts["targets"]) == ("terminate", [uuid])
    assert facts["arguments"] == {"signal": "SIGKILL"}
    assert own_worker.hostname in facts["replies"]
    watching.press("Q")
    assert watching.wait() == 0


def test_a_task_that_hangs_is_found_terminated_and_the_reply_seen_in_five_keys(
    evtop, own_worker, celery_capture
):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    uuid = own_worker.app.send_task("cluster.occupy", args=(300,)).id
    capture.wait_for(type="task-started", uuid=uuid)
    watching = evtop(
        *("-b", own_worker.broker_url, "--event-exchange", own_worker.event_exchange),
        terminal=(80, 24),
        patient=True,
    )
    watching.wait_screen("wk 1/1")
    ids = [own_worker.app.send_task("cluster.refuse", args=(n,)).id for n in range(3)]
    capture.wait_for_each(ids, {"task-failed"})
    watching.wait_screen(lambda screen: screen.count("FAIL ") == 3 and uuid[:8] in screen)
    watching.press("o")
    watching.wait_screen("RUN")
    watching.press("9")
    watching.wait_screen(lambda screen: re.search(rf">RUN .*{uuid[:8]}", screen))
    watching.press("K")
    watching.wait_screen("SIGTERM")
    watching.press("enter")
    watching.wait_screen("its process gets the signal")
    watching.press("y")
    watching.wait_screen("1 of 1 worker replied", deadline=30)
    capture.wait_for(type="task-revoked", uuid=uuid)
    watching.wait_screen(lambda screen: re.search(rf"REVOKE .*{uuid[:8]}", screen))
    watching.press("Q")
    assert watching.wait() == 0


@pytest.mark.parametrize("keys", ["6 R 3 enter", "space space space R 3 enter"])
def test_failed_tasks_are_run_again_in_a_few_keys(evtop, own_worker, celery_capture, keys):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    watching = evtop(
        *("-b", own_worker.broker_url, "--event-exchange", own_worker.event_exchange),
        *("--log-file", "evtop.log"),
        terminal=(80, 24),
    )
    watching.wait_screen("wk 1/1")
    ids = [own_worker.app.send_task("cluster.refuse", args=(n,)).id for n in range(3)]
    capture.wait_for_each(ids, {"task-failed"})
    watching.wait_screen(lambda screen: screen.count("FAIL ") == 3)
    for key in keys.split():
        if key == "enter":
            watching.wait_screen("Type 3 to confirm: 3")
        watching.press(key)
    wait_until(lambda: len(capture.select(type="task-failed")) == 6, what="three more failures")
    again = [one for one in capture.select(type="task-received") if one["uuid"] not in ids]
    assert sorted((one["args"], one["root_id"], one["parent_id"]) for one in again) == sorted(
        (f"({number},)", uuid, uuid) for number, uuid in enumerate(ids)
    )
    watching.wait_screen("sent as ")
    watching.press("esc", "1", "t")
    watching.wait_screen(
        lambda screen: (
            screen.count("`- cluster.refuse") == 3 or screen.count("└─ cluster.refuse") == 3
        )
    )
    watching.press("Q")
    assert watching.wait() == 0


# --- read-only ----------------------------------------------------------------------

#: Keys that would lead to a change, on every view.
_HARMFUL = ("C", "K", "L", "R", "6", "R", "1", "a", "3", "S", "a", "4", "a", "2", "L")


def _press_everything(watching: Any) -> None:
    watching.wait_screen("LIVE", deadline=20)
    watching.press(*_HARMFUL)
    watching.wait_screen("read-only mode")
    watching.press("Q")
    assert watching.wait() == 0


class Monitor:
    """Everything that clients ask of a Redis, database by database."""

    def __init__(self, server: Any, folder: Any) -> None:
        from servers.process import Process, program

        self._server, self._numbers = server, itertools.count()
        self._log = folder / "monitor.log"
        self.process = Process(
            [program("redis-cli"), "-p", str(server.port), "monitor"], log=self._log
        )
        self.process.start()
        self.process.wait_ready(lambda: "OK" in self._log.read_text(), deadline=10)

    def commands(self, database: int) -> list[str]:
        """Return the names of the commands in a database so far, in their order."""
        of_database, until = f"[{database} ", f"until {next(self._numbers)}"
        self._server.redis_cli("ECHO", until)
        wait_until(lambda: f'"{until}"' in self._log.read_text(), what="all that was asked")
        return [
            line.split('"')[1].upper()
            for line in self._log.read_text().splitlines()
            if of_database in line
        ]


@pytest.fixture
def monitor(redis_server: Any, tmp_path: Any) -> Iterator[Monitor]:
    """Listen to what is asked of the shared Redis."""
    made = Monitor(redis_server, tmp_path)
    yield made
    made.process.kill()


_PUBLISHING = {"PUBLISH", "SPUBLISH", "LPUSH", "RPUSH", "LMOVE", "XADD", "EVALSHA"}


def test_read_only_nothing_is_published_on_redis(evtop, redis_url, monitor, sender):
    database = int(redis_url.rpartition("/")[2])
    watching = evtop("-b", redis_url, "--read-only", "--broker-stats")
    _press_everything(watching)
    asked = monitor.commands(database)
    assert "SUBSCRIBE" in "".join(asked)
    assert not _PUBLISHING.intersection(asked)


def test_without_it_the_workers_are_asked_for_a_heartbeat(evtop, redis_url, monitor):
    database = int(redis_url.rpartition("/")[2])
    watching = evtop("-b", redis_url)
    watching.wait_ready()
    wait_until(
        lambda: "PUBLISH" in monitor.commands(database), deadline=10, what="the wake-up call"
    )
    watching.press("Q")
    assert watching.wait() == 0


@pytest.mark.parametrize("mode", ["screen", "batch", "check"])
def test_read_only_a_user_without_write_permission_suffices(evtop, rabbitmq_server, sender, mode):
    url = rabbitmq_server.vhost_url("", user="listener", password="listener-secret")
    sender(rabbitmq_server.url, "celeryev")  # somebody has declared the exchange
    common = ("-b", url, "--read-only", "--broker-stats")
    if mode == "screen":
        watching = evtop(*common)
        _press_everything(watching)
    elif mode == "batch":
        printing = evtop(*common, "-B", "-d", "3s", terminal=None)
        assert printing.wait(deadline=30) == 0
    else:
        checking = evtop(*common[:3], "--check", "worker=x@y", "-d", "3s", terminal=None)
        assert checking.wait(deadline=30) == 2
        assert "sent no heartbeat" in checking.stdout


@pytest.mark.parametrize("how", ["flag", "variable", "file"])
def test_read_only_can_be_set_everywhere(evtop, redis_url, monitor, how):
    (evtop.folder / "ro.toml").write_text("read_only = true\n")
    arguments = {"flag": ["--read-only"], "file": ["--config", "ro.toml"]}
    env = {"EVTOOLS_READ_ONLY": "1"} if how == "variable" else {}
    watching = evtop("-b", redis_url, *arguments.get(how, []), env=env)
    watching.wait_screen(lambda screen: "LIVE" in screen and "RO" in screen, deadline=20)
    watching.press("Q")
    assert watching.wait() == 0
    database = int(redis_url.rpartition("/")[2])
    assert not _PUBLISHING.intersection(monitor.commands(database))
