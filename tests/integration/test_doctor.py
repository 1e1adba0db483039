"""What the doctor finds where something is wrong, with real brokers and workers."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest
from celery import Celery
from redis import Redis

from evtools.cli.main import start
from evtools.doctor import network, workers
from evtools.doctor.app import CHECKS
from evtools.doctor.context import STATUSES, Observation
from evtools.doctor.inspect import amqp as inspect_amqp
from servers.ports import HOST, free_port
from servers.process import wait_until
from servers.redis import RedisServer
from tools.command import PATIENCE, ROOT
from tools.daemon import is_there
from tools.flow import on_redis
from tools.hurried import hurried
from tools.machine import beating


@dataclass(frozen=True)
class Report:
    """What the doctor said and how it ended."""

    status: int
    worst: str
    findings: list[dict[str, str]]
    output: str

    def of(self, check: str, severity: str = "problem") -> str:
        """Return texts and advice of the findings of one check."""
        texts = [
            f"{finding['text']}\n{finding['advice']}"
            for finding in self.findings
            if (finding["check"], finding["severity"]) == (check, severity)
        ]
        assert texts, f"no {severity} of {check} in {json.dumps(self.findings, indent=1)}"
        return "\n".join(texts)

    @property
    def problems(self) -> set[str]:
        """The checks that found a problem."""
        return {f["check"] for f in self.findings if f["severity"] == "problem"}


def run(*arguments, deadline=50, stdin=subprocess.DEVNULL):
    return subprocess.run(
        [sys.executable, "-m", "evtools", "doctor", *map(str, arguments)],
        cwd=ROOT,
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=deadline,
    )


@contextlib.contextmanager
def admitted(*arguments):
    """Start a doctor; go on when the broker has let it in, and the rest is to come."""
    words = [sys.executable, "-m", "evtools", "doctor", *arguments]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "permissions" in line:
                break
        yield process


@pytest.fixture
def run_here(capfd, monkeypatch):
    """Run the doctor in this process, and return its status and what it prints.

    It waits for the answers of so many workers, and listens `until` all has come; or else for a
    moment, in which nothing need come.
    """
    real_call, real_listen = workers.call, inspect_amqp._listen
    loggers = [logging.getLogger(name) for name in ("", "amqp", "kombu", "redis", "vine")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]

    def listen_elsewhere(there):
        # Where the worker is that tests share, heartbeats come, and nowhere else.
        patience = PATIENCE if quote(WARD, safe="") in there.urls else 0.2
        monkeypatch.setattr(inspect_amqp, "_ELSEWHERE_WAIT", patience)
        return real_listen(there)

    monkeypatch.setattr(inspect_amqp, "_listen", listen_elsewhere)

    def run(url, *arguments, answers=0, until=None):
        def call(settings, command, **how):
            how["deadline"] = PATIENCE if answers else 0.3
            if command == "ping" and answers:
                how["expected"] = answers
            return real_call(settings, command, **how)

        monkeypatch.setattr(workers, "call", call)
        monkeypatch.setattr(workers, "Observation", hurried(until) if until else Observation)
        wait = f"{PATIENCE:g}s" if until else "300ms"
        status = start("doctor", ("-b", url, "--wait", wait, *map(str, arguments)))
        out, err = capfd.readouterr()
        assert err == ""
        return status, out

    yield run
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def doctor(run_here):
    """Run the doctor in this process, and return what it reports."""

    def examine(url, *arguments, **how):
        status, out = run_here(url, "-o", "json", *arguments, **how)
        told = json.loads(out)
        return Report(status, told["worst"], told["findings"], out)

    return examine


def has_beaten(seen):
    """Say whether a heartbeat has come without delay."""
    return any(
        signs.beats and abs(signs.delay) < workers._TOLERANCE for signs in seen.workers.values()
    )


#: How to wait for the one worker that there is.
WELL = {"answers": 1, "until": has_beaten}


@contextlib.contextmanager
def new_vhost(server, name):
    """Make a virtual host where no other worker answers, and yield its URL."""
    server.rabbitmqctl("add_vhost", name)
    server.rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield server.vhost_url(quote(name, safe=""))
    server.rabbitmqctl("delete_vhost", name)


@pytest.fixture
def vhost(rabbitmq_server):
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(new_vhost(rabbitmq_server, name))


@pytest.fixture
def place(broker, vhost):
    """A database, or a virtual host, that nobody else uses."""
    return broker.fresh_url() if isinstance(broker, RedisServer) else vhost("place")


#: Whose end reads like an error of RabbitMQ.
WARD = "/not found"
BEATING = ("--heartbeat-interval", "1")


@contextlib.contextmanager
def working(start_worker, url, **settings):
    made = start_worker(url, **{"name": "ward", "queue": "ward", "arguments": BEATING, **settings})
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def redis_ward(redis_server, _start_any_worker):
    """A worker on Redis that tests share, alone in its database."""
    with working(_start_any_worker, redis_server.fresh_url()) as made:
        yield made


@pytest.fixture(scope="module")
def rabbitmq_ward(rabbitmq_server, _start_any_worker):
    """A worker on RabbitMQ that tests share, alone in its virtual host."""
    with new_vhost(rabbitmq_server, WARD) as url, working(_start_any_worker, url) as made:
        yield made


@pytest.fixture
def ward(broker, request):
    """The worker on each of the brokers in turn."""
    kind = "redis" if isinstance(broker, RedisServer) else "rabbitmq"
    return request.getfixturevalue(f"{kind}_ward")


@pytest.fixture
def visitor(rabbitmq_server, rabbitmq_ward):
    """A user without rights in the virtual host of the worker, and their URL."""
    control = rabbitmq_server.rabbitmqctl
    control("add_user", "visitor", "visitor-secret")
    yield rabbitmq_server.vhost_url(quote(WARD, safe=""), user="visitor", password="visitor-secret")
    control("delete_user", "visitor")


# --- all is well ---------------------------------------------------------------------


def test_where_all_is_well_the_status_is_0(doctor, ward):
    report = doctor(ward.broker_url, **WELL)
    assert report.status == 0
    assert report.worst in ("ok", "note")
    assert ward.hostname in report.of("workers", "ok")
    assert "1 worker arrived" in report.of("events", "ok")
    assert "right within" in report.of("clocks", "ok")
    assert "1 worker" in report.of("heartbeats", "ok")
    assert "are switched on" in report.of("task-events", "ok")


def test_a_reader_that_publishes_nothing_is_told_of_events(doctor, ward):
    report = doctor(ward.broker_url, "--read-only", **WELL)
    assert report.status == 0
    assert "--read-only" in report.of("workers", "note")
    assert "arrived" in report.of("events", "ok")


# --- the way there -------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_closed_port_is_found(doctor, scheme):
    report = doctor(f"{scheme}://{HOST}:{free_port()}/0")
    assert (report.status, report.problems) == (4, {"port"})
    assert "connection refused" in report.of("port")
    assert "login" in report.of("skipped", "note")


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_port_where_nobody_speaks_is_found(doctor, scheme):
    with socket.create_server((HOST, 0)) as silent:
        url = f"{scheme}://{HOST}:{silent.getsockname()[1]}/0"
        report = doctor(url, "--connect-timeout", "200ms")
    assert report.problems == {"answer"}
    assert "no answer from a broker" in report.of("answer")


def test_a_bad_name_is_found(doctor):
    report = doctor("redis://broker.invalid:6379/0")
    assert report.problems == {"name"}
    assert "broker.invalid has no address" in report.of("name")


def test_a_broker_that_carries_no_events_is_found(doctor):
    report = doctor("sqs://key:hush@")
    assert (report.status, report.problems) == (4, {"broker"})
    assert "SQS is not supported" in report.of("broker")
    assert "hush" not in report.output


def test_of_two_addresses_one_may_be_down_and_the_workers_are_still_asked(doctor, ward):
    scheme = ward.broker_url.partition("://")[0]
    report = doctor(f"{scheme}://{HOST}:{free_port()}/0;{ward.broker_url}", **WELL)
    assert report.problems == set()
    assert "connection refused" in report.of("port", "warning")
    assert "logged in to" in report.of("login", "ok")
    assert ward.hostname in report.of("workers", "ok")


@pytest.fixture
def patient_probe(monkeypatch):
    """Wait long for what a port speaks, however little for what it should."""
    real = network._not_ours
    monkeypatch.setattr(
        network, "_not_ours", lambda endpoint: real(endpoint._replace(connect_timeout=PATIENCE))
    )


@pytest.mark.usefixtures("patient_probe")
def test_a_port_of_another_broker_is_found(doctor, redis_server, rabbitmq_server):
    how = ("--connect-timeout", "500ms")
    report = doctor(f"amqp://{HOST}:{redis_server.port}//", *how)
    assert report.problems == {"answer"}
    assert "Redis" in report.of("answer")
    report = doctor(f"redis://{HOST}:{rabbitmq_server.port}/0", *how)
    assert report.problems == {"answer"}
    assert "speaks AMQP" in report.of("answer")


def test_a_sentinel_taken_for_a_broker_is_found(doctor, sentinel):
    report = doctor(f"redis://{HOST}:{sentinel.port}/0")
    assert report.problems == {"login"}
    assert "it is a Sentinel" in report.of("login")
    report = doctor(sentinel.url, "--broker-option", "master_name=none")
    assert "SENTINEL MASTERS" in report.of("login")


def test_behind_a_sentinel_all_is_looked_at(doctor, sentinel, worker):
    worker(sentinel.master.url, arguments=BEATING)
    option = f"master_name={sentinel.master_name}"
    report = doctor(sentinel.url, "--broker-option", option, **WELL)
    assert report.problems == set()
    assert "1 worker" in report.of("events", "ok")
    report = doctor(sentinel.url, "--broker-option", "master_name=none")
    assert "no master of the name none; it watches" in report.of("login")


# --- TLS -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_good_certificate_is_described(doctor, request, authority, kind):
    url = request.getfixturevalue(f"{kind}_tls")
    report = doctor(url, "--tls-ca", authority.ca, "--wait", "500ms", "--read-only")
    # It is for one day only.
    assert "signed by evtools test ca" in report.of("tls", "warning")


def test_an_expired_certificate_is_found(doctor, start_redis, authority):
    server = start_redis(authority=replace(authority, server=authority.expired))
    report = doctor(server.fresh_tls_url(), "--tls-ca", authority.ca)
    assert report.problems == {"tls"}
    assert "expired 1d" in report.of("tls")


def test_a_certificate_for_another_host_is_found(doctor, start_redis, authority):
    server = start_redis(authority=replace(authority, server=authority.stranger))
    report = doctor(server.fresh_tls_url(), "--tls-ca", authority.ca)
    assert "is for elsewhere.invalid, and not for localhost" in report.of("tls")


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_wrong_ca_is_found(doctor, request, authority, kind):
    url = request.getfixturevalue(f"{kind}_tls")
    report = doctor(url, "--tls-ca", authority.other)
    assert report.problems == {"tls"}
    assert "signed by evtools test ca" in report.of("tls")
    assert "--tls-ca FILE" in report.of("tls")


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_tls_on_a_port_without_is_found(doctor, request, kind):
    url = request.getfixturevalue(f"{kind}_url")
    report = doctor(url, "--tls", "--connect-timeout", "1s")
    assert report.problems == {"tls"}


@pytest.mark.usefixtures("patient_probe")
@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_tls_to_a_broker_without_is_told_what_it_speaks(doctor, request, kind):
    server = request.getfixturevalue(f"{kind}_server")
    scheme = {"redis": "redis", "rabbitmq": "amqp"}[kind]
    url = f"{scheme}s://{HOST}:{server.port}/0"
    report = doctor(url, "--connect-timeout", "500ms")
    assert "without TLS" in report.of("tls")
    assert f"Use {scheme}:// in the URL" in report.of("tls")


def test_a_broker_that_wants_a_certificate_of_us_is_found(doctor, redis_mutual_tls, authority):
    report = doctor(redis_mutual_tls.fresh_tls_url(), "--tls-ca", authority.ca)
    assert report.problems == {"tls"}
    assert "the broker wants a certificate of us" in report.of("tls")
    assert report.of("tls").endswith("--tls-cert FILE --tls-key FILE")


@pytest.mark.usefixtures("patient_probe")
@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_port_with_tls_that_is_spoken_to_without_is_found(doctor, request, kind):
    url = request.getfixturevalue(f"{kind}_tls").replace("s://", "://", 1)
    report = doctor(url, "--connect-timeout", "1s")
    assert "speaks TLS, and we do not" in report.of("tls")


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
@pytest.mark.parametrize("unchecked", ["--tls-verify=none", "--no-tls-check-hostname"])
def test_a_server_that_wants_a_name_is_found(doctor, named, authority, kind, unchecked):
    _, url = named(kind, "elsewhere.invalid")
    url = url.replace("localhost", HOST)
    how = ("--tls-ca", authority.ca, unchecked, "--wait", "500ms", "--read-only")
    report = doctor(url, *how)
    assert report.problems == {"tls"}
    assert "--tls-server-name NAME" in report.of("tls")
    assert "--tls-cert" not in report.of("tls")
    report = doctor(url, *how, "--tls-server-name", "elsewhere.invalid")
    assert "logged in to" in report.of("login", "ok")


# --- the login -----------------------------------------------------------------------


def test_a_wrong_password_is_found(doctor, broker):
    url = f"://operator:hush@{HOST}:{broker.port}/"
    redis = isinstance(broker, RedisServer)
    report = doctor(f"redis{url}0" if redis else f"amqp{url}")
    assert report.problems == {"login"}
    assert "user name and password" in report.of("login")
    assert "hush" not in report.output


def test_a_wrong_vhost_is_found(doctor, rabbitmq_server):
    report = doctor(rabbitmq_server.vhost_url("no-such-vhost"))
    assert "no-such-vhost not found" in report.of("vhost")


def test_a_database_that_cannot_be_is_found(doctor, redis_server):
    report = doctor(redis_server.database_url(99_999))
    assert report.problems == {"database"}


def test_a_user_who_may_nothing_is_found(doctor, redis_acl, rabbitmq_server):
    user = "nobody:nobody-secret"
    redis = doctor(f"redis://{user}@{HOST}:{redis_acl.port}/0")
    assert redis.problems == {"permissions"}
    rabbitmq = doctor(f"amqp://{user}@{HOST}:{rabbitmq_server.port}//")
    assert rabbitmq.problems == {"vhost"}
    for report in (redis, rabbitmq):
        assert "nobody" in report.output
        assert "nobody-secret" not in report.output


def test_a_user_who_may_only_log_in_is_told_what_to_grant(doctor, paste, rabbitmq_server, visitor):
    rabbitmq_server.rabbitmqctl("set_permissions", "-p", WARD, "visitor", "^$", "^$", "^$")
    report = doctor(visitor)
    assert report.problems == {"permissions"}
    assert "may not configure queues celeryev.*" in report.of("permissions")
    paste(report.of("permissions"))
    report = doctor(visitor, **WELL)
    assert report.problems == set(), report.of("permissions")
    assert "arrived" in report.of("events", "ok")
    assert "the workers could not be asked" in report.of("workers", "warning")


def test_rights_on_topics_are_told_apart_and_granted(doctor, paste, rabbitmq_server, visitor):
    control = rabbitmq_server.rabbitmqctl
    control("set_permissions", "-p", WARD, "visitor", ".*", ".*", ".*")
    control("set_topic_permissions", "-p", WARD, "visitor", "celeryev", "^task[.]", "^$")
    report = doctor(visitor)
    assert report.problems == {"permissions"}
    assert "access to topic '#' in exchange" in report.of("permissions")
    paste(report.of("permissions"))
    report = doctor(visitor, **WELL)
    assert report.problems == set()
    assert "arrived" in report.of("events", "ok")


def test_who_may_nothing_on_rabbitmq_needs_one_command(doctor, paste, visitor):
    report = doctor(visitor)
    assert report.problems == {"vhost"}
    paste(report.of("vhost"))
    report = doctor(visitor, **WELL)
    assert report.problems == set()
    assert "arrived" in report.of("events", "ok")


@pytest.fixture(scope="module", params=[0, 7])
def guarded(request, redis_acl, _start_any_worker):
    """The number of a database with a worker, at a server with rights."""
    with working(_start_any_worker, redis_acl.database_url(request.param)):
        yield request.param


def test_who_may_only_listen_is_well_off(doctor, redis_acl, guarded):
    rules = f"on >pw resetchannels &/{guarded}.celeryev/* -@all +ping +select +client|setname"
    redis_acl.redis_cli("ACL", "SETUSER", "reader", *rules.split(), "+psubscribe")
    url = f"redis://reader:pw@{HOST}:{redis_acl.port}/{guarded}"
    report = doctor(url, "--read-only", **WELL)
    assert report.status == 0
    assert "'scan' command" in report.of("orphans", "note")
    assert "their settings" not in report.output.lower()


def paste_on_redis(advice, *login):
    """Run the commands of an advice, which stand at its end, as the administrator."""
    lines = [line for line in advice.splitlines() if line.startswith("  ")]
    assert lines
    environment = os.environ | ({"REDISCLI_AUTH": "operator-secret"} if login else {})
    for line in lines:
        words = "".join(f"{word} " for word in ("redis-cli", *login))
        done = subprocess.run(
            ["sh", "-c", line.replace("redis-cli ", words)],
            env=environment,
            check=True,
            timeout=30,
            capture_output=True,
            text=True,
        )
        assert "OK" in done.stdout


def test_who_may_nothing_on_redis_needs_one_round(doctor, redis_acl, guarded):
    name = f"nobody{guarded}"
    redis_acl.redis_cli("ACL", "SETUSER", name, "on", ">pw", "-@all", "resetchannels")
    url = f"redis://{name}:pw@{HOST}:{redis_acl.port}/{guarded}"
    report = doctor(url)
    assert report.problems == {"permissions"}
    paste_on_redis(report.of("permissions"), "--user", "operator")
    report = doctor(url, **WELL)
    assert report.problems == set()
    assert "arrived" in report.of("events", "ok")
    assert "the workers could not be asked" in report.of("workers", "warning")


def test_a_redis_without_what_proxies_lack_is_well(doctor, start_redis, worker):
    # Without HELLO the redis-py of today's workers cannot do, but that of others can.
    lacks = ["INFO", "CONFIG", "ACL", "SCAN", "PUBSUB", "SUBSCRIBE"]
    server = start_redis(lacks=lacks)
    worker(server.url, arguments=BEATING)
    report = doctor(server.url, **WELL)
    assert report.problems == set()
    assert "arrived" in report.of("events", "ok")
    server.kill()


def test_a_redis_without_client_is_well(doctor, start_redis):
    server = start_redis(lacks=["HELLO", "CLIENT"])
    report = doctor(server.url)
    assert report.problems == {"events", "workers"}
    server.kill()


def test_a_redis_without_psubscribe_is_named(doctor, start_redis):
    server = start_redis(lacks=["PSUBSCRIBE"])
    how = ("--wait", "200ms", "--read-only")
    told = doctor(server.url, *how).of("permissions")
    assert "the server has no PSUBSCRIBE" in told
    assert "--no-fanout-patterns" in told
    assert "ACL" not in told
    report = doctor(server.url, "--no-fanout-patterns", *how)
    assert "may subscribe /0.celeryev" in report.of("permissions", "ok")
    server.kill()


def test_a_redis_that_is_full_is_found_with_the_command_that_makes_room(doctor, start_redis):
    server = start_redis(directives=["maxclients 1"])
    with socket.create_connection((HOST, server.port)) as guest:
        guest.sendall(b"PING\r\n")
        assert guest.recv(64) == b"+PONG\r\n"
        report = doctor(server.url)
        assert report.problems == {"login"}
        told = report.of("login")
        assert "max number of clients reached" in told
        guest.sendall(b"QUIT\r\n")
        assert guest.recv(64) == b"+OK\r\n"
    paste_on_redis(told)
    with socket.create_connection((HOST, server.port)):
        assert "login" not in doctor(server.url, "--read-only").problems
    server.kill()


def test_what_is_wrong_with_a_sentinel_is_named(doctor, own_redis, start_sentinel):
    sentinel = start_sentinel(own_redis, password="s3ntinel")
    url, name = sentinel.url, ("--broker-option", f"master_name={sentinel.master_name}")
    login = ("--broker-option", 'sentinel_kwargs={"password": "s3ntinel"}')
    how = ("--wait", "200ms")

    report = doctor(url, *name, *how)
    assert f"Sentinel {HOST}:{sentinel.port}: " in report.of("login")
    # The advice, with the password in place of the word.
    words = shlex.split(report.of("login").splitlines()[2])
    words = [word.replace("PASSWORD", "s3ntinel") for word in words]
    assert tuple(words) == login
    assert "login" not in doctor(url, *name, *words, *how).problems

    report = doctor(url, "--broker-option", "master_name=other", *login, *how)
    assert f"it watches {sentinel.master_name}" in report.of("login")

    own_redis.kill()
    report = doctor(url, *name, *login, *how)
    told = "\n".join(finding["text"] for finding in report.findings)
    assert f"{HOST}:{own_redis.port}" in told
    assert "refused" in told or "is down" in told

    sentinel.kill()
    report = doctor(url, *name, *login, *how)
    assert f"port {sentinel.port} of {HOST}: connection refused" in report.of("port")


def test_the_password_of_the_master_is_told_from_that_of_the_sentinel(
    doctor, redis_acl, start_sentinel
):
    sentinel = start_sentinel(redis_acl)
    name = ("--broker-option", f"master_name={sentinel.master_name}")
    report = doctor(sentinel.url, *name)
    assert f"master {HOST}:{redis_acl.port}: " in report.of("login")
    assert "sentinel://USER:PASSWORD@" in report.of("login")


@pytest.fixture
def paste(rabbitmq_server):
    """Run the last command of an advice, as the administrator would."""

    def run_last(advice):
        program, *words = shlex.split(advice.splitlines()[-1])
        assert program == "rabbitmqctl"
        rabbitmq_server.rabbitmqctl(*words)

    return run_last


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("whose", "limit", "said"),
    [
        ("vhost", "max-connections", "connection limit (0) is reached"),
        ("user", "max-connections", "user connection limit (0) is reached"),
        ("user", "max-channels", "maximum allowed user limit of (0)"),
        ("vhost", "max-queues", "queue limit in vhost 'full of'"),
    ],
)
def test_a_limit_is_found_with_the_command_that_raises_it(
    doctor, paste, rabbitmq_server, vhost, whose, limit, said
):
    vhost("full of")
    control = rabbitmq_server.rabbitmqctl
    control("add_user", "many", "many-secret")
    control("set_permissions", "-p", "full of", "many", ".*", ".*", ".*")
    url = rabbitmq_server.vhost_url("full%20of", user="many", password="many-secret")
    how = ("--wait", "200ms", "--connect-timeout", "1s")
    try:
        name = ("many",) if whose == "user" else ("-p", "full of")
        control(f"set_{whose}_limits", *name, json.dumps({limit: 0}))
        control("eval", _EXCHANGE.format("full of"))
        report = doctor(url, *how)
        assert report.status == 4
        advice = {report.of(check) for check in report.problems}
        assert all(said in text for text in advice)
        text = advice.pop()
        assert ("list_vhost_limits -p 'full of'" in text) is (whose == "vhost")
        paste(text)
        assert said not in doctor(url, *how).output
    finally:
        control("delete_user", "many")


def test_a_vhost_that_is_down_is_found_with_the_command_that_starts_it(
    doctor, paste, rabbitmq_server, vhost
):
    url = vhost("fallen")
    down = 'rabbit_vhost_sup_sup:stop_and_delete_vhost(<<"fallen">>).'
    rabbitmq_server.rabbitmqctl("eval", down)
    report = doctor(url)
    assert report.problems == {"vhost"}
    assert "vhost 'fallen' is down" in report.of("vhost")
    paste(report.of("vhost"))
    assert "logged in to" in doctor(url, "--wait", "200ms").of("login", "ok")


#: Declares the event exchange as a worker does.
_EXCHANGE = (
    'rabbit_exchange:declare(rabbit_misc:r(<<"{}">>, exchange, <<"celeryev">>),'
    ' topic, true, false, false, [], <<"test">>).'
)


# --- nothing shows -------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_redis(start_redis):
    """A Redis without workers."""
    server = start_redis()
    yield server
    server.kill()


def test_without_a_worker_nobody_is_found_on_valkey_under_the_name_that_was_typed(
    doctor, empty_redis
):
    url = empty_redis.fresh_url().replace("redis://", "valkey://")
    report = doctor(url, "--wait", "200ms")
    assert url in report.of("broker", "ok")
    assert report.problems == {"events", "workers"}
    assert "no worker is running" in report.of("events")


def test_on_rabbitmq_without_a_worker_there_is_no_exchange(doctor, vhost):
    report = doctor(vhost("empty"))
    assert report.problems == {"exchange"}
    assert "no exchange celery.pidbox" in report.of("workers", "note")


@pytest.fixture
def overheard(request):
    """Say whether the worker on Redis that tests share has sent heartbeats since the first call.

    Two of them: what others have of the second may be late.
    """
    with contextlib.ExitStack() as stack:
        listening, count = None, 0

        def were_sent(_):
            nonlocal listening, count
            if listening is None:
                url = request.getfixturevalue("redis_ward").broker_url
                client = stack.enter_context(Redis.from_url(url))
                listening = stack.enter_context(client.pubsub(ignore_subscribe_messages=True))
                listening.subscribe(f"/{url.rpartition('/')[2]}.celeryev/worker.heartbeat")
            count += listening.get_message() is not None
            return count > 1

        yield were_sent


def test_workers_on_another_database_are_found(doctor, redis_server, redis_ward, overheard):
    report = doctor(redis_server.fresh_url(), until=overheard)
    assert report.problems == {"events", "workers", "elsewhere"}
    assert f"-b {redis_ward.broker_url}" in report.of("elsewhere")


@pytest.mark.parametrize(("arguments", "advice"), [
    (("--global-keyprefix", "blue."), "--global-keyprefix ''"),
    (("--fanout-prefix", "off"), "--fanout-prefix on"),
    (("--no-fanout-patterns",), "--fanout-patterns"),
])  # fmt: skip
def test_workers_with_another_prefix_are_found(doctor, redis_ward, overheard, arguments, advice):
    report = doctor(redis_ward.broker_url, *arguments, "--read-only", until=overheard)
    assert advice in report.of("elsewhere")


def test_workers_with_another_exchange_are_found(doctor, place, worker):
    worker(place, event_exchange="celeryev.blue", arguments=BEATING)
    report = doctor(place, answers=1)
    assert "--event-exchange celeryev.blue" in report.of("elsewhere")
    assert report.problems & {"events", "exchange"}


def test_workers_with_the_usual_exchange_are_found(doctor, ward, overheard):
    # On RabbitMQ there is no such exchange to listen to.
    where = (ward.broker_url, "--event-exchange", "blue", "--read-only")
    report = doctor(*where, until=overheard)
    assert "--event-exchange celeryev" in report.of("elsewhere")


def test_workers_on_another_vhost_are_found(doctor, vhost, rabbitmq_ward):
    report = doctor(vhost("not found"))
    assert f"vhost {WARD}" in report.of("elsewhere")
    assert "/%2Fnot%20found" in report.of("elsewhere")


def test_a_wrong_control_exchange_is_found_and_not_made(doctor, rabbitmq_server, rabbitmq_ward):
    def exchanges():
        return rabbitmq_server.rabbitmqctl("list_exchanges", "-p", WARD, "name")

    before = exchanges()
    report = doctor(rabbitmq_ward.broker_url, "--control-exchange", "blue", until=has_beaten)
    assert report.status == 3
    assert "there is no exchange blue.pidbox" in report.of("workers", "warning")
    assert exchanges() == before


def test_task_events_and_heartbeats_that_are_off_are_found(doctor, broker, place, worker):
    quiet = {"arguments": ("--without-heartbeat", "--without-gossip"), "queue": "other"}
    silenced = {"arguments": (*BEATING, "--", "worker_send_task_events=0"), "events": False}
    with ThreadPoolExecutor() as pool:
        started = [
            pool.submit(worker, place, name="quiet", **quiet),
            pool.submit(worker, place, name="silenced", **silenced),
        ]
        without_beats, without_events = [future.result() for future in started]
    # More than it does before it is observed.
    for _ in range(100):
        without_events.app.send_task("cluster.occupy", args=(1,))
    name = without_events.hostname
    report = doctor(place, answers=2, until=lambda seen: seen.signs(name).done)
    assert report.status == 4
    assert without_events.hostname in report.of("task-events")
    assert "-E" in report.of("task-events")
    assert without_beats.hostname in report.of("heartbeats", "warning")
    assert "--without-heartbeat" in report.of("heartbeats", "warning")
    if isinstance(broker, RedisServer):
        # Without heartbeats they are found by their mailboxes.
        without_events.stop()
        report = doctor(broker.fresh_url())
        assert f"-b {place}" in report.of("elsewhere")
        assert without_beats.hostname in report.of("elsewhere")


def test_a_broker_that_ends_meanwhile_is_told_and_not_asked_again(own_redis):
    with admitted("-b", own_redis.url, "--wait", "30s") as process:
        own_redis.kill()
        said = process.stdout.read()
        assert process.wait() == 4
    assert "note     skipped" in said
    assert "no orphaned event queues" not in said


# --- what is left behind -------------------------------------------------------------


def leave_behind(server, url, *, queue="celeryev.dead"):
    """Make what a monitor that was killed may leave on Redis."""
    number = int(url.rpartition("/")[2])
    member = f"#\x06\x16\x06\x16{queue}"
    for arguments in (
        ("RPUSH", queue, on_redis(number=2), on_redis(number=1)),
        ("SADD", "_kombu.binding.celeryev", member),
        ("RPUSH", "tasks", "mine"),
    ):
        server.redis_cli(*arguments, database=number)
    return number


def test_what_dead_readers_left_on_redis_is_listed_and_removed(doctor, redis_server):
    url = redis_server.fresh_url()
    number = leave_behind(redis_server, url)
    how = ("--wait", "200ms")
    told = doctor(url, *how).of("orphans", "warning")
    assert "1 list and 1 binding (2 messages" in told
    assert "celeryev.dead" in told
    assert redis_server.redis_cli("LLEN", "celeryev.dead", database=number) == "2"
    fixed = doctor(url, *how, "--fix", "--yes").of("orphans", "note")
    assert "removed 1 list and 1 binding" in fixed
    left = redis_server.redis_cli("KEYS", "*", database=number).split()
    assert set(left) - {"_kombu.binding_deadlines"} == {"tasks"}
    assert "no orphaned" in doctor(url, *how).of("orphans", "ok")


def test_a_list_that_somebody_reads_stays(doctor, redis_server, monkeypatch):
    url = redis_server.fresh_url()
    number = leave_behind(redis_server, url)
    listen = workers.listen

    def listen_while_somebody_reads(*args, **how):
        redis_server.redis_cli("RPOP", "celeryev.dead", database=number)
        return listen(*args, **how)

    monkeypatch.setattr(workers, "listen", listen_while_somebody_reads)
    said = doctor(url, "--fix", "--yes").output
    assert "removed" not in said or "1 list" not in said
    assert redis_server.redis_cli("LLEN", "celeryev.dead", database=number) == "1"


def test_queues_that_nobody_reads_are_removed_from_rabbitmq(doctor, rabbitmq_server, vhost):
    import amqp

    url = vhost("lost")
    with amqp.Connection(f"{HOST}:{rabbitmq_server.port}", virtual_host="lost") as connection:
        channel = connection.channel()
        for name in ("celeryev.dead", "celeryev.alive", "tasks"):
            life = {"x-message-ttl": 5_000, "x-expires": 60_000}
            channel.queue_declare(*(name,), durable=True, auto_delete=False, arguments=life)
        channel.basic_consume("celeryev.alive")
        names = ("celeryev.dead", "celeryev.alive", "tasks", "celeryev.none")
        report = doctor(url, "--fix", "--yes", "--wait", "500ms", *names)
    assert "removed 1 queue: celeryev.dead" in report.of("orphans", "note")
    assert "celeryev.alive stays: it is being read" in report.of("orphans", "note")
    assert "tasks stays: it is no event queue" in report.of("orphans", "note")
    left = {queue["name"] for queue in rabbitmq_server.list_queues(vhost="lost")}
    assert left == {"celeryev.alive", "tasks"}


@pytest.mark.timeout(120)
def test_queues_of_tasks_stay_whatever_the_prefix_is(doctor, place):
    app = Celery(broker=place)
    app.conf.task_default_queue = "celery.mail"
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        app.amqp.queues["celery.mail"](channel).declare()
        app.amqp.queues.add("celery.idle")(channel).declare()
        sent = [app.send_task("mail.send", args=(number,)).id for number in range(3)]
        how = ("--event-queue-prefix", "celery", "--event-exchange", "celery.mail")
        names = ("celery.mail", "celery.idle")
        for queues in ((), names):
            report = doctor(place, *how, "--fix", "--yes", "--wait", "500ms", *queues)
            assert "removed" not in report.output
        assert re.search("no event|as event queues are", report.of("orphans", "note"))
        queue = app.amqp.queues["celery.mail"](channel)
        found = [queue.get(no_ack=True) for _ in sent]
        assert [message.headers["id"] for message in found] == sent
        # They still lead to their queues.
        app.send_task("mail.send", queue="celery.idle")
        idle = app.amqp.queues["celery.idle"](channel)
        wait_until(lambda: idle.get(no_ack=True), what="the task")


def test_without_a_terminal_nothing_is_removed_unasked(redis_url):
    done = run("-b", redis_url, "--fix")
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_a_broker_command_that_hangs_ends_with_the_doctor(tmp_path):
    pidfile = tmp_path / "pid"
    command = f"sh -c 'echo $$ >{pidfile}; exec sleep 60'"
    words = [sys.executable, "-m", "evtools", "doctor", "--broker-command", command]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: pidfile.exists() and pidfile.read_text(), what="the command")
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
    wait_until(lambda: not is_there(int(pidfile.read_text())), what="its end")


def test_a_signal_that_comes_as_a_broker_command_starts_leaves_it_not_running():
    # The handler runs as the program has been started, and before we know its number.
    code = """if True:
        import os, signal, subprocess, sys
        from evtools.cli.main import main
        start = subprocess._fork_exec
        def start_and_end(*args):
            pid = start(*args)
            os.write(1, b"%d" % pid)
            signal.raise_signal(signal.SIGTERM)
            return pid
        subprocess._fork_exec = start_and_end
        sys.argv = ["evtools", "doctor", "--broker-command", "sleep 60"]
        sys.exit(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, timeout=30, check=False
    )
    assert done.returncode == 128 + signal.SIGTERM
    wait_until(lambda: not is_there(int(done.stdout)), what="its end")


