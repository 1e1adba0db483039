import contextlib
import json
import os
import re
import subprocess
import threading
import uuid
from urllib.parse import quote

import pytest
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import NoPermissionError, ResponseError

from evtools.clock import SystemClock
from evtools.doctor.context import Observation
from evtools.doctor.inspect import OrphanedQueue
from evtools.doctor.inspect import redis as module
from evtools.doctor.inspect.redis import Naming, RedisInspector, difference
from evtools.doctor.workers import ask, listen
from evtools.transport import ConnectionSettings
from servers.ports import HOST
from tools.flow import Sender, on_redis

ONE, TWO = on_redis(number=1), on_redis(number=2)
BINDING = "#\x06\x16\x06\x16"


@pytest.fixture
def examine(inspecting):
    return inspecting(RedisInspector)


@pytest.fixture
def client(redis_url):
    with Redis.from_url(redis_url) as made:
        yield made


@contextlib.contextmanager
def subscriber(client):
    with client.pubsub() as listening:
        listening.psubscribe("x")
        listening.get_message(timeout=5)
        yield


def test_channel_and_version_are_named_as_far_as_they_are_known(examine, redis_url, monkeypatch):
    def refuse(*_):
        raise NoPermissionError

    inspector = examine(redis_url, options={"global_keyprefix": "app."})
    assert re.match(r"(Redis|Valkey) \d", inspector.server)
    assert inspector.exchange().where == f"channel app./{redis_url.rpartition('/')[2]}.celeryev"
    assert inspector.has_mailboxes()
    monkeypatch.setattr(Redis, "info", lambda *_: {"valkey_version": "8.1"})
    assert examine(redis_url).server == "Valkey 8.1"
    monkeypatch.setattr(Redis, "info", lambda *_: {"server_mode": "sentinel"})  # Valkey's
    with pytest.raises(ResponseError, match="by Sentinel"):
        examine(redis_url)
    monkeypatch.setattr(Redis, "info", refuse)
    assert examine(redis_url).server == "Redis"


# --- rights ------------------------------------------------------------------------


def paste(server, lines):
    """Run what the doctor says as an administrator who logs in."""
    environment = {"REDISCLI_AUTH": "operator-secret", "PATH": os.environ["PATH"]}
    lines = lines.replace("redis-cli ", "redis-cli --user operator ")
    done = subprocess.run(
        ["sh", "-c", lines], env=environment, text=True, capture_output=True, check=False
    )
    assert "OK" in done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize(("rules", "database", "settings"), [
    ("resetchannels &x +@all", 0, {}), ("&* +@all -psubscribe", 7, {}),
    ("resetchannels -@all +ping +select", 7, {}),
    ("resetchannels -@all +ping +select", 0, {"routing_keys": ("worker.online",)}),
    ("resetchannels -@all +ping +select", 0, {"options": {"fanout_patterns": False}}),
    ("resetchannels -@all +ping +select", 7,
     {"options": {"fanout_prefix": "/{{db}}'.", "global_keyprefix": "a*b"}}),
])  # fmt: skip
def test_the_command_that_grants_a_right_does_so(examine, redis_acl, rules, database, settings):
    name = f"team/{uuid.uuid4().hex}"
    redis_acl.redis_cli("ACL", "SETUSER", name, "on", ">pw", "~*", *rules.split())
    url = f"redis://{quote(name, safe='')}:pw@{HOST}:{redis_acl.port}/{database}"
    lacking = [right for right in examine(url, **settings).permissions() if right.refusal]
    assert lacking
    for right in lacking:
        paste(redis_acl, right.advice.partition(":\n")[2])
    rights = examine(url, **settings).permissions()
    assert rights
    assert not any(right.refusal for right in rights)
    assert "publish" not in redis_acl.redis_cli("ACL", "GETUSER", name)


# --- elsewhere ---------------------------------------------------------------------


def test_our_own_channels_are_not_elsewhere_and_not_very_many_are_taken(
    examine, client, redis_url, monkeypatch
):
    monkeypatch.setattr(module, "_CHANNELS_MAX", 2)
    inspector = examine(redis_url)
    inspector.begin()
    ours = f"/{redis_url.rpartition('/')[2]}.celeryev/worker.heartbeat"
    for channel in (ours, *(f"blue{number}/worker.heartbeat" for number in range(5))):
        client.publish(channel, json.dumps({}))
        # Its answer may be here before what it has published.
        inspector._overheard.connection.can_read(timeout=5)
    places = [place.where for place in inspector.elsewhere() if "channel" in place.where]
    assert len(places) <= 2
    assert not [where for where in places if ours in where]


