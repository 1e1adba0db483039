"""What the documents list, compared with the code that it describes."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import signal
import tomllib

import pytest
from celery.worker.control import Panel

import check_docs
from evtools import __version__, errors
from evtools.cam import app as cam
from evtools.cam import daemon
from evtools.cam.loader import Loaded
from evtools.cam.options import BUILT_IN, COMMANDS
from evtools.cli import options
from evtools.cli.cam import evcam as evcam_command
from evtools.cli.dump import evdump as evdump_command
from evtools.cli.main import EXIT_CODES
from evtools.cli.tools import TOOLS
from evtools.cli.top import evtop as evtop_command
from evtools.clock import SystemClock
from evtools.dump import app as dump
from evtools.dump.formats import CSV_COLUMNS, FORMATS
from evtools.dump.options import OUTPUTS, TIMESTAMPS, DumpOptions
from evtools.top import check
from evtools.top import options as top_options
from evtools.top.control import ACTIONS
from evtools.top.survey import PAGE_COMMANDS
from evtools.top.views.worker import SECTIONS
from evtools.wire import GAP, Joiner, envelope
from tools.command import ROOT
from tools.gaps import gap
from tools.typed import event_of

PAGE = check_docs.render(ROOT / "man" / "evdump.1")
TOP_PAGE = check_docs.render(ROOT / "man" / "evtop.1")
CAM_PAGE = check_docs.render(ROOT / "man" / "evcam.1")
PAGES = {
    "evdump": (evdump_command, PAGE),
    "evtop": (evtop_command, TOP_PAGE),
    "evcam": (evcam_command, CAM_PAGE),
}

# Variables of ours and of others, wherever a source file names them.
VARIABLE = re.compile(
    r"\b(?:EVTOOLS|EVDUMP|EVTOP|EVCAM|CELERY|CLICOLOR|FORCE|NO|XDG)_[A-Z_]*[A-Z]\b|\bBROKER_URL\b"
)
# The examples of how an option becomes a variable.
EXAMPLES = {
    "evdump": {
        *("EVTOOLS_READ_ONLY", "EVTOOLS_CONNECT_TIMEOUT"),
        *("EVDUMP_OUTPUT", "EVDUMP_HEARTBEATS"),
    },
    "evtop": {*("EVTOOLS_READ_ONLY", "EVTOOLS_CONNECT_TIMEOUT"), *("EVTOP_THEME", "EVTOP_DELAY")},
    "evcam": {
        *("EVTOOLS_READ_ONLY", "EVTOOLS_CONNECT_TIMEOUT"),
        *("EVCAM_PIDFILE", "EVCAM_MAXRATE"),
    },
}
# What a tool does not look at: evdump has no log.
FOREIGN_VARIABLES = {"evdump": {"XDG_STATE_HOME"}}


def section(name: str, page: str = PAGE) -> str:
    """Return a section, or a subsection, of a rendered page."""
    found = re.search(rf"^( *){re.escape(name)}\n(.*?)(?=^\1\S|\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, name
    return found[2]


def heads(section_: str, pattern: str) -> list[str]:
    """Return what begins lines in a section, where tags of lists stand."""
    return re.findall(rf"^ {{7}}({pattern})(?=\s)", section_, re.MULTILINE)


# --- evdump(1) --------------------------------------------------------------------


def test_the_exit_statuses_are_those_of_the_code():
    described = heads(section("EXIT STATUS"), r"\d+")
    # It has no camera.
    assert [int(status) for status in described] == sorted({*EXIT_CODES} - {70})


def test_every_error_ends_with_a_status_that_is_described():
    kinds = [errors.EvtoolsError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert kind.exit_code in EXIT_CODES


def test_the_formats_are_those_of_the_code():
    text = section("OUTPUT FORMATS").partition("\n   The envelope")[0]
    assert heads(text, "[a-z]+")[-len(OUTPUTS) :] == [*OUTPUTS]


def test_every_style_of_times_is_described():
    text = " ".join(section("OPTIONS").split())
    described = text.partition("--ts STYLE")[2].partition(" -t ")[0]
    assert [style for style in TIMESTAMPS if style not in described] == []


def test_the_columns_of_csv_are_described_in_their_order():
    assert ", ".join(CSV_COLUMNS) in " ".join(section("OUTPUT FORMATS").split())


@pytest.mark.parametrize("tool", PAGES)
def test_every_default_of_the_help_is_in_the_page(tool):
    command, page = PAGES[tool]
    text = re.sub(r"\s+", " ", section("OPTIONS", page))
    for option in command.params:
        shown = getattr(option, "shown", "")
        if shown:
            assert f"[{shown}]" in text, option.name


@pytest.mark.parametrize("tool", PAGES)
def test_the_variables_are_those_of_the_code(tool):
    page, examples = PAGES[tool][1], EXAMPLES[tool]
    used = {"TERM", "TZ", "HOME"}
    for path in (ROOT / "evtools" / "cli").glob("*.py"):
        used.update(VARIABLE.findall(strings_in(path)))
    used -= FOREIGN_VARIABLES.get(tool, set())
    described = set(VARIABLE.findall(section("ENVIRONMENT", page)))
    described |= {name for name in ("TERM", "TZ", "HOME") if name in page}
    described -= examples | {"EVTOOLS_OPTION", f"{tool.upper()}_OPTION"}
    # --app's variable is asked for by hand, as the other two of the settings are.
    assert described == used - examples


def strings_in(path):
    """Return the strings of a module, except its texts for people."""
    nodes = ast.walk(ast.parse(path.read_text()))
    values = (node.value for node in nodes if isinstance(node, ast.Constant))
    return " ".join(text for text in values if VARIABLE.fullmatch(str(text)))


@pytest.mark.parametrize("tool", PAGES)
def test_the_variables_of_the_broker_are_in_their_order(tool):
    assert ", ".join(options.BROKER_VARIABLES) in " ".join(PAGES[tool][1].split())


@pytest.mark.parametrize("tool", PAGES)
def test_the_variables_shown_as_examples_set_options(tool):
    names = {
        name
        for option in PAGES[tool][0].params
        for name in [getattr(option, "envvar", None)]
        if isinstance(name, str)
    }
    assert EXAMPLES[tool] <= names


def lines_of_json(heading: str) -> dict:
    """Return the object that stands, broken into lines, at the head of a section."""
    text = section(heading)
    shown = text[text.index("{") : text.index("}\n") + 1]
    return json.loads("".join(line.strip() for line in shown.splitlines()))


def test_the_envelope_shown_has_the_order_of_the_code():
    shown = lines_of_json("The envelope")
    event = {
        name: value
        for name, value in shown.items()
        if name not in {"v", "ts", "lag", "joined", *shown["joined"]}
    }
    joined = {name: shown[name] for name in shown["joined"]}
    written = envelope(event, joined)
    assert [*written] == [*shown]
    assert written == shown


def test_the_fields_that_are_joined_are_described():
    joiner = Joiner()
    names = ("name", "args", "kwargs", "root_id", "parent_id", "retries", "eta")
    names += ("expires", "queue", "exchange", "routing_key")
    for kind in ("task-sent", "task-received", "task-started"):
        fields = dict.fromkeys(names, "x") if kind == "task-sent" else {}
        event = {"type": kind, "uuid": "1", "timestamp": 1.0, **fields}
        joiner.join([event_of(event)])
    record = event_of({"type": "task-succeeded", "uuid": "1"})
    joiner.join([record])
    described = " ".join(section("The envelope").split())
    assert set(record.joined) == {*names, "sent", "received", "started"}
    assert ", ".join(names[:-1]) + f" and {names[-1]}" in described


def test_the_gap_record_shown_is_one_that_the_code_makes():
    shown = lines_of_json("Gap records")
    event = gap("reconnect", shown["from"], shown["to"], error=shown["error"])
    assert shown == envelope(event)
    assert shown["type"] == GAP


def test_every_reason_of_a_gap_is_described():
    used = set()
    for path in (ROOT / "evtools").glob("**/*.py"):
        used.update(re.findall(r"\bgap\(\s*\"(\w+)\"", path.read_text()))
    assert used
    assert used <= set(heads(section("Gap records"), "[a-z]+"))


def test_the_templates_shown_can_be_read():
    pieces = heads(section("Templates"), r"\{[a-z]\S*\}")
    assert len(pieces) > 5
    options_ = DumpOptions(template=" ".join(pieces))
    line = FORMATS["template"](options_).format(event_of({"type": "task-odd"}))
    assert line.endswith(b"\n")


def test_the_signals_are_those_of_the_code():
    signals = dump.Signals(lambda: None, SystemClock(), reopen_on_hangup=True)
    handled = {signal.Signals(number).name for number in signals.handlers}
    described = set(re.findall(r"\bSIG[A-Z1-9]+\b", section("SIGNALS")))
    assert handled <= described
    assert described <= handled | {"SIGCONT", "SIGINFO"}


# --- evtop(1) ---------------------------------------------------------------------


def test_the_exit_statuses_of_evtop_are_those_of_the_code():
    described = heads(section("EXIT STATUS", TOP_PAGE), r"\d+")
    # It has no --count; the levels of --check are Nagios's.
    real = {*EXIT_CODES, *check.STATUSES.values()} - {124, 70}
    assert [int(status) for status in described] == sorted(real)


def test_every_level_of_a_check_is_described():
    assert set(heads(section("CHECK", TOP_PAGE), "[A-Z]{2,}")) == {*check.STATUSES}


def test_every_view_and_format_of_evtop_is_described():
    assert {*top_options.VIEWS} <= {*heads(section("DESCRIPTION", TOP_PAGE), "[a-z]+")}
    assert {*top_options.OUTPUTS} <= {*heads(section("BATCH MODE", TOP_PAGE), "[a-z]+")}


def test_every_action_is_described():
    text = " ".join(section("ACTIONS", TOP_PAGE).split()).lower()
    for action in ACTIONS:
        for word in action.title.lower().split():
            assert word in text, action.title


def test_every_command_of_celery_is_in_evtop_or_it_says_why_not():
    text = section("COMMANDS OF CELERY", TOP_PAGE)
    rows = dict(re.findall(r"^ {7}([a-z_]+) {2,}(.*(?:\n {35}.*)*)", text, re.MULTILINE))
    assert {*rows} == {*Panel.meta}
    for action in ACTIONS:
        assert not action.command or f"a {action.key} " in rows[action.command], action.name
    for title, commands in SECTIONS.items():
        assert [one for one in commands if f"page of a worker, {title}" not in rows[one]] == []
    asked = {*PAGE_COMMANDS, *(action.command for action in ACTIONS)}
    assert not [name for name in asked if "not here" in rows.get(name, "")]


# --- evcam(1) ---------------------------------------------------------------------


def test_every_tool_is_described():
    page = check_docs.render(ROOT / "man" / "evtools.1")
    described = heads(section("DESCRIPTION", page), r"\w+")
    assert {*TOOLS, "help"} <= {*described}


def test_the_exit_statuses_of_evcam_are_those_of_the_code():
    described = heads(section("EXIT STATUS", CAM_PAGE), r"\d+")
    # It has no --count; 3 and 4 are answers of commands, as LSB has them.
    real = {*EXIT_CODES, daemon.NOT_RUNNING, daemon.UNKNOWN} - {124}
    assert [int(status) for status in described] == sorted(real)


def test_every_command_is_described():
    assert heads(section("COMMANDS", CAM_PAGE), "[a-z]+") == [*COMMANDS]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_of_a_camera_is_described(name):
    module, _, attribute = BUILT_IN[name].where.partition(":")
    camera = getattr(importlib.import_module(module), attribute)
    # One of many options has a page of its own.
    own = ROOT / "man" / f"evcam-{name}.7"
    page, head = (own, "SH OPTIONS") if own.exists() else (ROOT / "man" / "evcam.1", f"SS {name}")
    found = re.search(rf"\n\.{head}\n(.*?)\n\.S[SH] ", page.read_text(), re.DOTALL)
    # What follows the options, such as the metrics, is in paragraphs of its own.
    options = found[1].partition("\n.PP\n")[0]
    described = re.findall(r"^\.T[PQ]\n\.B (\w+)$", options, re.MULTILINE)
    assert set(described) == set(Loaded(name, camera).known)
    assert BUILT_IN[name].value in described


def test_the_signals_of_evcam_are_those_of_the_code():
    described = set(re.findall(r"\bSIG[A-Z1-9]+\b", section("SIGNALS", CAM_PAGE)))
    signals = cam.Signals(SystemClock())
    assert {signal.Signals(number).name for number in signals.handlers} == described


def test_the_unit_uses_options_that_there_are():
    text = (ROOT / "packaging" / "evcam.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, *words = shlex.split(start.replace("%d", "/run/credentials"))
    assert program.endswith("/evcam")
    assert check_docs.refusal(evcam_command, words) == ""


# --- The others ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_the_files_that_a_document_names_exist(name):
    text = (ROOT / name).read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    # What begins with a slash is an address of evcam, or a regular expression.
    code = re.findall(r"`([\w.*][\w/.*]*/[\w/.*]*)`", text.partition("## Files")[0])
    for path in {*links, *code}:
        assert list(ROOT.glob(path)) or list(ROOT.glob(f"evtools/{path}")), path


def test_what_a_walk_through_names_is_where_it_says():
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("## Files")[0]
    named = re.findall(r"`(\w+)`s? (?:in|of) `([\w/]+\.py)`", text)
    assert len(named) > 10
    for name, path in named:
        found = ROOT / path if (ROOT / path).exists() else ROOT / "evtools" / path
        assert re.search(rf"\b{name}\b", found.read_text()), (name, path)


def test_the_threads_are_those_of_the_code():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    described = text.partition("## Threads")[2].partition("\n## ")[0]
    named = r'name ?= ?"(evtools-\w+)"'
    sources = [path.read_text() for path in (ROOT / "evtools").glob("**/*.py")]
    started = {name for source in sources for name in re.findall(named, source)}
    assert set(re.findall(r"`(evtools-\w+)`", described)) == started


def test_the_targets_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    described = re.findall(
        r"^\| `make (\w+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    assert sorted(described) == sorted(targets | {"help"})


def test_the_layers_drawn_are_those_that_are_enforced():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item["name"] == "Layers")
    drawn = re.search(
        r"## Layers\n+```text\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL
    )
    assert [re.split(r"\s{2,}", line)[0] for line in drawn[1].splitlines()] == layers


def test_a_change_has_its_place_in_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    # What is not released yet comes first, where there is any.
    assert "## [Unreleased]" not in text or text.index("## [Unreleased]") == text.index("## [")
    dated = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    assert dated[0] == __version__
    parts = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    known = {"evtop", "evdump", "evcam", "evtools", "Library", "Installation", "Security"}
    known |= {"Brokers, filters and settings of all tools", "Added"}  # so in 0.1.0
    assert {part for part in parts if not part.startswith("Upgrading from ")} <= known
