import logging
import re
import ssl
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from celery.app.defaults import DEFAULTS
from celery.bin.events import events

from evtools.cli.cam import evcam, level_of
from evtools.cli.config import OPTIONS, BadSetting, load, options_from, places, reloader
from evtools.cli.config_command import change_settings
from evtools.cli.dump import evdump
from evtools.cli.options import file_options
from evtools.cli.top import evtop
from evtools.errors import ConfigError
from evtools.text import decode_text
from evtools.top.keys import Keymap
from evtools.top.programs import Program
from evtools.top.ui.theme import STYLES

SAVED = {
    ("evtop", "theme"): "light", ("evtop", "broker_stats"): False,
    ("evtop", "columns", "tasks"): ("state", "kwargs.tenant"), ("evtop", "sort", "tasks"): "-name",
}  # fmt: skip


def read(path, profile=None, tool=evdump):
    return load(tool, str(path) if path else None, profile)


@pytest.fixture
def values(config):
    """Write a file and return its values by option name."""

    def get(text, profile=None):
        loaded = read(config(text), profile)
        return {name: setting.value for name, setting in loaded.settings.items()}

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


def test_the_first_file_there_is_counts_and_there_need_be_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/a:{tmp_path}/b")
    loaded = read(None)
    assert (loaded.path, dict(loaded.settings), loaded.warnings) == (None, {}, ())
    with pytest.raises(ConfigError, match="no settings file for --profile prod") as caught:
        read(None, "prod")
    assert str(tmp_path) in caught.value.hint
    path = tmp_path / "b" / "evtools" / "evtools.toml"
    path.parent.mkdir(parents=True)
    path.touch()
    assert read(None).path == path
    # As with the HOME of another user, which root can always read.
    monkeypatch.setenv("XDG_CONFIG_HOME", f"/{'x' * 300}")
    loaded = read(None)
    assert loaded.path == path
    assert loaded.warnings == (
        f"settings in /{'x' * 300}/evtools/evtools.toml are not used: File name too long",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event-queue-ttl = 3\nconnect_timeout = '2s'\ntls = true",
         {"event_queue_ttl": 3, "connect_timeout": "2s", "tls": True}),
        ('accept = ["json", "yaml"]', {"accept": ["json", "yaml"]}),
        ('event_routing_key = "task.#"', {"event_routing_key": ["task.#"]}),
        ("[broker_option]\na = 'm'\nn = 1", {"broker_option": {"a": "m", "n": 1}}),
        ("fanout_prefix = false", {"fanout_prefix": False}),
        ("broker_url = 'redis://h'", {"broker": ["redis://h"]}),
        ("CELERY_BROKER_URL = 'redis://h'", {"broker": ["redis://h"]}),
        ("[celery]\nbroker_url = 'redis://h'", {"broker": ["redis://h"]}),
        ("[celery]\nbroker_url = 'x'\nbroker_read_url = 'redis://h'", {"broker": ["redis://h"]}),
        ("broker_url = ['redis://h']", {"broker": ["redis://h"]}),
        ("[broker_use_ssl]\nssl_cert_reqs = 'CERT_NONE'", {"tls": True, "tls_verify": "none"}),
        ("heartbeat = 1\n[evdump]\nheartbeat = 2\noutput = 'logfmt'",
         {"heartbeat": 2, "output": "logfmt"}),
        ("[evtop]\nwhatever = 1\n[evcam]\nx = 2", {}),
        ("[celery]\nevents_logfile = '/x.log'\nevents_uid = 1000", {}),  # for evcam
    ],
)  # fmt: skip
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
        "broker": (["redis://top"], str(path)),
    }
    assert read(path, "prod").settings == {
        "heartbeat": (2, f"{path} [profile.prod]"),
        "broker": (["redis://prod"], f"{path} [profile.prod]"),
        "output": ("csv", f"{path} [profile.prod.evdump]"),
    }


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("heartbaet = 1", "heartbaet: there is no such setting", "did you mean heartbeat?"),
        ("[profiles.x]\n", "profiles: there is no such", "did you mean profile?"),
        ("[evdmp]\n", "evdmp: there is no such setting", "did you mean evdump?"),
        ("xyzzy = 1", "xyzzy: there is no such setting", "see evtools.toml(5)"),
        ("[celery]\nfoo = 1", "celery.foo: there is no such", "see evtools.toml(5)"),
        ("[evdump]\nfoo = 1", "evdump.foo: there is no such", "see evtools.toml(5)"),
        ("output = 'json'", "output: belongs in [evdump]", "see evtools.toml(5)"),
        ("tls = 'yes'", "tls: must be true or false", "see evtools.toml(5)"),
        ("heartbeat = true", "heartbeat: must be a text or a number or a whole", ""),
        ("event_exchange = 5", "event_exchange: must be a text", ""),
        ("verbose = 'x'", "verbose: must be a whole number", ""),
        ("accept = 5", "accept: must be a text or a list of texts", ""),
        ("broker_option = 'x'", "broker_option: must be a table", ""),
        ("[celery]\nevents_uid = [1]\n[evdump]\nts = 5", "evdump.ts: must be", ""),
        ("evdump = 1", "evdump: must be a table", ""),
        ("celery = 'x'", "celery: must be a table", ""),
        ("[profile]\nx = 1", "x: must be a table", ""),
        ("heartbeat = 1\n[profile.x]\nfoo = 1", "profile.x.foo: there is no such", ""),
        ("event-exchange = 'a'\nevent_exchange = 'b'", "is also set as event-exchange", ""),
        ("broker = 'a'\nbroker_url = 'b'", "broker: is also set under Celery's", ""),
        ("BROKER_URL = 'a'\nbroker_url = 'b'", "set twice, under its old and", ""),
        ("[broker_use_ssl]\ncolour = 'x'", "broker_use_ssl: unknown key", ""),
        ("heartbeat", "Expected '='", "see evtools.toml(5)"),
        ("keys = 'vi'", "keys: must be a table", ""),
        ("[keys]\npause = [7]", "keys.pause: must be a text or a list of texts", ""),
    ],
)
def test_a_mistake_is_named_with_file_and_key(config, text, words, hint):
    path = config(text)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_a_profile_or_a_file_that_is_not_there_is_named(config, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no \[profile.prd\]") as caught:
        read(config(PROFILES), "prd")
    assert caught.value.hint == "did you mean prod?"
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "is_secret"),
    [
        ("broker = 'redis://:pw@h'", True),
        ("[broker_option.sentinel_kwargs]\npassword = 'x'", True),
        ("broker_url = ['redis://h', 'redis://:pw@h']", True),
        ("[profile.x]\nbroker = 'redis://:pw@h'", True), ("broker = 'redis://h'", False),
        ("heartbeat = 3\nbroker = ''", False), ("broker = ['p=redis://h', 'q=redis://i']", False),
        ("accept = ['json']", False), ("broker = ['p=redis://h', 'q=redis://:pw@i']", True),
    ],
)  # fmt: skip
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


