import logging

import pytest

from evtools.cli.cam_command import evcam
from evtools.cli.rereading import Rereading
from evtools.errors import ConfigError


@pytest.fixture
def reading(config):
    """Return what tells changes of a settings file, for a command line."""

    def begin(text, *arguments):
        config(text)
        return Rereading(evcam.make_context("evcam", list(arguments)))

    return begin


def test_an_unchanged_file_has_no_changes(reading, config):
    reread = reading("[evcam]\nfreq = 2\n")
    assert reread() == {}


def test_what_has_changed_is_told_once(reading, config):
    reread = reading("[evcam]\nfreq = 2\nmaxrate = '1/m'\n")
    config("heartbeat = 5\n[evcam]\nfreq = 3\n")
    assert reread() == {"freq": 3, "maxrate": None, "heartbeat": 5}
    assert reread() == {}


def test_what_the_command_line_or_environment_says_stays(reading, config, monkeypatch):
    monkeypatch.setenv("EVCAM_MAXRATE", "2/m")
    reread = reading("[evcam]\nfreq = 2\n", "-F", "5")
    config("[evcam]\nfreq = 3\nmaxrate = '1/m'\n")
    assert reread() == {}


def test_the_level_is_a_number_for_logging(reading, config):
    reread = reading("[evcam]\n")
    config("[evcam]\nloglevel = 'debug'\n")
    assert reread() == {"loglevel": logging.DEBUG}
    config("[evcam]\n")
    assert reread() == {"loglevel": logging.INFO}


def test_the_profile_is_the_same_as_before(reading, config):
    reread = reading("[profile.p.evcam]\nfreq = 2\n", "--profile", "p")
    config("[profile.p.evcam]\nfreq = 3\n")
    assert reread() == {"freq": 3}


def test_the_file_is_found_from_any_directory(reading, config, monkeypatch, tmp_path):
    (tmp_path / "mine.toml").write_text("[evcam]\nfreq = 2\n")
    reread = reading("", "--config", "mine.toml")
    (tmp_path / "mine.toml").write_text("[evcam]\nfreq = 3\n")
    monkeypatch.chdir("/")
    assert reread() == {"freq": 3}


@pytest.mark.parametrize("text", ["[evcam]\nloglevel = 'loud'\n", "[evcam]\nnonsense = 1\n", "["])
def test_a_file_that_is_wrong_changes_nothing(reading, config, text):
    reread = reading("[evcam]\nfreq = 2\n")
    config(text)
    with pytest.raises(ConfigError):
        reread()
    config("[evcam]\nfreq = 3\n")
    assert reread() == {"freq": 3}


def test_without_a_file_there_is_nothing_to_read():
    assert Rereading(evcam.make_context("evcam", []))() == {}
