import click
import pytest

from evtools.cli import connection
from evtools.cli.connection import ask, connection_settings
from evtools.cli.dump import evdump
from evtools.errors import BrokerUnavailable, UsageError
from evtools.transport import TLS, ConnectionSettings

REDIS_ONLY = frozenset({"fanout_prefix", "fanout_patterns", "global_keyprefix"})


def settings(*arguments):
    with evdump.make_context("evdump", list(arguments)) as ctx:
        (only,) = connection_settings(ctx)
    return only


def test_every_option_reaches_its_setting():
    assert settings() == ConnectionSettings(tool="evdump", may_ignore=REDIS_ONLY)
    arguments = """
        -b redis://h/1 --login-method PLAIN --connect-timeout 2 --heartbeat 0 --no-reconnect
        --buffer-size 2M --event-routing-key task.# --event-exchange e --event-queue-prefix p
        --event-queue-ttl none --event-queue-expires 1m --no-event-queue-exclusive
        --event-queue-durable --control-exchange c --no-wakeup --enable-events
        --accept json --accept yaml --tls --tls-ca ca --tls-cert c --tls-key k --tls-verify none
        --no-tls-check-hostname --tls-server-name n
    """
    # fmt: off
    assert settings(*arguments.split()) == ConnectionSettings(
        urls="redis://h/1", source_of_url="-b flag", login_method="PLAIN", connect_timeout=2.0,
        heartbeat=0.0, reconnect=False, buffer_bytes=2 * 1024 * 1024, routing_keys=("task.#",),
        event_exchange="e", event_queue_prefix="p", event_queue_ttl=None,
        event_queue_expires=60.0, event_queue_exclusive=False, event_queue_durable=True,
        control_exchange="c", wakeup=False, enable_events=True, accept=("json", "yaml"),
        tls=TLS(enabled=True, ca="ca", cert="c", key="k", verify="none", check_hostname=False,
                server_name="n"),
        tool="evdump", may_ignore=REDIS_ONLY,
    )
    # fmt: on
    assert settings("--no-tls").tls.enabled is False


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("--broker-option", "a=True", "--fanout-prefix", "x"), {"a": True, "fanout_prefix": "x"}),
        (("--fanout-prefix", "off"), {"fanout_prefix": False}),
        (("--no-fanout-patterns",), {"fanout_patterns": False}),
        (("--global-keyprefix", "x:"), {"global_keyprefix": "x:"}),
        (("--fanout-prefix", "a", "--broker-option", "fanout_prefix=b"), {"fanout_prefix": "a"}),
    ],
)
def test_transport_options_have_two_forms(arguments, options):
    made = settings(*arguments)
    assert made.options == options
    assert made.may_ignore == REDIS_ONLY  # the others must be known to the transport


def test_a_file_with_the_url_is_named_as_its_source(tmp_path, monkeypatch):
    path = tmp_path / "url"
    path.write_text("redis://:pw@h")
    assert settings("-b", f"@{path}").source_of_url == f"-b @{path}"
    monkeypatch.setenv("EVTOOLS_BROKER_URL", f"@{path}")
    assert settings().source_of_url == f"EVTOOLS_BROKER_URL (@{path})"
    assert settings().urls == "redis://:pw@h"


def test_a_url_in_a_file_or_in_the_settings_is_read_again(tmp_path, config):
    (tmp_path / "url").write_text("redis://:old@h")
    config("broker = 'redis://:old@h'")
    for arguments, write in (
        (("-b", "@url"), (tmp_path / "url").write_text),
        ((), lambda text: config(f"broker = {text!r}")),
    ):
        renewal = settings(*arguments).renewal
        assert not renewal.renew()
        write("redis://:new@h")
        assert renewal.renew()
        assert renewal.urls == "redis://:new@h"
        write("")
        with pytest.raises(UsageError):
            renewal.renew()
    (tmp_path / "url").unlink()
    config("")
    for read_again in (settings("-b", "redis://h"), settings()):
        assert read_again.renewal is None
    assert settings("--broker-command", "true").renewal.due
    assert not renewal.due
    with pytest.raises(UsageError, match="no longer has a broker"):
        renewal.renew()


@pytest.mark.parametrize("instead", [("--demo",), ("-r", "recording.jsonl")])
def test_a_broker_that_nobody_asks_may_be_wrong_in_the_environment(monkeypatch, instead):
    monkeypatch.setenv("CELERY_BROKER_URL", "::")
    with pytest.raises(UsageError):
        settings()
    assert settings(*instead).urls == ConnectionSettings().urls
    with pytest.raises(UsageError):
        settings(*instead, "-b", "::")


