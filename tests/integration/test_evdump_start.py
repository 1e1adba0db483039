"""How evdump finds its broker, is refused by one, and does without one."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from servers.ports import free_port
from servers.process import wait_until

TESTS = Path(__file__).resolve().parents[1]


# --- brokers that are not there -----------------------------------------------------


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_refused_connection_is_told_ever_more_rarely(evdump, scheme):
    url = f"{scheme}://guest:hush@127.0.0.1:{free_port()}//"
    dump = evdump("-b", url.removesuffix("/"))
    dump.wait_stderr("trying again")
    wait_until(lambda: dump.stderr.count("trying again") == 3, what="three tries")
    for line in dump.stderr.splitlines()[:3]:
        assert re.fullmatch(
            r"evdump: cannot reach .*: connection refused; trying again in [\d.]+s", line
        )
    assert "hush" not in dump.stderr
    assert dump.stop() == 0


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_without_reconnecting_a_refused_connection_is_69(evdump, scheme):
    dump = evdump(
        *("-b", f"{scheme}://127.0.0.1:{free_port()}"),
        *("--no-reconnect", "--connect-timeout", "300ms"),
    )
    assert dump.wait() == 69
    told, hint, advice = dump.stderr.splitlines()[-3:]
    assert told.endswith("connection refused")
    assert "-b flag" in hint
    assert "evtools doctor" in advice
    assert "captured" not in dump.stderr


def test_without_reconnecting_a_lost_connection_is_69(evdump, own_redis, sender):
    dump = evdump("-b", own_redis.url, "--no-reconnect", "-o", "json")
    dump.wait_ready()
    sender(own_redis.url).send()
    dump.lines(1)
    own_redis.kill()
    assert dump.wait() == 69
    assert "1 captured" in dump.stderr


def test_a_broker_may_come_later(evdump, own_redis, sender):
    own_redis.kill()
    dump = evdump("-b", own_redis.url, "-o", "json", "-c", "1")
    dump.wait_stderr("connection refused; trying again")
    own_redis.start()
    dump.wait_ready()
    sender(own_redis.url).send()
    assert dump.wait() == 0
    assert "0 gaps" in dump.stderr


# --- brokers that refuse us ---------------------------------------------------------


def secret_places(dump):
    """Return all that others can see of a running command."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(dump.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    cmdline = Path(f"/proc/{dump.pid}/cmdline")
    return listed.stdout + (cmdline.read_text() if cmdline.exists() else "")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://guest:hush@127.0.0.1:{rabbitmq}//", "guest"),
        ("amqp://stranger:hush@127.0.0.1:{rabbitmq}//", "stranger"),
        ("amqp://nobody:nobody-secret@127.0.0.1:{rabbitmq}//", "nobody"),
        ("amqp://guest:guest@127.0.0.1:{rabbitmq}/no-such-vhost", "no-such-vhost"),
        ("redis://operator:hush@127.0.0.1:{redis}/0", "operator"),
        ("redis://nobody:nobody-secret@127.0.0.1:{redis}/0", "nobody"),
        ("redis://:hush@127.0.0.1:{redis_acl}/0", "user"),
        ("redis://127.0.0.1:{redis_acl}/0", "password"),
    ],
)
def test_a_refused_login_is_69_at_once_and_says_who(
    evdump, rabbitmq_server, redis_server, redis_acl, url, words
):
    ports = {
        "rabbitmq": rabbitmq_server.port,
        "redis": redis_server.port,
        "redis_acl": redis_acl.port,
    }
    dump = evdump("-b", url.format(**ports))
    assert dump.wait() == 69
    assert words in dump.stderr
    assert len(dump.stderr.splitlines()) <= 4
    assert "trying again" not in dump.stderr
    for secret in ("hush", "secret", ":guest@"):
        assert secret not in dump.stderr + dump.stdout


