import pytest

from evtools.cli import broker_command
from evtools.cli.broker_command import ask
from evtools.errors import BrokerUnavailable, UsageError

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
    with pytest.raises(BrokerUnavailable, match="no text"):
        ask(("printf", "\\377"), base)


def test_a_program_that_is_not_there_is_a_mistake():
    with pytest.raises(UsageError, match="cannot run no-such-program: No such file"):
        ask(("no-such-program",), base)


def test_one_that_takes_too_long_ends_with_all_that_it_started(monkeypatch):
    monkeypatch.setattr(broker_command, "_PATIENCE", 0.2)
    with pytest.raises(BrokerUnavailable, match=r"no answer in 0\.2s"):
        ask(shell("sleep 1000 | cat"), base)