@pytest.mark.parametrize("tool", [evdump, evtop, evcam])
def test_the_manual_describes_every_key_and_no_other(tool):
    shared = {option.name for option in file_options(tool) if option.shared}
    own = {option.name for option in file_options(tool)} - shared
    assert set(described("SETTINGS OF ALL TOOLS")) == shared
    assert set(described(f"SETTINGS OF {tool.name.upper()}")) == own
    assert described(r"CELERY\(aqS NAMES") == list(OPTIONS)


def test_the_example_of_the_manual_is_a_good_file(values, config):
    text = MANUAL.read_text().partition(".EX\n")[2].partition("\n.EE")[0]
    example = text.replace(r"\(dq", '"').replace(r"\-", "-")
    assert values(example, "prod")["broker_option"] == {"master_name": "mymaster"}
    assert values(example, "staging")["event_exchange"] == "appev"
    loaded = read(config(example), tool=evtop)
    assert loaded.settings["theme"].value == "light"
    assert loaded.tables["sort"]["tasks"].value == "-runtime"
    assert Keymap(loaded.keys).find("ctrl-p", ["everywhere"]) == "pause"


# --- evtop's keys -----------------------------------------------------------------


def test_keys_are_a_table_of_commands_and_those_of_a_profile_are_added(config):
    path = config(
        "[keys]\npause = 'P'\nquit = ['Q', 'X']\nmark = []\n[profile.eu.keys]\npause = 'u'\n"
    )
    assert read(path).keys == {"pause": "P", "quit": ["Q", "X"], "mark": []}
    assert read(path).settings == {}
    assert read(path, "eu").keys == {"pause": "u", "quit": ["Q", "X"], "mark": []}