def test_mailboxes_of_workers_are_found(examine, redis_server, monkeypatch):
    monkeypatch.setattr(module, "_DATABASES_MAX", 10_000)
    ours, theirs = redis_server.fresh_url(), redis_server.fresh_url()
    there, here = Redis.from_url(theirs), Redis.from_url(ours)
    for prefix, control in (("", "celery"), ("app.", "blue")):
        there.sadd(f"{prefix}_kombu.binding.{control}.pidbox", f"{BINDING}w1@host.{control}.pidbox")
    there.sadd("_kombu.binding.reply.celery.pidbox", "x")
    # Of ours only other names are elsewhere.
    here.sadd("_kombu.binding.celery.pidbox", "x")
    here.sadd("_kombu.binding.blue.pidbox", "y")
    inspector = examine(ours)
    with subscriber(here):
        words = [place.words for place in inspector.elsewhere()]
    assert ("--control-exchange", "blue") in words
    assert () not in words

    def found():
        return {place.words: place for place in inspector.elsewhere() if theirs in place.words}

    # Nobody listens in that database, so nobody is there.
    assert found() == {}
    with subscriber(there):
        endpoints = found()
    more = ("--global-keyprefix", "app.", "--control-exchange", "blue")
    assert set(endpoints) == {("-b", theirs), ("-b", theirs, *more)}
    assert all("w1@host" in place.seen for place in endpoints.values())
    assert all(place.alive for place in endpoints.values())
    there.close()
    here.close()


# --- leftovers ---------------------------------------------------------------------


def test_a_list_that_nobody_reads_is_free(examine, client, redis_url):
    client.rpush("celeryev.dead", ONE, TWO)
    client.set("celeryev.text", "no list")
    client.rpush("celery", "a task")
    inspector = examine(redis_url)
    inspector.begin()
    client.lpush("celeryev.dead", TWO)  # it may grow
    (orphan,) = inspector.orphans([]).found
    assert (orphan.kind, orphan.name) == ("list", "celeryev.dead")
    assert (orphan.kept, orphan.messages) == ("", 3)
    assert orphan.size_bytes > 0
    assert inspector.orphans(["other"]).found == []
    assert inspector.remove(orphan) == ""
    assert client.exists("celeryev.dead", "celery", "celeryev.text") == 2


def test_a_list_that_somebody_reads_is_not_free(examine, client, redis_url):
    client.rpush("celeryev.alive", ONE, TWO)
    inspector = examine(redis_url)
    inspector.begin()
    client.rpop("celeryev.alive")
    (orphan,) = inspector.orphans([]).found
    assert orphan.kept
    assert "somebody has read" in inspector.remove(orphan)
    client.delete("celeryev.alive")
    assert "somebody has read" in inspector.remove(orphan)


def test_a_list_that_is_used_at_that_very_moment_stays(examine, client, redis_url, monkeypatch):
    client.rpush("celeryev.dead", ONE)
    inspector = examine(redis_url)
    inspector.begin()
    (orphan,) = inspector.orphans([]).found
    multi = Pipeline.multi

    def meddle(pipeline):
        client.lpush("celeryev.dead", TWO)
        multi(pipeline)

    monkeypatch.setattr(Pipeline, "multi", meddle)
    assert inspector.remove(orphan) == "somebody uses it right now"
    assert client.llen("celeryev.dead") == 2


def test_a_binding_is_free_when_nobody_listens(examine, client, redis_url):
    table = "_kombu.binding.celeryev"
    client.sadd(table, f"{BINDING}celeryev.dead")
    client.sadd("_kombu.binding_permanent.celeryev", f"{BINDING}celeryev.dead")
    inspector = examine(redis_url)
    with subscriber(client):
        (orphan,) = inspector.orphans([]).found
        assert orphan.kept
        assert "one of 1 listeners" in orphan.kept
    (orphan,) = inspector.orphans([]).found
    assert orphan == OrphanedQueue(
        "binding", "celeryev.dead", key=f"{BINDING}celeryev.dead".encode()
    )
    assert inspector.remove(orphan) == ""
    assert client.exists(table, "_kombu.binding_permanent.celeryev") == 0


def test_a_binding_goes_with_its_list_whoever_listens(examine, client, redis_url):
    client.sadd("_kombu.binding.celeryev", f"{BINDING}celeryev.dead")
    client.rpush("celeryev.dead", ONE)
    inspector = examine(redis_url)
    inspector.begin()
    with subscriber(client):
        found = inspector.orphans([]).found
    assert [(orphan.kind, orphan.kept) for orphan in found] == [("list", ""), ("binding", "")]


def test_who_may_not_ask_leaves_bindings_and_knows_no_sizes(
    examine, client, redis_url, monkeypatch
):
    def refuse(*_, **__):
        raise NoPermissionError

    client.sadd("_kombu.binding.celeryev", f"{BINDING}celeryev.gone")
    client.rpush("celeryev.dead", ONE)
    monkeypatch.setattr(Redis, "client_list", refuse)
    monkeypatch.setattr(Redis, "memory_usage", lambda self, *_, **__: self.execute_command("NO"))
    listed, binding = examine(redis_url).orphans([]).found
    assert listed.size_bytes is None
    assert binding.kept == "we may not ask who listens"


