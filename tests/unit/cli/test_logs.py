import logging

import pytest

from evtools.cli.logs import set_up


def say_all(name="evtools.x"):
    logger = logging.getLogger(name)
    for level in ("debug", "info", "warning", "error"):
        getattr(logger, level)("%s\x1b[31m", level)


def heard(capsys):
    return [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("verbosity", "quiet", "debug", "levels"),
    [
        (0, False, False, ["warning", "error"]),
        (1, False, False, ["info", "warning", "error"]),
        (0, True, False, ["error"]),
        (0, True, True, ["debug", "info", "warning", "error"]),
    ],
)
def test_the_flags_choose_the_levels(capsys, verbosity, quiet, debug, levels):
    set_up("evdump", verbosity=verbosity, quiet=quiet, debug=debug)
    say_all()
    assert heard(capsys) == levels


def test_records_look_like_other_messages_and_do_no_harm(capsys):
    set_up("evdump", verbosity=0, quiet=True, debug=False)
    say_all()
    assert capsys.readouterr().err == "evdump: error: error\\x1b[31m\n"


@pytest.mark.parametrize("library", ["kombu.connection", "amqp", "redis.client"])
def test_libraries_are_silent_unless_debugging(capsys, library):
    set_up("evdump", verbosity=3, quiet=False, debug=False)
    say_all(library)
    assert heard(capsys) == []
    set_up("evdump", verbosity=0, quiet=False, debug=True)
    say_all(library)
    assert heard(capsys) == ["debug", "info", "warning", "error"]