# --- Celery's names ---------------------------------------------------------------

V12 = ssl.TLSVersion.TLSv1_2
FLAGS = [ssl.VERIFY_X509_STRICT, ssl.VERIFY_X509_PARTIAL_CHAIN]


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_name_is_celerys_and_every_option_ours(name):
    daemon, of_redbeat = name.startswith("events_"), name.startswith("redbeat_")
    celerys = {f"events_{option.name}" for option in events.params}
    assert of_redbeat or name in (celerys if daemon else DEFAULTS)
    ours = evcam.params if daemon else evtop.params if of_redbeat else evdump.params
    assert OPTIONS[name] in {option.name for option in ours}


def test_settings_become_options():
    # fmt: off
    assert options_from({
        "broker_url": "redis://w", "broker_read_url": ["redis://a", "redis://b"],
        "broker_transport_options": {"master_name": "m"}, "broker_connection_timeout": 2,
        "broker_heartbeat": None, "event_queue_ttl": None, "event_queue_expires": 3.0,
        "event_queue_exclusive": False,
    }) == {
        "broker": ["redis://a;redis://b"], "broker_option": {"master_name": "m"},
        "connect_timeout": 2, "event_queue_ttl": "none", "event_queue_expires": 3.0,
        "event_queue_exclusive": False,
    }
    # fmt: on


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (False, {}),
        (None, {}),
        (True, {"tls": True}),
        ({"ca_certs": "ca", "certfile": "c", "keyfile": None, "cert_reqs": None},
         {"tls": True, "tls_ca": "ca", "tls_cert": "c", "tls_verify": "none"}),
        ({"ssl_ca_certs": "ca", "ssl_cert_reqs": ssl.CERT_REQUIRED},
         {"tls": True, "tls_ca": "ca", "tls_verify": "required"}),
        ({"ssl_cert_reqs": "CERT_OPTIONAL"}, {"tls": True, "tls_verify": "optional"}),
        ({"ssl_check_hostname": False, "server_hostname": "h"},
         {"tls": True, "tls_check_hostname": False, "tls_server_name": "h"}),
        ({"ssl_version": ssl.PROTOCOL_TLS_CLIENT, "server_side": False,
          "ssl_validate_ocsp": False, "ssl_password": None},
         {"tls": True, "tls_more": {"min_version": None, "max_version": None}}),
        ({"ssl_version": "PROTOCOL_TLSv1_2", "ciphers": "HIGH", "ssl_ca_path": "d"},
         {"tls": True, "tls_more": {"min_version": V12, "max_version": V12, "ciphers": "HIGH",
                                    "ca_folder": "d"}}),
        ({"ssl_min_version": ssl.TLSVersion.TLSv1_3, "ssl_include_verify_flags": FLAGS},
         {"tls": True, "tls_more": {"min_version": ssl.TLSVersion.TLSv1_3,
                                    "more_flags": FLAGS[0] | FLAGS[1]}}),
        ({"context": {"cafile": "ca", "check_hostname": False, "purpose": "x"}},
         {"tls": True, "tls_ca": "ca", "tls_check_hostname": False}),
    ],
)  # fmt: skip
def test_tls_settings_of_either_driver_are_understood(value, options):
    assert options_from({"broker_use_ssl": value}) == options


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"colour": "x"}, "unknown key colour"),
        ({"ssl_version": "TLSv9"}, "ssl_version is 'TLSv9'"),
        ({"ssl_validate_ocsp": True}, "cannot check OCSP"),
        ({"cert_reqs": 7}, "cert_reqs is 7"),
        ({"cert_reqs": [2]}, r"cert_reqs is \[2\]"),
        ({"ciphers": ["A", "B"]}, "ciphers must be a text"),
        ({"ssl_password": 7}, "ssl_password must be a text"),
        ({"ssl_include_verify_flags": "STRICT"}, "ssl_include_verify_flags is 'STRICT'"),
    ],
)
def test_what_nothing_can_be_made_of_is_named(setting, words):
    with pytest.raises(BadSetting, match=words):
        options_from({"broker_use_ssl": setting})
    with pytest.raises(BadSetting, match="not a table"):
        options_from({"broker_transport_options": "x"})


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
        ("[evcam]\nfreq = 2\nmaxrate = '1/m'\n", (), "heartbeat = 5\n[evcam]\nfreq = 3\n",
         {"freq": 3, "maxrate": None, "heartbeat": 5}),
        ("[evcam]\nfreq = 2\n", ("-F", "5"), "[evcam]\nfreq = 3\numask = '027'\n", {}),
        ("[evcam]\n", (), "[evcam]\nloglevel = 'debug'\n", {"loglevel": logging.DEBUG}),
        ("[evcam]\nloglevel = 'debug'\n", (), "[evcam]\n", {"loglevel": logging.INFO}),
        ("[alert.a]\nfilter = 'x'\n", (), "[alert.a]\nfilter = 'y'\n", {"alert": None}),
        ("[profile.p.evcam]\nfreq = 2\n", ("--profile", "p"), "[profile.p.evcam]\nfreq = 3\n",
         {"freq": 3}),
    ],
)  # fmt: skip
def test_changes_are_reported_once(reading, config, monkeypatch, before, arguments, after, changes):
    monkeypatch.setenv("EVCAM_UMASK", "022")  # stays, as flags do
    reread = reading(before, *arguments)
    config(after)
    assert reread() == changes
    assert reread() == {}


