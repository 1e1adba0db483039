import logging
import re
from pathlib import Path

import pytest

from evtools.cli.cam import evcam, level_of
from evtools.cli.config import OPTIONS, load, places, reloader
from evtools.cli.dump import evdump
from evtools.cli.options import Option
from evtools.cli.top import evtop
from evtools.errors import ConfigError
from evtools.top.keys import Keymap


def read(path, profile=None, tool=evdump):
    return load(tool, str(path) if path else None, profile)


@pytest.fixture
def values(config):
    """Write a file and return its values by option name."""

    def get(text, profile=None):
        loaded = read(config(text), profile)
        return {name: setting.value for name, setting in loaded.settings.items()}

    return get


@pytest.fixture
def mistake(config):
    """Write a file with a mistake and return the error."""

    def get(text, profile=None):
        path = config(text)
        with pytest.raises(ConfigError) as caught:
            read(path, profile)
        assert caught.value.message.startswith(f"{path}: ")
        assert caught.value.exit_code == 78
        return caught.value

    return get


@pytest.mark.parametrize(
    ("environ", "folders"),
    [
        ({"HOME": "/h"}, ["/h/.config", "/etc/xdg"]),
        ({"XDG_CONFIG_HOME": "/c", "XDG_CONFIG_DIRS": "/a:/b"}, ["/c", "/a", "/b"]),
        ({}, ["/etc/xdg"]),
    ],
)
def test_the_places_are_those_of_xdg(monkeypatch, environ, folders):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert places() == [Path(folder) / "evtools" / "evtools.toml" for folder in folders]


def test_the_first_file_there_is_counts(tmp_path, monkeypatch):
    (tmp_path / "b" / "evtools").mkdir(parents=True)
    path = tmp_path / "b" / "evtools" / "evtools.toml"
    path.write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{tmp_path}/a")
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/b")
    assert read(None).path == path


def test_without_a_file_there_are_no_settings(tmp_path):
    loaded = read(None)
    assert (loaded.path, dict(loaded.settings), loaded.warnings) == (None, {}, ())
    with pytest.raises(ConfigError, match="no settings file for --profile prod") as caught:
        read(None, "prod")
    assert str(tmp_path) in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "event-queue-ttl = 3\nconnect_timeout = '2s'\ntls = true",
            {"event_queue_ttl": 3, "connect_timeout": "2s", "tls": True},
        ),
        ('accept = ["json", "yaml"]', {"accept": ["json", "yaml"]}),
        ('event_routing_key = "task.#"', {"event_routing_key": ["task.#"]}),
        ("[broker_option]\na = 'm'\nn = 1", {"broker_option": {"a": "m", "n": 1}}),
        ("fanout_prefix = false", {"fanout_prefix": False}),
        ("broker_url = 'redis://h'", {"broker": "redis://h"}),
        ("BROKER_URL = 'redis://h'", {"broker": "redis://h"}),
        ("CELERY_BROKER_URL = 'redis://h'", {"broker": "redis://h"}),
        ("[celery]\nbroker_url = 'redis://h'", {"broker": "redis://h"}),
        ("[celery]\nbroker_url = 'x'\nbroker_read_url = 'redis://h'", {"broker": "redis://h"}),
        ("broker_url = ['redis://h']", {"broker": "redis://h"}),
        ("[broker_use_ssl]\nssl_cert_reqs = 'CERT_NONE'", {"tls": True, "tls_verify": "none"}),
        (
            "heartbeat = 1\n[evdump]\nheartbeat = 2\noutput = 'logfmt'",
            {"heartbeat": 2, "output": "logfmt"},
        ),
        ("[evtop]\nwhatever = 1\n[evcam]\nx = 2", {}),
    ],
)
def test_settings_have_our_names_or_celerys(values, text, expected):
    assert values(text) == expected


PROFILES = """
heartbeat = 1
broker = "redis://top"
[profile.prod]
heartbeat = 2
[profile.prod.celery]
broker_url = "redis://prod"
[profile.prod.evdump]
output = "csv"
[profile.test]
heartbeat = 3
"""