def test_several_clusters_have_names_and_share_the_other_settings(tmp_path, monkeypatch, config):
    def clusters(*arguments):
        with evdump.make_context("evdump", list(arguments)) as ctx:
            return connection_settings(ctx)

    (tmp_path / "url").write_text("redis://:pw@eu")
    prod, eu = clusters("-b", "prod=amqp://h?a=b=c", "-b", "eu=@url", "--heartbeat", "3")
    assert (prod.cluster, prod.urls) == ("prod", "amqp://h?a=b=c")
    assert (eu.cluster, eu.urls) == ("eu", "redis://:pw@eu")
    assert {prod.heartbeat, eu.heartbeat} == {3.0}
    assert eu.renewal is not None
    assert settings("-b", "redis://h?x=1").cluster == ""
    assert settings("-b", "prod=redis://h").cluster == "prod"
    both = [("a", "redis://h"), ("b", "redis://i")]
    monkeypatch.setenv("EVTOOLS_BROKER_URL", "a=redis://h\n b=redis://i\n\n")
    assert [(each.cluster, each.urls) for each in clusters()] == both
    monkeypatch.delenv("EVTOOLS_BROKER_URL")
    config("broker = ['a=redis://h', 'b=redis://i']")
    assert [(each.cluster, each.urls) for each in clusters()] == both
    a, b = (each.renewal for each in clusters())
    # What is wrong with another is nothing to this one.
    config("broker = ['a=@gone', 'b=redis://j']")
    assert b.renew()
    assert b.urls == "redis://j"
    config("broker = ['b=redis://j']")
    with pytest.raises(UsageError, match="no longer has the broker of a"):
        a.renew()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("-b redis://a -b redis://b", "not all have a name"),
        ("-b x=redis://a -b redis://b", "not all have a name"),
        ("-b x=redis://a -b x=redis://b", "two brokers are called x"),
        ("-b x=redis://a -b y=redis://b --broker-command true", "about one broker"),
        ("-b x=redis://a -b y=redis://a", "x and y are the same broker"),
    ],
)
def test_several_clusters_must_be_told_apart(typed, words):
    with pytest.raises(UsageError, match=words):
        settings(*typed.split())


@pytest.mark.parametrize(("text", "problem"), [
    ("prod!=redis://a", "'prod!' cannot be the name"), ("a b=redis://a", "'a b' cannot be"),
    ("a=", "a name without a broker"), ("a=b=redis://a", "stands only in front"),
    ("a=redis://a;b=redis://b", "stands only in front"), ("a=@url", "stands only in front"),
])  # fmt: skip
def test_a_cluster_has_one_plain_name(tmp_path, monkeypatch, text, problem):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "url").write_text("eu=redis://:pw@eu")
    with pytest.raises(click.BadParameter, match=problem) as caught:
        settings("-b", text)
    assert "pw" not in str(caught.value)


def test_a_settings_file_without_any_broker_says_so(config):
    config("broker = []")
    with pytest.raises(UsageError, match="broker is an empty list"):
        settings()


# --- --broker-command ---------------------------------------------------------------

BASE = "amqp://app:old@a:1/v?heartbeat=3;amqp://b//"


def base():
    return BASE


def shell(script):
    return ("sh", "-c", script)


@pytest.mark.parametrize(
    ("command", "url"),
    [
        (shell("echo '  redis://:x@h/0  '; echo"), "redis://:x@h/0"),
        (("printf", "%s\\n", "p@ss/w:rd %25"),
         "amqp://app:{0}@a:1/v?heartbeat=3;amqp://:{0}@b//".format("p%40ss%2Fw%3Ard%20%2525")),
        (("echo", "redis://h/0", "; touch made", "$(id)", "*"), "redis://h/0 ; touch made $(id) *"),
    ],
)  # fmt: skip
def test_a_program_prints_a_url_or_a_password_without_a_shell(tmp_path, command, url):
    assert ask(command, base) == url
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        ((*shell("echo s3cret; echo 'token\033[31m expired' >&2; exit 3"), "argument"),
         BrokerUnavailable, "--broker-command sh: it ended with status 3: token\\x1b[31m expired",
         ),
        (shell("echo password=s3cret, no amqp://u:s3cret@h >&2; exit 1"),
         *(BrokerUnavailable, "status 1: password=**, no amqp://**@h")),
        (("true",), BrokerUnavailable, "--broker-command true: it must print one line"),
        (shell("echo a; echo b"), BrokerUnavailable, "it must print one line"),
        (shell("printf %070000d 0"), BrokerUnavailable, "it must print one line"),
        (shell("kill -9 $$"), BrokerUnavailable, "it ended with signal 9"),
        (("printf", "\\377"), BrokerUnavailable, "not text"),
        (shell("sleep 1000 | cat"), BrokerUnavailable, "no answer in 0.3s"),
        (("no-such-program",), UsageError, "cannot run no-such-program: No such file"),
    ],
)  # fmt: skip
def test_anything_else_is_a_failure(monkeypatch, command, kind, message):
    monkeypatch.setattr(connection, "_COMMAND_TIMEOUT", 0.3 if "sleep" in command[-1] else 30.0)
    with pytest.raises(kind) as failed:
        ask(command, base)
    assert message in failed.value.message
    assert "s3cret" not in failed.value.message