def test_a_password_is_seen_nowhere(evdump, redis_acl, tmp_path):
    url = f"redis://operator:operator-secret@127.0.0.1:{redis_acl.port}/0"
    dump = evdump("-b", url, "-vv", "--debug", "-w", tmp_path / "rec", "--print")
    dump.wait_ready()
    wait_until(lambda: "secret" not in secret_places(dump), what="a title without it")
    assert "operator:**@" in secret_places(dump)
    redis_acl.redis_cli("CLIENT", "KILL", "TYPE", "pubsub")
    dump.wait_stderr("connected again")
    wait_until(lambda: dump.stdout, what="the gap")
    assert dump.stop() == 0
    shown = evdump("-b", url, "--show-config")
    assert shown.wait() == 0
    said = dump.stdout + dump.stderr + shown.stdout + shown.stderr
    assert "operator-secret" not in said + (tmp_path / "rec").read_text()


def test_odd_passwords_work(evdump, redis_acl, rabbitmq_server, sender):
    login = "odd:p%40ss%2Fw%3Ard%20%2525"
    for url in (
        f"redis://{login}@127.0.0.1:{redis_acl.port}/0",
        f"amqp://{login}@127.0.0.1:{rabbitmq_server.port}//",
    ):
        dump = evdump("-b", url, "-o", "json", "--event-exchange", "celeryev.odd")
        dump.wait_ready()
        sender(url, "celeryev.odd").send()
        dump.lines(1)
        assert "p%40ss" not in secret_places(dump) + dump.stderr
        assert dump.stop() == 0


@pytest.mark.parametrize(
    ("url", "word"), [("sqs://key:hush@", "SQS"), ("sqla+sqlite://", "SQL"), ("http://h/", "http")]
)
def test_a_broker_that_carries_no_events_is_2(evdump, url, word):
    dump = evdump("-b", url)
    assert dump.wait() == 2
    assert word in dump.stderr
    assert "hush" not in dump.stderr
    assert "listening" not in dump.stderr


# --- where the address stands -------------------------------------------------------


@pytest.fixture
def works(evdump, redis_url, sender):
    """Say whether evdump, started somehow, gets the events of redis_url."""

    def check(*arguments, stdin="", **how):
        dump = evdump(*arguments, "-o", "json", "-c", "1", stdin=bool(stdin), **how)
        if stdin:
            dump.type(stdin)
            dump.end_input()
        dump.wait_ready()
        assert redis_url in dump.stderr
        sender(redis_url).send()
        assert dump.wait() == 0
        return True

    return check


def test_the_address_may_be_in_a_file_or_on_stdin(works, redis_url, tmp_path):
    file = tmp_path / "broker.url"
    file.write_text(f"{redis_url}\n")
    assert works("-b", f"@{file}")
    assert works("-b", "-", stdin=f"{redis_url}\n")


@pytest.mark.parametrize(
    "name",
    [*("EVTOOLS_BROKER_URL", "CELERY_BROKER_READ_URL"), *("CELERY_BROKER_URL", "BROKER_URL")],
)
def test_the_address_may_be_in_the_environment(works, redis_url, name):
    lower = {"BROKER_URL": "redis://127.0.0.1:1/0"} if name != "BROKER_URL" else {}
    assert works(env={**lower, name: redis_url})


def test_the_address_may_be_in_the_settings_file(works, redis_url, tmp_path):
    file = tmp_path / "evtools.toml"
    file.write_text(f'broker = "redis://127.0.0.1:1/0"\n[profile.x]\nbroker = "{redis_url}"\n')
    assert works("--config", file, "--profile", "x")
    folder = tmp_path / ".config" / "evtools"
    folder.mkdir(parents=True)
    file.rename(folder / "evtools.toml")
    assert works("--profile", "x", env={"HOME": str(tmp_path)})


