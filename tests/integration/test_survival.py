"""evdump and evtop outlive their broker, and the broker outlives evdump."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
import uuid
from urllib.parse import urlsplit

import pytest

from servers.ports import HOST
from servers.process import wait_until
from servers.rabbitmq import RabbitMQServer
from servers.redis import RedisServer
from tools.command import EvdumpStarter
from tools.daemon import is_there
from tools.flow import Flow

#: Deaths of the broker in one run; RabbitMQ takes seconds to come back.
DEATHS = {RedisServer: 5, RabbitMQServer: 3}


def last_number(dump):
    """Return the number of the last event that evdump printed."""
    *_, line, _ = ("\n\n" + dump.stdout).rsplit("\n", 2)
    return json.loads(line).get("number", -1) if line else -1


def records_of(dump):
    # The last line may not be whole yet.
    return [json.loads(line) for line in dump.stdout.split("\n")[:-1]]


@pytest.mark.timeout(180)
def test_it_survives_the_deaths_of_its_broker_and_hides_no_hole(evdump, own_broker):
    deaths = DEATHS[type(own_broker)]
    dump = evdump("-b", own_broker.url, "-o", "json", "--no-wakeup")
    dump.wait_ready()
    with Flow(own_broker.url, "celeryev", rate=100) as flow:
        for _ in range(deaths):
            seen = last_number(dump)
            wait_until(lambda seen=seen: last_number(dump) > seen, what="an event")
            own_broker.kill()
            own_broker.start()
            # Two more, as one may have been on its way; a driver that quietly
            # tries again does not tell that its broker was away.
            sent = flow.sent
            wait_until(
                lambda sent=sent: flow.sent > sent + 1, deadline=20, what="the flow to go on"
            )
            again = flow.sent
            wait_until(
                lambda again=again: last_number(dump) >= again,
                deadline=20,
                what=lambda: f"events; {dump.stderr}",
            )
    assert dump.stop() == 0
    records = records_of(dump)
    gaps = [record for record in records if record["type"] == "evdump-gap"]
    assert [gap["reason"] for gap in gaps] == ["reconnect"] * deaths
    assert all(gap["duration"] > 0 and gap["error"] for gap in gaps)
    assert f"0 lost, {deaths} gaps (" in dump.stderr
    assert no_hole_is_hidden(records)


def no_hole_is_hidden(records):
    """Say whether numbers are missing only where a gap record says so."""
    expected = records[0]["number"]
    for record in records:
        if record["type"] == "evdump-gap":
            expected = None
        elif expected in (None, record["number"]):
            expected = record["number"] + 1
        else:
            return False
    return True


# --- on the screen ------------------------------------------------------------------


def kill(broker):
    """Kill a broker; return when it has closed its connections."""
    address = urlsplit(broker.url)
    witness = socket.create_connection((address.hostname, address.port), timeout=10)
    broker.process.signal_group(signal.SIGKILL)
    with witness, contextlib.suppress(ConnectionResetError):
        assert witness.recv(1) == b""


@pytest.mark.timeout(120)
def test_a_broker_that_dies_is_told_of_and_the_last_data_stay(evtop, own_broker):
    top = evtop("-b", own_broker.url, terminal=(120, 32))
    with Flow(own_broker.url, "celeryev", rate=50):
        top.wait_screen("LIVE")
        top.press("5")
        top.wait_screen("[5 Events]")
        wait_until(lambda: len(top.screen().split("\n")[6].split()) > 2, what="an event")
        kill(own_broker)
        top.wait_screen(lambda screen: "data as of" in screen and "RECONNECTING" in screen)
        # The picture may have come in two pieces, of which this was the first.
        wait_until(lambda: len(top.screen().split("\n")[6].split()) > 2, what="the last data")
        own_broker.kill()
        own_broker.start()
        top.wait_screen("LIVE", deadline=30)
        top.wait_screen(lambda screen: "data as of" not in screen)
    top.press("Q")
    assert top.wait() == 0
    assert top.stderr == ""


@pytest.mark.timeout(120)
def test_nothing_is_lost_while_the_terminal_stands_still(evtop, redis_url, tmp_path):
    path = tmp_path / "tape.jsonl"
    top = evtop("-b", redis_url, "-w", str(path), terminal=(120, 32))
    top.wait_screen("LIVE")
    with Flow(redis_url, "celeryev", rate=1000) as flow:
        wait_until(lambda: flow.sent > 500, deadline=30, what="a flow")
        top.pause_output()
        # Keys have it draw until its terminal takes no more.
        for _ in range(50):
            top.press("5", "1", "ctrl-l")
        start = flow.sent
        wait_until(lambda: flow.sent > start + 5000, deadline=60, what="a flow")
        top.resume_output()
        top.press("5")
        top.wait_screen("[5 Events]")
    sent = flow.sent
    wait_until(lambda: path.read_bytes().count(b"\n") >= sent, what="all events")
    screen = top.wait_screen("LIVE")
    assert "dropped" not in screen
    top.send_signal(signal.SIGTERM)
    assert top.wait() == 0


# --- silence ------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_frozen_broker_is_noticed_within_30_seconds(evdump, own_redis, own_rabbitmq, sender):
    servers = [own_redis, own_rabbitmq]
    dumps = [evdump("-b", server.url, "-o", "json") for server in servers]
    for server, dump in zip(servers, dumps, strict=True):
        dump.wait_ready()
        sender(server.url).send(number=0)
        dump.wait_stdout('"number":0')
    for server in servers:
        server.freeze()
    for dump in dumps:
        dump.wait_stderr("no sign of life", deadline=30)
    for server, dump in zip(servers, dumps, strict=True):
        server.thaw()
        dump.wait_stderr("connected again")
        sender(server.url).send(number=1)
        dump.wait_stdout('"number":1')
        assert dump.stop() == 0
        (gap,) = [r for r in records_of(dump) if r["type"] == "evdump-gap"]
        assert gap["reason"] == "reconnect"
        assert "no sign of life" in gap["error"]
        # From the last sign of life, not from when we noticed.
        assert gap["duration"] > 15


def test_a_short_freeze_is_no_reason_to_leave(evdump, own_broker, sender):
    dump = evdump("-b", own_broker.url, "-o", "json")
    dump.wait_ready()
    own_broker.freeze()
    dump.send_signal(signal.SIGUSR1)
    dump.wait_stderr("captured")
    own_broker.thaw()
    sender(own_broker.url).send(number=1)
    dump.wait_stdout('"number":1')
    assert dump.stop() == 0
    assert "0 gaps" in dump.stderr


# --- what is left behind ------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [(), ("--no-event-queue-exclusive", "--event-queue-expires", "2s")]
)
def test_a_killed_evdump_leaves_no_queue_on_rabbitmq(
    evdump, rabbitmq_server, event_exchange, options
):
    where = ("-b", rabbitmq_server.url, "--event-exchange", event_exchange)
    prefix = f"killed.{event_exchange}.{len(options)}"
    dump = evdump(*where, "--event-queue-prefix", prefix, *options)
    dump.wait_ready()
    rabbitmq_server.wait_for_queues(1, prefix)
    dump.send_signal(signal.SIGKILL)
    assert dump.wait() == -signal.SIGKILL
    rabbitmq_server.wait_for_queues(0, prefix)


def test_a_queue_that_nobody_reads_any_more_expires(evdump, rabbitmq_server, event_exchange):
    # Durable, so that neither connection nor consumer takes it along.
    prefix = f"expires.{event_exchange}"
    dump = evdump(
        *("-b", rabbitmq_server.url, "--event-exchange", event_exchange),
        *("--event-queue-prefix", prefix, "--event-queue-expires", "1s"),
        *("--no-event-queue-exclusive", "--event-queue-durable"),
    )
    dump.wait_ready()
    listed = rabbitmq_server.list_queues("name", "durable", "auto_delete", "exclusive")
    (queue,) = (each for each in listed if each["name"].startswith(prefix))
    assert (queue["durable"], queue["auto_delete"], queue["exclusive"]) == (True, False, False)
    dump.send_signal(signal.SIGKILL)
    assert dump.wait() == -signal.SIGKILL
    rabbitmq_server.wait_for_queues(0, prefix)


def test_killed_evdumps_leave_nothing_that_grows_on_redis(evdump, redis_server):
    url = redis_server.fresh_url()
    database = int(url.rpartition("/")[2])

    def left_behind():
        names = redis_server.redis_cli("KEYS", "*", database=database).split()
        return {name: redis_server.redis_cli("SCARD", name, database=database) for name in names}

    def subscribed():
        # Others, whom the tests before have ended, may be listed for a while.
        clients = redis_server.redis_cli("CLIENT", "LIST").splitlines()
        return [client for client in clients if f" db={database} " in client]

    left = []
    for _ in range(3):
        dump = evdump("-b", url)
        dump.wait_ready()
        assert subscribed()
        dump.send_signal(signal.SIGKILL)
        assert dump.wait() == -signal.SIGKILL
        wait_until(lambda: not subscribed(), what="the subscription to go")
        left.append(left_behind())
    assert left[0] == left[1] == left[2]


def test_a_read_only_evdump_leaves_nothing_at_all_on_redis(evdump, redis_server):
    url = redis_server.fresh_url()
    dump = evdump("-b", url, "--read-only")
    dump.wait_ready()
    assert dump.stop() == 0
    database = int(url.rpartition("/")[2])
    assert redis_server.redis_cli("KEYS", "*", database=database) == ""


# --- heartbeats under load ----------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def busy(rabbitmq_server, tmp_path_factory):
    """An evdump with a short heartbeat on a busy stream, beside all these tests."""
    url, exchange = rabbitmq_server.url, "celeryev.busy"
    starter = EvdumpStarter(tmp_path_factory.mktemp("busy"))
    dump = starter(*("-b", url, "--event-exchange", exchange, "--heartbeat", "6", "-o", "json"))
    dump.wait_ready()
    with Flow(url, exchange, rate=50) as flow:
        yield dump, flow, time.monotonic()
    starter.end()


def heartbeats_go_on(busy, seconds):
    dump, flow, began = busy
    wait_until(
        lambda: time.monotonic() - began > seconds, deadline=seconds + 1, what="enough heartbeats"
    )
    more = flow.sent
    wait_until(lambda: last_number(dump) > more, what=lambda: dump.stderr)
    dump.send_signal(signal.SIGUSR1)
    dump.wait_stderr("0 lost, 0 gaps")
    assert "connection lost" not in dump.stderr
    assert no_hole_is_hidden(records_of(dump))


@pytest.mark.timeout(120)
def test_heartbeats_go_on_while_the_stream_is_busy(busy):
    # RabbitMQ hangs up after two heartbeats that it misses.
    heartbeats_go_on(busy, 25)


@pytest.mark.load
@pytest.mark.timeout(400)
def test_heartbeats_go_on_for_minutes(busy):
    heartbeats_go_on(busy, 240)


# --- what a broker takes away for a while -------------------------------------------


@pytest.mark.timeout(120)
def test_where_there_is_no_room_it_waits_for_some(evdump, rabbitmq_server, sender):
    # A name is not what the server says.
    vhost, escaped = "no such vhost not found", "no%20such%20vhost%20not%20found"
    control = rabbitmq_server.rabbitmqctl
    control("add_vhost", vhost)
    control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    limit = ("set_vhost_limits", "-p", vhost)
    control(*limit, '{"max-connections": 0}')
    url = rabbitmq_server.vhost_url(escaped)
    dump = evdump("-b", url, "-o", "json")
    dump.wait_stderr("limit: access to vhost")
    dump.wait_stderr("connection limit (0) is reached; trying again in")
    control(*limit, '{"max-connections": 5}')
    dump.wait_ready()
    control(*limit, '{"max-connections": 0}')
    control("close_all_connections", "--vhost", vhost, "make room")
    dump.wait_stderr(f"connection lost: {dump_url(url)}: make room")
    wait_until(
        lambda: dump.stderr.count("(0) is reached") > 1, what=lambda: f"another try; {dump.stderr}"
    )
    control(*limit, '{"max-connections": 5}')
    dump.wait_stderr("connected again")
    sender(url).send(number=1)
    dump.wait_stdout('"number":1')
    assert dump.stop() == 0
    control("delete_vhost", vhost)


def dump_url(url):
    return url.replace(":guest@", ":**@")


def test_a_queue_that_somebody_deletes_is_a_gap(evdump, rabbitmq_server, sender):
    exchange = "celeryev.deleted"
    how = ("--event-exchange", exchange, "--event-queue-prefix", exchange)
    dump = evdump("-b", rabbitmq_server.url, "-o", "json", *how)
    dump.wait_ready()
    (queue,) = rabbitmq_server.wait_for_queues(1, exchange)
    rabbitmq_server.rabbitmqctl("delete_queue", queue)
    dump.wait_stderr("connected again")
    sender(rabbitmq_server.url, exchange).send(number=1)
    dump.wait_stdout('"number":1')
    assert dump.stop() == 0
    assert "connection lost: amqp://guest:**@" in dump.stderr
    assert "queue: the broker deleted our queue" in dump.stderr
    assert "ctag" not in dump.stderr
    gap, _ = records_of(dump)
    assert gap["reason"] == "reconnect"
    assert "the broker deleted our queue" in gap["error"]


# --- passwords that are changed -----------------------------------------------------


class Rotating:
    """A user of a broker whose password is changed."""

    def __init__(self, server):
        self._server = server
        self.name = f"rotating{uuid.uuid4().hex[:8]}"
        self._redis = isinstance(server, RedisServer)
        self._change("one")
        if not self._redis:
            rights = ("set_permissions", "-p", "/", self.name, ".*", ".*", ".*")
            server.rabbitmqctl(*rights)

    def url(self, password):
        scheme, end = ("redis", "0") if self._redis else ("amqp", "/")
        host = f"{HOST}:{self._server.port}"
        return f"{scheme}://{self.name}:{password}@{host}/{end}"

    def _change(self, password):
        if self._redis:
            rules = ("on", "resetpass", f">{password}", "~*", "&*", "+@all")
            self._server.redis_cli("ACL", "SETUSER", self.name, *rules)
        elif password == "one":
            self._server.rabbitmqctl("add_user", self.name, password)
        else:
            self._server.rabbitmqctl("change_password", self.name, password)

    def rotate(self):
        """Let only the password two in, and end what came in with one."""
        self._change("two")
        if self._redis:
            self._server.redis_cli("CLIENT", "KILL", "USER", self.name)
            return
        self._server.rabbitmqctl("close_all_user_connections", self.name, "rotated")


@pytest.fixture
def rotating(request):
    return lambda kind: Rotating(request.getfixturevalue(kind))


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("rabbitmq_server", "file"),
        *(("redis_server", way) for way in ("file", "url command", "password command", "settings")),
    ],
)
def test_a_password_that_is_changed_is_read_again(evdump, rotating, tmp_path, kind, way):
    rotating = rotating(kind)
    file = tmp_path / "broker"

    def write(password):
        text = rotating.url(password)
        if way == "settings":
            text = f'broker = "{text}"'
        file.write_text(password if way == "password command" else text)

    write("one")
    how = {
        "file": ("-b", f"@{file}"),
        "settings": ("--config", file),
        "url command": ("--broker-command", f"cat '{file}'"),
        "password command": (*("-b", rotating.url("wrong"), "--broker-command", f"cat '{file}'"),),
    }[way]
    dump = evdump(*how)
    dump.wait_ready()
    write("two")
    rotating.rotate()
    dump.wait_stderr("says by now")
    dump.wait_stderr("connected again")
    assert dump.stop() == 0
    for word in (":one@", ":two@", ":wrong@"):
        assert word not in dump.stderr


def test_a_password_that_is_wrong_after_it_was_read_again_is_the_end(evdump, rotating, tmp_path):
    rotating = rotating("rabbitmq_server")
    file = tmp_path / "broker"
    file.write_text(rotating.url("one"))
    dump = evdump("-b", f"@{file}")
    dump.wait_ready()
    rotating.rotate()
    assert dump.wait() == 69
    assert ": login: " in dump.stderr
    tried = evdump("--broker-command", f"echo {rotating.url('wrong')}")
    assert tried.wait() == 69
    assert "tried: --broker-command" in tried.stderr


def test_no_command_outlives_the_tool_that_waits_for_it(evdump, tmp_path):
    file = tmp_path / "pid"
    dump = evdump("--broker-command", f"sh -c 'echo $$ >{file}; sleep 1000; true'")
    wait_until(lambda: file.exists() and file.read_text().strip(), what="the command")
    pid = int(file.read_text())
    assert dump.stop() == 0
    wait_until(lambda: not is_there(pid), what="its end")


def test_a_command_that_fails_is_tried_again(evdump, redis_url, tmp_path):
    file = tmp_path / "broker"
    dump = evdump("--broker-command", f"cat {file}")
    dump.wait_stderr("--broker-command cat: it ended with status 1: cat: ")
    dump.wait_stderr("trying again in")
    file.write_text(redis_url)
    dump.wait_ready()
    assert dump.stop() == 0
    once = ("--no-reconnect", "--connect-timeout", "100ms")
    assert evdump("--broker-command", "false", *once).wait() == 69
    assert evdump("--broker-command", "no-such-program").wait() == 2