def test_a_profile_wins_over_the_top_and_each_value_knows_its_section(config):
    path = config(PROFILES)
    assert read(path).settings == {
        "heartbeat": (1, str(path)),
        "broker": ("redis://top", str(path)),
    }
    assert read(path, "prod").settings == {
        "heartbeat": (2, f"{path} [profile.prod]"),
        "broker": ("redis://prod", f"{path} [profile.prod]"),
        "output": ("csv", f"{path} [profile.prod.evdump]"),
    }


def test_an_unknown_profile_is_guessed(mistake):
    error = mistake(PROFILES, "prd")
    assert "there is no [profile.prd]" in error.message
    assert error.hint == "did you mean prod?"


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("heartbaet = 1", "heartbaet: there is no such setting", "did you mean heartbeat?"),
        ("broker_ulr = 'x'", "broker_ulr: there is no such", "did you mean broker_url?"),
        ("[profiles.x]\n", "profiles: there is no such", "did you mean profile?"),
        ("[evdmp]\n", "evdmp: there is no such setting", "did you mean evdump?"),
        ("xyzzy = 1", "xyzzy: there is no such setting", "see evtools.toml(5)"),
        ("config = 'x'", "config: there is no such setting", "see evtools.toml(5)"),
        ("[celery]\nfoo = 1", "celery.foo: there is no such", "see evtools.toml(5)"),
        ("[evdump]\nfoo = 1", "evdump.foo: there is no such", "see evtools.toml(5)"),
        ("output = 'json'", "output: belongs in [evdump]", "see evtools.toml(5)"),
        ("tls = 'yes'", "tls: must be true or false", "see evtools.toml(5)"),
        ("heartbeat = true", "heartbeat: must be a text or a number or a whole", ""),
        ("heartbeat = [1]", "heartbeat: must be", ""),
        ("event_exchange = 5", "event_exchange: must be a text", ""),
        ("tls_verify = 1", "tls_verify: must be a text", ""),
        ("verbose = 'x'", "verbose: must be a whole number", ""),
        ("accept = 5", "accept: must be a text or a list of texts", ""),
        ("broker_option = 'x'", "broker_option: must be a table", ""),
        ("[celery]\nevents_uid = [1]\n[evdump]\nts = 5", "evdump.ts: must be", ""),
        ("evdump = 1", "evdump: must be a table", ""),
        ("profile = 'x'", "profile: must be a table", ""),
        ("celery = 'x'", "celery: must be a table", ""),
        ("[profile]\nx = 1", "x: must be a table", ""),
        ("heartbeat = 1\n[profile.x]\nfoo = 1", "profile.x.foo: there is no such", ""),
        ("event-exchange = 'a'\nevent_exchange = 'b'", "is also set as event-exchange", ""),
        ("broker = 'a'\nbroker_url = 'b'", "broker: is also set under Celery's", ""),
        ("BROKER_URL = 'a'\nbroker_url = 'b'", "set twice, under its old and", ""),
        ("[broker_use_ssl]\ncolour = 'x'", "broker_use_ssl: unknown key", ""),
        ("heartbeat", "Expected '='", "see evtools.toml(5)"),
        ("keys = 'vi'", "keys: must be a table", ""),
        ("[keys]\npause = 7", "keys.pause: must be a text or a list of texts", ""),
        ("[keys]\npause = [7]", "keys.pause: must be a text or a list of texts", ""),
        ("[keys]\npause = {a = 1}", "keys.pause: must be a text or a list of texts", ""),
    ],
)
def test_a_mistake_is_named_with_file_and_key(mistake, text, words, hint):
    error = mistake(text)
    assert words in error.message
    assert hint in error.hint


def test_a_file_that_cannot_be_read_is_refused(config, tmp_path):
    path = config("")
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError):
        read(path)
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "is_secret"),
    [
        ("broker = 'redis://:pw@h'", True),
        ("[broker_option.sentinel_kwargs]\npassword = 'x'", True),
        ("broker_url = ['redis://h', 'redis://:pw@h']", True),
        ("[profile.x]\nbroker = 'redis://:pw@h'", True),
        ("broker = 'redis://h'", False),
        ("heartbeat = 3\nbroker = ''", False),
        ("accept = ['json']", False),
    ],
)
def test_a_password_that_everyone_can_read_is_warned_of(config, text, is_secret):
    path = config(text, mode=0o644)
    assert [f"chmod 600 {path}" in warning for warning in read(path).warnings] == [True] * is_secret
    path.chmod(0o640)
    assert read(path).warnings == ()