def test_the_address_may_be_that_of_an_application(works, redis_url, tmp_path):
    (tmp_path / "shop.py").write_text(
        "from celery import Celery\n"
        f"app = Celery('shop', broker={redis_url!r})\n"
        "app.conf.update(event_queue_ttl=3.0)\n"
    )
    assert works("-A", "shop", cwd=tmp_path)
    assert works("-A", "shop.app", cwd=tmp_path)


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_an_application_may_say_all_of_tls_that_its_driver_takes(
    evdump, named, authority, tmp_path, kind
):
    proxy, url = named(kind, "elsewhere.invalid")
    more = {"ca_certs": str(authority.ca), "server_hostname": "elsewhere.invalid"}
    more |= {"ciphers": "ECDHE+AESGCM", "cert_reqs": 2, "ssl_version": 16}
    (tmp_path / "shop.py").write_text(
        "from celery import Celery\n"
        f"app = Celery('shop', broker={url!r})\n"
        f"app.conf.broker_use_ssl = {more}\n"
    )
    dump = evdump("-A", "shop", cwd=tmp_path)
    dump.wait_ready()
    assert dump.stop() == 0
    assert set(proxy.called) == {"elsewhere.invalid"}


def test_an_application_names_the_exchange_too(evdump, celery_worker):
    env = celery_worker._environment()
    env = {name: env[name] for name in env if name.startswith("CLUSTER_")}
    dump = evdump("-A", "cluster.app", "-o", "json", cwd=TESTS, env=env)
    dump.wait_ready()
    sent = celery_worker.app.send_task("cluster.add", args=(2, 3))
    dump.wait_stdout(f'"task-succeeded","hostname":"{celery_worker.hostname}"')
    assert sent.id in dump.stdout
    assert dump.stop() == 0


def test_the_error_says_where_the_address_came_from(evdump, tmp_path):
    url = f"redis://127.0.0.1:{free_port()}/0"
    quick = ("--no-reconnect", "--connect-timeout", "100ms")
    by_variable = evdump(*quick, env={"CELERY_BROKER_URL": url})
    assert by_variable.wait() == 69
    assert "CELERY_BROKER_URL" in by_variable.stderr
    file = tmp_path / "evtools.toml"
    file.write_text(f'broker = "{url}"\n')
    by_file = evdump(*quick, "--config", file)
    assert by_file.wait() == 69
    assert str(file) in by_file.stderr


def test_what_is_in_force_can_be_shown(evdump, redis_url, tmp_path):
    file = tmp_path / "evtools.toml"
    file.write_text('heartbeat = "30s"\n')
    shown = evdump(
        *("--config", file, "--show-config", "-b", redis_url), env={"EVDUMP_OUTPUT": "csv"}
    )
    assert shown.wait() == 0
    assert shown.stderr == ""
    rows = {line.partition(" = ")[0].strip(): line for line in shown.stdout.splitlines()}
    assert redis_url in rows["broker"]
    assert "-b flag" in rows["broker"]
    assert "30" in rows["heartbeat"]
    assert str(file) in rows["heartbeat"]
    assert "csv" in rows["output"]
    assert "EVDUMP_OUTPUT" in rows["output"]


# --- no broker at all ---------------------------------------------------------------


def test_the_demo_needs_no_broker_and_looks_like_a_cluster(evdump):
    dump = evdump("--demo", "-c", "60", "-o", "json")
    assert dump.wait(deadline=30) == 0
    events = [json.loads(line) for line in dump.stdout.splitlines()]
    assert len(events) == 60
    types = {event["type"] for event in events}
    assert types >= {"worker-online", "task-sent", "task-received", "task-succeeded"}
    started = [event for event in events if event["type"] == "task-started"]
    assert all("name" in event["joined"] for event in started)
    assert time.time() - events[-1]["timestamp"] < 60


def test_the_demo_on_a_terminal(evdump):
    dump = evdump("--demo", terminal=(120, 40))
    dump.wait_screen("RECV")
    dump.type("\x03")
    assert dump.wait() == 0