# --- the manual ---------------------------------------------------------------------


def test_the_manual_has_every_check_and_every_status():
    page = (ROOT / "man" / "evtools.1").read_text().replace("\\-", "-")
    _, _, checks = page.partition("\n.SH DOCTOR\n")
    _, _, statuses = page.partition("\n.SH DOCTOR EXIT STATUS")
    heads = re.findall(r"^\.TP\n\.B ([a-z, -]+)$", checks, re.MULTILINE)
    described = {name for head in heads for name in head.split(", ")}
    assert {check.name for check in CHECKS} <= described
    for status in STATUSES.values():
        assert f"\n.TP\n.B {status}\n" in statuses


# --- the text ------------------------------------------------------------------------


def test_people_get_lines_and_a_summary(empty_redis):
    done = run("-b", empty_redis.fresh_url(), "--wait", "500ms", "-q")
    assert done.returncode == 4
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("problem  events       nothing arrived")
    assert not any(line.startswith("ok ") for line in lines)
    assert lines[-1] == "2 problems"


def test_what_workers_call_themselves_harms_no_terminal(run_here, redis_url, sender):
    name = "evil\x1b]0;title\x07@\u202ehost"
    with beating(sender(redis_url), hostname=name):
        _, said = run_here(redis_url, until=has_beaten)
    assert "evil\\x1b]0;title\\x07@\\u202ehost" in said
    assert said.replace("\n", "").isprintable()
