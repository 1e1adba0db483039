import pytest

from evtools.cli import connection
from evtools.cli.connection import ask, connection_settings
from evtools.cli.dump import evdump
from evtools.errors import BrokerUnavailable, ImproperlyConfigured, UsageError
from evtools.transport import TLS, ConnectionSettings

REDIS_ONLY = frozenset({"fanout_prefix", "fanout_patterns", "global_keyprefix"})


def settings(*arguments):
    with evdump.make_context("evdump", list(arguments)) as ctx:
        return connection_settings(ctx)


def test_without_options_the_settings_are_the_defaults():
    assert settings() == ConnectionSettings(tool="evdump", may_ignore=REDIS_ONLY)


def test_every_option_reaches_its_setting():
    assert settings(
        *("-b", "redis://h/1", "--login-method", "PLAIN"),
        *("--connect-timeout", "2", "--heartbeat", "0", "--no-reconnect"),
        *("--buffer-size", "2M", "--event-routing-key", "task.#"),
        *("--event-exchange", "e", "--event-queue-prefix", "p"),
        *("--event-queue-ttl", "none", "--event-queue-expires", "1m"),
        *("--no-event-queue-exclusive", "--event-queue-durable"),
        *("--control-exchange", "c", "--no-wakeup", "--enable-events"),
        *("--accept", "json", "--accept", "yaml"),
    ) == ConnectionSettings(
        urls="redis://h/1",
        source_of_url="-b flag",
        login_method="PLAIN",
        connect_timeout=2.0,
        heartbeat=0.0,
        reconnect=False,
        buffer_bytes=2 * 1024 * 1024,
        routing_keys=("task.#",),
        event_exchange="e",
        event_queue_prefix="p",
        event_queue_ttl=None,
        event_queue_expires=60.0,
        event_queue_exclusive=False,
        event_queue_durable=True,
        control_exchange="c",
        wakeup=False,
        enable_events=True,
        accept=("json", "yaml"),
        tool="evdump",
        may_ignore=REDIS_ONLY,
    )


def test_an_option_of_the_command_line_must_be_known():
    told = settings("--broker-option", "a=True", "--fanout-prefix", "x")
    assert told.options == {"a": True, "fanout_prefix": "x"}
    assert "a" not in told.may_ignore
    assert "fanout_prefix" in told.may_ignore


def test_tls_options_become_a_record():
    assert settings(
        *("--tls", "--tls-ca", "ca", "--tls-cert", "c", "--tls-key", "k"),
        *("--tls-verify", "none", "--no-tls-check-hostname"),
    ).tls == TLS(enabled=True, ca="ca", cert="c", key="k", verify="none", check_hostname=False)
    assert settings("--no-tls").tls.enabled is False


def test_redis_options_are_transport_options():
    assert settings(
        *("--fanout-prefix", "off", "--no-fanout-patterns"),
        *("--global-keyprefix", "x:", "--broker-option", "fanout_prefix=/y."),
    ).options == {"fanout_prefix": False, "fanout_patterns": False, "global_keyprefix": "x:"}


def test_a_file_with_the_url_is_named_as_its_source(tmp_path, monkeypatch):
    path = tmp_path / "url"
    path.write_text("redis://:pw@h")
    assert settings("-b", f"@{path}").source_of_url == f"-b @{path}"
    monkeypatch.setenv("EVTOOLS_BROKER_URL", f"@{path}")
    assert settings().source_of_url == f"EVTOOLS_BROKER_URL (@{path})"
    assert settings().urls == "redis://:pw@h"


@pytest.mark.parametrize("instead", [("--demo",), ("-r", "recording.jsonl")])
def test_a_broker_that_nobody_asks_may_be_wrong_in_the_environment(monkeypatch, instead):
    monkeypatch.setenv("CELERY_BROKER_URL", "::")
    with pytest.raises(UsageError):
        settings()
    assert settings(*instead).urls == ConnectionSettings().urls
    with pytest.raises(UsageError):
        settings(*instead, "-b", "::")


def test_nothing_is_published_if_asked():
    assert settings("--read-only").read_only


def test_contradictions_are_refused():
    with pytest.raises(ImproperlyConfigured):
        settings("--event-queue-durable")


# --- --broker-command ---------------------------------------------------------------

BASE = "amqp://app:old@a:1/v?heartbeat=3;amqp://b//"


def base():
    return BASE


def shell(script):
    return ("sh", "-c", script)


def test_a_url_is_taken_as_it_is():
    assert ask(shell("echo '  redis://:x@h/0  '; echo"), base) == "redis://:x@h/0"


def test_a_password_goes_into_every_address_and_is_escaped():
    assert ask(("printf", "%s\\n", "p@ss/w:rd %25"), base) == (
        "amqp://app:p%40ss%2Fw%3Ard%20%2525@a:1/v?heartbeat=3;amqp://:p%40ss%2Fw%3Ard%20%2525@b//"
    )


def test_there_is_no_shell(tmp_path):
    made = tmp_path / "made"
    told = ask(("echo", "redis://h/0", f"; touch {made}", "$(id)", "*"), base)
    assert told == f"redis://h/0 ; touch {made} $(id) *"
    assert not made.exists()


def test_a_failure_shows_what_went_to_stderr_and_nothing_else():
    script = "echo s3cret; echo 'token\033[31m expired' >&2; exit 3"
    with pytest.raises(BrokerUnavailable) as failed:
        ask((*shell(script), "argument"), base)
    message = failed.value.message
    assert message == ("--broker-command sh: it ended with status 3: token\\x1b[31m expired")


def test_passwords_on_stderr_are_hidden():
    script = "echo password=s3cret, no amqp://u:s3cret@h >&2; exit 1"
    with pytest.raises(BrokerUnavailable) as failed:
        ask(shell(script), base)
    assert failed.value.message.endswith("password=**, no amqp://**@h")


@pytest.mark.parametrize("script", ["true", "echo; echo", "echo a; echo b", "kill -9 $$"])
def test_anything_but_one_line_is_a_failure(script):
    with pytest.raises(BrokerUnavailable, match="--broker-command sh: it "):
        ask(shell(script), base)


def test_what_is_no_text_is_a_failure():
    with pytest.raises(BrokerUnavailable, match="not text"):
        ask(("printf", "\\377"), base)


def test_a_program_that_is_not_there_is_a_mistake():
    with pytest.raises(UsageError, match="cannot run no-such-program: No such file"):
        ask(("no-such-program",), base)


def test_one_that_takes_too_long_ends_with_all_that_it_started(monkeypatch):
    monkeypatch.setattr(connection, "_COMMAND_TIMEOUT", 0.2)
    with pytest.raises(BrokerUnavailable, match=r"no answer in 0\.2s"):
        ask(shell("sleep 1000 | cat"), base)