# --- The manual

MANUAL = Path(__file__).parents[3] / "man" / "evtools.toml.5"


def described(section):
    """Return the keys that a section of the manual describes."""
    text = MANUAL.read_text().partition(f".SH {section}\n")[2].partition("\n.SH ")[0]
    return re.findall(r"^\.T[PQ]\n\.B (\w+)$", text, re.MULTILINE)


def in_file(command, *, shared):
    return {
        option.name
        for option in command.params
        if isinstance(option, Option) and option.in_file and option.shared is shared
    }


def test_the_manual_describes_every_key_and_no_other():
    assert set(described("SETTINGS OF ALL TOOLS")) == in_file(evdump, shared=True)
    assert set(described("SETTINGS OF EVDUMP")) == in_file(evdump, shared=False)
    assert set(described("SETTINGS OF EVTOP")) == in_file(evtop, shared=False)
    assert set(described("SETTINGS OF EVCAM")) == in_file(evcam, shared=False)
    assert described(r"CELERY\(aqS NAMES") == list(OPTIONS)


def test_the_example_of_the_manual_is_a_good_file(values, config):
    text = MANUAL.read_text().partition(".EX\n")[2].partition("\n.EE")[0]
    example = text.replace(r"\(dq", '"').replace(r"\-", "-")
    assert values(example, "prod")["broker_option"] == {"master_name": "mymaster"}
    assert values(example, "staging")["event_exchange"] == "appev"
    loaded = read(config(example), tool=evtop)
    assert loaded.settings["theme"].value == "light"
    assert Keymap(loaded.keys).find("ctrl-p", ["everywhere"]) == "pause"


# --- evtop's keys -----------------------------------------------------------------


def test_keys_are_a_table_of_commands_and_those_of_a_profile_are_added(config):
    path = config(
        "[keys]\npause = 'P'\nquit = ['Q', 'X']\nmark = []\n[profile.eu.keys]\npause = 'u'\n"
    )
    assert read(path).keys == {"pause": "P", "quit": ["Q", "X"], "mark": []}
    assert read(path).settings == {}
    assert read(path, "eu").keys == {"pause": "u", "quit": ["Q", "X"], "mark": []}


# --- reading it again ---------------------------------------------------------------


@pytest.fixture
def reading(config):
    """Return the function that reads the file of a command line again."""

    def begin(text, *arguments):
        config(text)
        return reloader(evcam.make_context("evcam", list(arguments)), level_of)

    return begin


@pytest.mark.parametrize(
    ("before", "arguments", "after", "changes"),
    [
        ("[evcam]\nfreq = 2\n", (), "[evcam]\nfreq = 2\n", {}),
        (
            "[evcam]\nfreq = 2\nmaxrate = '1/m'\n",
            (),
            "heartbeat = 5\n[evcam]\nfreq = 3\n",
            {"freq": 3, "maxrate": None, "heartbeat": 5},
        ),
        ("[evcam]\nfreq = 2\n", ("-F", "5"), "[evcam]\nfreq = 3\numask = '027'\n", {}),
        ("[evcam]\n", (), "[evcam]\nloglevel = 'debug'\n", {"loglevel": logging.DEBUG}),
        ("[evcam]\nloglevel = 'debug'\n", (), "[evcam]\n", {"loglevel": logging.INFO}),
        (
            "[profile.p.evcam]\nfreq = 2\n",
            ("--profile", "p"),
            "[profile.p.evcam]\nfreq = 3\n",
            {"freq": 3},
        ),
    ],
)
def test_changes_are_reported_once(reading, config, monkeypatch, before, arguments, after, changes):
    monkeypatch.setenv("EVCAM_UMASK", "022")  # stays, as flags do
    reread = reading(before, *arguments)
    config(after)
    assert reread() == changes
    assert reread() == {}


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
    assert reloader(evcam.make_context("evcam", []), level_of)() == {}