def test_where_there_are_too_many_keys_or_bindings_that_is_said(
    examine, client, redis_url, monkeypatch
):
    client.sadd("_kombu.binding.celeryev", *(f"{BINDING}celeryev.{number}" for number in range(50)))
    assert examine(redis_url).orphans([]).gap == ""
    monkeypatch.setattr(module, "_SCAN_COUNT", 5)
    monkeypatch.setattr(module, "_ORPHANS_MAX", 10)
    search = examine(redis_url).orphans([])
    assert (len(search.found), "too many keys" in search.gap) == (10, True)
    for number in range(50):
        client.rpush(f"celeryev.{number}", ONE)
    search = examine(redis_url).orphans([])
    assert (len(search.found), "too many keys" in search.gap) == (20, True)


@pytest.mark.parametrize(
    "oldest", ["mine", json.dumps({"type": "order-created"}), on_redis(hostname=None)[:-1]]
)
def test_a_list_whose_oldest_message_is_no_event_stays(examine, client, redis_url, oldest):
    client.rpush("celeryev.jobs", ONE, oldest)
    # These bindings are of queues of tasks.
    others = ["jobs\x06\x16\x06\x16celeryev.x", f"{BINDING}jobs"]
    client.sadd("_kombu.binding.celeryev", f"{BINDING}celeryev.jobs", *others)
    inspector = examine(redis_url)
    inspector.begin()
    kept = {orphan.name: orphan.kept for orphan in reversed(inspector.orphans([]).found)}
    assert kept["celeryev.jobs"] == "its oldest message is no event"
    assert kept["celeryev.x"] == kept["jobs"] == "it is not of an event queue"


# --- names of channels ---------------------------------------------------------------

OURS = Naming(("/0.celeryev",), exchange="celeryev", database=0, keyprefix="", by_key=True)


@pytest.mark.parametrize(("channel", "words"), [
    ("/0.celeryev/worker.heartbeat", ""), ("/1.celeryev/worker.heartbeat", "-b 1"),
    ("/0.blue/worker.online", "--event-exchange blue"),
    ("/2.blue/task.multi", "-b 2 --event-exchange blue"),
    ("app./0.celeryev/worker.heartbeat", "--global-keyprefix app."),
    ("/0.celeryev", "--no-fanout-patterns"), ("/3.celeryev", "-b 3 --no-fanout-patterns"),
    ("celeryev/worker.heartbeat", "--fanout-prefix off"),
    ("app-celeryev/worker.heartbeat", "--fanout-prefix app-"),
    ("/{db}.celeryev/worker.heartbeat", "--fanout-prefix /{{db}}."),
    ("{shop}celeryev/task.sent", "--fanout-prefix {{shop}}"),
    ("blue/worker.heartbeat", "--event-exchange blue --fanout-prefix off"),
    ("news/worker.x?",
     "--event-exchange news/worker.x? --fanout-prefix off --no-fanout-patterns"),
    ("/99999999.x/worker.online", "--event-exchange /99999999.x --fanout-prefix off"),
])  # fmt: skip
def test_options_lead_from_our_channels_to_others(channel, words):
    assert " ".join(difference(OURS, channel)) == words


def test_from_names_of_our_own_the_usual_ones_are_recognised():
    bare = Naming(("celeryev",), exchange="celeryev", database=0, keyprefix="", by_key=False)
    words = ("--fanout-prefix", "on", "--fanout-patterns")
    assert difference(bare, "/0.celeryev/worker.heartbeat") == words
    assert difference(bare, "celeryev") == ()
    ours = Naming("/0.blue", exchange="blue", database=0, keyprefix="", by_key=True)
    words = ("--event-exchange", "celeryev", "--fanout-prefix", "x.")
    assert difference(ours, "x.celeryev/worker.heartbeat") == words


# --- listening ---------------------------------------------------------------------


def test_what_is_malformed_is_counted(redis_url):
    settings = ConnectionSettings(urls=redis_url, read_only=True)
    source, ended = Sender(redis_url), threading.Event()

    def babble():
        while not ended.wait(0.1):
            source.send_body("[")

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        seen = listen(settings, 1.0, SystemClock())
    finally:
        ended.set()
        thread.join()
        source.close()
    ((kind, count),) = seen.defects
    assert kind
    assert count > 1


def test_workers_may_be_asked_or_not(redis_url):
    seen = Observation()
    ask(ConnectionSettings(urls=redis_url, read_only=True), seen)
    assert seen.pongs is None
    ask(ConnectionSettings(urls=redis_url), seen, 0.1)
    assert seen.pongs == frozenset()