def test_the_file_is_found_from_any_directory(reading, config, monkeypatch, tmp_path):
    alert = "[alert.a]\nfilter = 'x'\n"
    (tmp_path / "mine.toml").write_text(f"[evcam]\nfreq = 2\n{alert}")
    reread = reading("", "--config", "mine.toml")
    (tmp_path / "mine.toml").write_text(f"[evcam]\nfreq = 3\n{alert}")
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


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("[evtop.columns]\ntask = ['x']", "evtop.columns.task: there is no such view", "tasks?"),
        ("[evtop.columns]\ntasks = 'x'", "evtop.columns.tasks: must be a list of texts", ""),
        ("[evtop.colours]\nfailur = 'red'", "evtop.colours.failur: there is no such", "failure?"),
        ("[evtop.colours]\nfailure = 'redd'", 'evtop.colours.failure: "redd" is neither', ""),
        ("[evtop.colours]\nfailure = 1", "evtop.colours.failure: must be a text", ""),
        ("[evtop]\ncolours = 'red'", "evtop.colours: must be a table", ""),
        ("[profile.x.evtop.sort]\ntasks = []", "profile.x.evtop.sort.tasks: must be a text", ""),
    ],
)
def test_a_mistake_in_a_table_of_evtop_is_named_with_file_and_key(config, text, words, hint):
    path = config(text)
    with pytest.raises(ConfigError) as caught:
        read(path, tool=evtop)
    assert caught.value.message.startswith(f"{path}: {words}")
    assert hint in caught.value.hint


def test_programs_and_alerts_are_read_and_a_mistake_in_one_is_named(config):
    text = '[command.a]\nrun = ["ls"]\n[profile.x.command.a]\nrun = ["cat", "{uuid}"]\n'
    text += '[alert.a]\nfilter = "x"\n[profile.x.alert.b]\nfilter = "y"\n'
    path = config(text)
    assert read(path, tool=evtop).tables["command"]["a"].value.run == ("ls",)
    tables = read(path, "x", tool=evtop).tables
    assert tables["command"]["a"].value.run == ("cat", "{uuid}")
    assert {name: rule.value.filter for name, rule in tables["alert"].items()} == {
        "a": "x", "b": "y",
    }  # fmt: skip
    assert not read(path).tables
    for text, problem in (
        ("[command.a]\n", "command.a.run: must be a list"),
        ("command = 1", "command: must be a table"),
        ("[command]\na = 1", "command.a: must be a table"),
        ("[profile.x.command.a]\nrun = 'ls'", "profile.x.command.a.run: must be a list"),
        ("[profile.x.alert.a]\nfilter = 1", "profile.x.alert.a.filter: must be a text"),
    ):
        path = config(text)
        with pytest.raises(ConfigError) as caught:
            read(path, tool=evtop)
        assert caught.value.message.startswith(f"{path}: {problem}")
    known = {one.name for one in fields(Program)} - {"name", "place"}
    assert set(described("COMMANDS OF EVTOP")) == known
    assert described("ALERTS") == ["filter", "view", "window", "count", "for", "bell", "level",
        "message", "run", "webhook", "headers", "timeout", "group", "first_seen",
        "cooldown"]  # fmt: skip


def test_the_manual_has_all_styles_and_no_others():
    part = MANUAL.read_text().partition(".SS Colours\n")[2].partition("\n.SS ")[0]
    listed = re.findall(r"^\.TP 12\n\.B (\S+)$", part.replace("\\-", "-"), re.MULTILINE)
    assert listed == list(STYLES)


# --- changes to the file ------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "# mine", '[evtop]\ntheme = "dark" # why', '[evtop]  # a\n# b\n[keys]\nopen = "l" # c\n',
    '[evtop]\r\nbroker-stats = true\r\n[evtop."columns"]\r\n tasks = [ # d\r\n "#[", # e\r\n]\r\n',
    'evtop.theme = """\n\\"#"""  # f\nevtop.columns.types = []\n[x]\ny = \'[\'',
    'z = {a = "}#", b = [[1], [\n#g\n2]]}\n[[w]]\n"q#=" = \'\'\'a\n#\'\'\'\'\n[evtop.sort]\n',
    "\ufeff[profile.p.evtop]\ntheme = 'cb'\n[evtop]\ntheme = 'dark'\nsort.types = 'name'\n",
])  # fmt: skip
def test_settings_are_saved_and_everything_else_stays(text, tmp_path):
    path = tmp_path / "evtools.toml"
    path.write_bytes(text.encode())
    path.chmod(0o640)
    before = tomllib.loads(decode_text(path.read_bytes()))
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    assert change_settings(link, SAVED, "p") == str(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert {*tmp_path.iterdir()} == {path, link}
    content = path.read_bytes().decode()
    after = tomllib.loads(decode_text(path.read_bytes()))
    own = after["profile"]["p"]["evtop"] if "profile" in after else after["evtop"]
    assert own["theme"] == "light"
    assert after["evtop"]["columns"]["tasks"] == ["state", "kwargs.tenant"]
    assert after["evtop"]["sort"]["tasks"] == "-name"
    # Nothing else has changed, and no comment or line is lost.
    expected = dict(before)
    expected["evtop"] = after["evtop"]
    if "profile" in before:
        expected["profile"] = after["profile"]
        assert after["evtop"]["theme"] == "dark"
    assert after == expected
    for comment in re.findall(r"# ?[a-z]+", text):
        assert comment in content
    assert content.count("\n") == content.count("\r\n") or "\r" not in text
    assert content.startswith("\ufeff") is text.startswith("\ufeff")
    # Again, nothing changes.
    change_settings(link, SAVED, "p")
    assert path.read_bytes().decode() == content


def test_the_first_settings_saved_are_read_by_evtop(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{tmp_path}/new")
    path = Path(change_settings(None, SAVED))
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = read(None, tool=evtop)
    assert loaded.settings["theme"] == ("light", f"{path} [evtop]")
    assert loaded.tables["columns"]["tasks"].value == ["state", "kwargs.tenant"]
    assert loaded.tables["sort"]["tasks"] == ("-name", f"{path} [evtop.sort]")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("evtop = {theme = 'cb'}  # x\n", "nothing is saved: its settings are written in another"),
        ("[evtop]\ncolumns = 'name'\n", "nothing is saved: its settings are written in another"),
        ("[evtop\n", "nothing is saved: Expected"),
        ("\udcff", "not text in UTF-8"),
    ],
)
def test_where_settings_cannot_be_saved_the_file_is_as_it_was(config, text, problem):
    path = Path(config(""))
    path.write_bytes(content := text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=problem) as caught:
        change_settings(path, SAVED)
    if "another" in problem:
        assert 'evtop.columns.tasks = ["state", "kwargs.tenant"]' in caught.value.hint
    assert path.read_bytes() == content
    assert len([*path.parent.iterdir()]) == 1
    with pytest.raises(ConfigError, match="in plain files only"):
        change_settings(Path("/dev/null"), SAVED)


def test_root_changes_no_settings_that_others_can_write(config, monkeypatch):
    path = Path(config("[evtop]\n"))
    monkeypatch.setattr("evtools.cli.config_command.distrusted", lambda _: path.parent)
    with pytest.raises(ConfigError, match=f"others than root can write {path.parent}"):
        change_settings(path, SAVED)
    assert path.read_text() == "[evtop]\n"
