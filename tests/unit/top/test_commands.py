"""Keys and commands, as a user sees what they do."""

import base64
import contextlib
import json
import math

import pytest

from evtools.errors import ConfigError, FilterError, UsageError
from evtools.filters import compile_filter
from evtools.top.commands import Session
from evtools.top.keys import BINDINGS
from evtools.top.model import Model
from evtools.top.options import VIEWS, Arrangement, SettingsFile, TopOptions
from evtools.top.status import OwnCost
from evtools.top.ui.terminal import COPY_BYTES_MAX
from evtools.top.ui.widgets import Choice, Editor, Menu, Prompt, closed, plain
from evtools.transport.recording.database import DatabaseReader
from evtools.transport.recording.reader import RecordingReader
from evtools.wire import encode_line
from tools.clock import FakeClock
from tools.ledgers import Evcam
from tools.life import Life
from tools.screen import FakeTerminal
from tools.told import told


@pytest.fixture
def terminal(crowd):
    return crowd


@pytest.fixture
def session(terminal):
    return terminal.session


@pytest.fixture
def table(session):
    return session.table


def popup(terminal, rows=60):
    """Return the lines of the box that is open."""
    return [plain(line) for line in terminal.session.layer.box(96, rows - 2).lines]


def names(table):
    return [slot.column.name for slot in table.slots]


# --- every key and every command ----------------------------------------------------------

#: They end the session or stop the process, which other tests are about.
ENDING = ("back", "quit", "suspend")
_MODAL = ("menus", "prompts")
SIZES = ((80, 24), (120, 32), (50, 12))
BEFOREHAND = ((), ("p",), ("enter", "tab"), ("space", "t"))
#: Every two of view, size and the keys before come together once or more.
STAGES = [
    (view, SIZES[(number + at) % len(SIZES)], beforehand)
    for number, view in enumerate(VIEWS)
    for at, beforehand in enumerate(BEFOREHAND)
]


def cluster(size):
    """Return a terminal that shows workers and tasks of all kinds."""
    terminal = FakeTerminal(size)
    life = terminal.life
    events = [life.beat("w1@host"), life.beat("w2@host", ahead=29.0)]
    for number in range(40):
        kind = life.success if number % 5 else life.failure
        events += kind(f"id{number:02}", f"proj.task{number % 3}")
    events.append(life.received("child", root_id="id01", parent_id="id01"))
    terminal.take([*events, life.started("child")])
    return terminal


@pytest.mark.parametrize(("view", "size", "beforehand"), STAGES)
def test_every_key_can_be_pressed_in_every_view(tmp_path, view, size, beforehand):
    with contextlib.chdir(tmp_path):
        terminal = cluster(size)
        for binding in BINDINGS:
            if binding.context in _MODAL or binding.command in ENDING:
                continue
            for key in binding.keys:
                terminal.session.recover()
                terminal.session.show(view)
                terminal.press(*beforehand, key)
                terminal.host.ring()
                assert terminal.text
                # What was opened is used: its first choice, or some typed text.
                if terminal.session.layer is not None:
                    terminal.press("x", "down", "tab", "up", "enter")
                    assert terminal.text
                terminal.tick()


def test_every_command_can_be_carried_out_in_every_view(busy):
    """Whatever is typed, it ends in a message at the worst."""
    bound = {one.command.partition(" ")[0] for one in BINDINGS if one.context not in _MODAL}
    assert bound <= Session.commands.keys()
    skipped = {"quit", "record", "report"}
    for view in VIEWS:
        for name in sorted(Session.commands.keys() - skipped):
            busy.session.recover()
            busy.command(f"view {view}")
            busy.command(name if name != "export" else "export nothing")
            assert busy.lines()


_RETRIES = "filter state:retry"  # there are none
_DETAIL = "there is no detail to read (Enter opens it)"
_REPLAY = "only in a replay (evtop -r FILE replays a recording)"


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        (["sotr name"], "there is no command sotr (did you mean sort?)"),
        (["zzzz"], "there is no command zzzz (Tab after : shows them all)"),
        (["view nowhere"], "there is no view nowhere (there are overview, tasks, types, workers"),
        (["window 7m"], 'invalid window "7m" (there are 1m, 5m, 15m'),
        (["theme neon"], 'invalid theme "neon" (there are dark, light'),
        (["time x"], 'invalid time "x" (there are age, local'),
        (["refresh soon"], 'invalid duration "soon"'),
        (["set colour red"], "there is no option colour (there are theme, refresh"),
        (["sort weight"], "the view tasks has no column 'weight' (it has state, name"),
        (["columns name,weight"], "the view tasks has no column 'weight' (it has state, name"),
        (["view types", "columns kwargs.a"], "the view types has no column 'kwargs.a'"),
        (["filter save bad"], "there is no filter to save"),
        (
            ["filter statte:fail"],
            'bad filter at column 1: unknown field "statte" (did you mean "state"?',
        ),
        (["filter eta>14:30"], "eta: unknown for 100% of tasks"),
        ([_RETRIES, "keep"], "this row has no value to filter by"),
        *(([_RETRIES, do], "there is no row to copy") for do in ("copy", "copy-row")),
        ([_RETRIES, "detail"], "there is no row to look at"),
        *(([do], _DETAIL) for do in ("search x", "search-next", "wrap", "full", "section-next")),
        (["view workers", "tree"], "only in the view of tasks (1 shows it)"),
        (["view types", "next-failure"], "only in the views of tasks and events (1 shows the"),
        (["step-back"], "only a paused display can be stepped (p pauses it)"),
        *(([do], _REPLAY) for do in ("seek 14:30", "speed 2")),
        (["export pdf"], "pdf cannot be exported (there are jsonl, csv"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why(terminal, commands, message):
    for line in commands:
        terminal.command(line)
    assert terminal.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "start", "choices"),
    [
        ("", 0, sorted(Session.commands)), ("them", 0, ["theme"]), ("theme l", 6, ["light"]),
        ("view wo", 5, ["workers"]), ("set wi", 4, ["window"]), ("sort st", 5, ["state"]),
        ("refresh 0", 8, ["0.2s", "0.5s"]), ("pause x", 6, []), ("nothing x", 8, []),
    ],
)  # fmt: skip
def test_commands_and_their_arguments_are_completed(session, text, start, choices):
    assert session.complete(text) == (start, choices)


def test_commands_are_typed_after_a_colon_and_remembered(terminal, session):
    terminal.press(":")
    assert terminal.lines()[-1] == ":"
    terminal.write("view wor")
    terminal.press("tab", "enter")
    assert session.view == "workers"
    terminal.press(":", "up")
    assert session.layer.text == "view workers"
    terminal.press("esc", ":", "enter")
    assert session.layer is None
    assert session.history.lines("command") == ["view workers"]
    terminal.press(":")
    terminal.write("sort")
    terminal.press("enter")
    assert "sort by" in terminal.text


# --- keys, layers and messages ------------------------------------------------------------


def test_the_layer_on_top_takes_the_keys_and_its_error_is_a_message(terminal, session):
    def fail():
        raise UsageError("refused")

    session.layers.append(Menu("m", [Choice("x", fail)]))
    session.layers.append(Prompt("> ", lambda _: closed, Editor()))
    terminal.press("q")
    assert session.layer.text == "q"
    terminal.press("enter", "enter")
    assert (session.layers, terminal.message, terminal.host.calls) == ([], "refused", [])


def test_pasted_text_goes_into_prompts_and_nowhere_else(terminal, session):
    session.paste("CyQ")
    assert "pasted into prompts only" in terminal.message
    assert terminal.control.submitted == []
    terminal.press("/")
    session.paste("state: fail\r\x1bQ")
    assert session.layer.text == "state: failQ"


# --- stories: keys, or a command after a colon, and what is seen then ---------------------


def seen(terminal):
    session, table, options = (
        terminal.session,
        terminal.session.table,
        terminal.session.model.options,
    )
    detail = session.detail
    return {
        "message": terminal.message,
        "view": session.view,
        "calls": terminal.host.calls,
        "layer": getattr(session.layer, "text", session.layer),
        "detail": detail and detail.key,
        "section": detail and detail.section,
        "full": not session.table_shown,
        "reading": session.reading,
        "key": table.focus_key,
        "row": table.focus_index,
        "rows": len(table),
        "marks": len(table.marks),
        "filter": table.filter_text,
        "sort": ("-" if table.reverse else "") + table.sort_key,
        "columns": table.chosen,
        "themes": [theme for theme, _, _ in terminal.host.configured],
        **{name: getattr(options, name) for name in ("theme", "window", "time_style", "refresh")},
    }


# fmt: off
STORIES = {
    "a view has a name and perhaps a filter": [
        (":view types name:proj.task1", {"view": "types", "filter": "name:proj.task1"}),
        (":view types /name:task2", {"view": "types", "filter": "name:task2"}),
    ],
    "tab goes through the views": [
        ("tab tab shift-tab", {"view": "types"}),
        ("shift-tab shift-tab shift-tab", {"view": "errors"}),
    ],
    "tab goes between table and detail": [
        ("enter tab", {"reading": True}),
        ("tab", {"reading": False, "view": "tasks"}),
    ],
    "keys open the detail of a row, its result, or the tasks of a type": [
        ("enter", {"detail": "id39"}),
        ("2 i", {"view": "types", "detail": "proj.task2"}),
        ("tab enter", {"view": "types"}),  # the detail is being read
        ("1 r", {"detail": "id39", "section": "Info"}),
        ("2 enter", {"view": "tasks", "filter": 'name="proj.task2"', "detail": None}),
    ],
    "the detail follows the cursor and stays when its row is hidden": [
        ("enter j", {"detail": "id38", "key": "id38"}),
        (":filter state:retry", {"detail": "id38", "key": None}),
    ],
    "q goes back step by step and quits at last": [
        ("2 enter enter", {"view": "tasks", "detail": "id38"}),
        ("q", {"detail": None, "view": "tasks", "calls": []}),
        ("q", {"view": "types", "calls": []}),
        ("q", {"calls": ["end"]}),
    ],
    "a drill-down comes back to the rows it began at": [
        (":filter state:ok,fail", {}),
        ("j 2 j j", {"view": "types", "key": "proj.task1"}),
        ("enter", {"view": "tasks", "row": 0}),
        ("j q", {"view": "types", "key": "proj.task1"}),
        ("1", {"filter": "state:ok,fail", "row": 1}),
    ],
    "a drill-down leaves the other view at its first row": [
        ("2 enter j q 1", {"row": 0, "filter": ""}),
    ],
    "each escape undoes one thing and none quits": [
        (":filter state:ok", {}),
        ("space enter esc", {"detail": None, "marks": 1}),
        ("esc", {"marks": 0, "filter": "state:ok"}),
        ("esc", {"filter": ""}),
        (":wrap", {"message": "there is no detail to read (Enter opens it)"}),
        ("esc esc", {"message": "", "calls": []}),
    ],
    "the text is wrapped or cut": [
        ("enter tab w", {"message": "long lines are cut"}),
        ("w", {"message": "long lines are wrapped"}),
    ],
    "the text is turned and has the whole screen": [
        ("enter", {"section": "Args"}),
        ("]", {"section": "Timeline"}),
        ("[ f", {"section": "Args", "reading": True}),
        ("f12", {"full": True}),
        ("f f12", {"full": False}),
    ],
    "a search without a match says so": [
        ("enter", {}),
        (":search-next", {"message": "nothing to search for yet (/ searches the text)"}),
        (":search nowhere", {"message": "not found: nowhere"}),
        ("n", {"message": "not found: nowhere"}),
    ],
    "a filter can be given at once": [
        (":filter state:fail", {"rows": 8}),
    ],
    "an order can be named": [
        (":sort name", {"sort": "name"}),
        (":sort -name", {"sort": "-name"}),
        (":sort RUN", {"sort": "-runtime"}),
    ],
    "the order goes from column to column and is inverted": [
        ("o 2", {"sort": "name"}),
        (">", {"sort": "uuid"}),
        ("< <", {"sort": "state"}),
        ("I", {"sort": "-state"}),
    ],
    "columns are chosen by name or title": [
        (":columns name, RUN", {"columns": ("name", "runtime")}),
        (":columns auto", {"columns": None}),
    ],
    "a row or the newest is followed": [
        ("j F", {"message": "following this row"}),
        ("F", {"message": "not following"}),
        ("5 k F", {"message": "following the newest"}),
    ],
    "marks are set going down and all taken away": [
        ("space space", {"marks": 2, "row": 2}),
        ("U", {"marks": 0}),
    ],
    "failures are gone to": [
        ("e", {"key": "id35"}),
        ("e E", {"key": "id35"}),
        ("E", {"message": "no failure further up"}),
        ("G e", {"message": "no failure further down"}),
    ],
    "the events of a task are gone to": [
        ("5 O O", {"view": "events"}),
        ("O O", {"message": "no other event of this task in that direction"}),
    ],
    "options are set or go to their next value": [
        (":window", {"window": "15m", "message": "figures of the last 15m"}),
        (":window all", {"window": "all", "message": "all figures"}),
        ("T", {"window": "1m", "message": "figures of the last 1m"}),
        ("z", {"time_style": "local", "message": "times: local"}),
        (":time utc", {"time_style": "utc", "message": "times: utc"}),
        (":time", {"time_style": "age", "message": "times: age"}),
        (":theme mono", {"theme": "mono", "message": "theme mono"}),
        (":set theme cb", {"theme": "cb", "message": "theme cb", "themes": ["mono", "cb"]}),
        (":set refresh=3", {"refresh": 3.0, "message": "refreshed every 3s"}),
        (":refresh", {"refresh": 5.0, "message": "refreshed every 5s"}),
        (":refresh 500ms", {"refresh": 0.5, "message": "refreshed every 0.5s"}),
        (":refresh 0.01", {"refresh": 0.2, "message": "refreshed every 0.2s"}),
    ],
}
# fmt: on


@pytest.mark.parametrize("story", STORIES)
def test_what_is_typed_does_what_it_says(terminal, story):
    for typed, expected in STORIES[story]:
        terminal.session.message = None if typed[:3] != "esc" else terminal.session.message
        if typed.startswith(":"):
            terminal.command(typed[1:])
        else:
            terminal.press(*typed.split())
        found = seen(terminal)
        assert {name: found[name] for name in expected} == expected, typed


# --- views and ways out -------------------------------------------------------------------


def test_each_digit_shows_a_view(terminal, session):
    for number, view in enumerate(VIEWS):
        terminal.press(str(number))
        assert session.view == view
        assert f"[{number} " in terminal.text


def test_what_was_changed_on_the_screen_is_saved(terminal):
    terminal.command("save")
    assert terminal.message == "there is no settings file to save in"
    saved, session = [], terminal.session

    def save(changes, profile):
        saved.append((dict(changes), profile))
        return "/x.toml"

    session.settings_file = SettingsFile(save=save, profile="eu")
    session.model.options.arranged = (Arrangement("/x [evtop.sort]", "types", sort="rate"),)
    session.arrange()
    terminal.command("save")
    assert terminal.message.startswith("nothing was changed that could be saved")
    for line in (
        "columns name,kwargs.tenant", "sort -name", "theme light", "mouse on", "refresh 2s",
        "view workers", "columns worker", "columns auto", "sort skew", "sort status", "save",
    ):  # fmt: skip
        terminal.command(line)
    changes = {
        ("evtop", "theme"): "light", ("evtop", "delay"): "2s", ("evtop", "mouse"): True,
        ("evtop", "columns", "tasks"): ("name", "kwargs.tenant"),
        ("evtop", "sort", "tasks"): "-name",
    }  # fmt: skip
    assert saved == [(changes, "eu")]
    assert terminal.message == (
        "saved in /x.toml: theme, delay, mouse, columns of tasks, sort of tasks"
    )
    # Another time, what has changed since; no columns are those that fit.
    for line in ("view tasks", "columns auto", "save"):
        terminal.command(line)
    assert saved[1:] == [({("evtop", "columns", "tasks"): ()}, "eu")]


def test_each_view_has_the_columns_and_the_order_of_the_settings_file(terminal):
    options, place = terminal.session.model.options, "/x [evtop.columns]"
    options.arranged = (
        Arrangement("/x [evtop.sort]", "types", sort="-rate"),
        Arrangement(place, "types", columns=("name", "cluster", "p95")),
        Arrangement(place, "tasks", columns=("state", "kwargs.tenant")),
    )
    terminal.session.arrange()
    assert terminal.lines()[4].split() == ["STATE", "TENANT"]
    terminal.press("2")
    # Here are no clusters with names.
    assert terminal.lines()[4].split() == ["TASK", "p95"]
    assert terminal.session.table.order == "-rate"
    options.arranged = (Arrangement(place, "events", columns=("typ",)),)
    with pytest.raises(ConfigError, match=r"/x \[evtop.columns\]: the view events has no column"):
        terminal.session.arrange()


def test_a_profile_is_switched_to_by_its_name_or_from_a_menu(terminal):
    terminal.command("ctx eu")
    assert terminal.message.startswith("there are no profiles to switch among")

    def opened(name):
        if name == "bad":
            raise UsageError("it has no broker")
        return TopOptions(columns=("xx",) if name == "odd" else ()), name

    session = terminal.session
    session.settings_file = SettingsFile(("eu", "us", "bad", "odd"), opened)
    for line, message in (
        ("ctx xx", "there is no profile xx (there are eu, us, bad, odd)"),
        ("ctx bad", "it has no broker"),
        ("ctx odd", "--columns: the view tasks has no column 'xx'"),
    ):
        terminal.command(line)
        assert terminal.message.startswith(message)
    assert session.following is None
    terminal.press(":")
    terminal.write("ctx e")
    terminal.press("tab", "enter")
    assert (session.following.profile, session.following.clusters) == ("eu", "eu")
    assert terminal.host.calls[-1] == "end"
    # What was watched for long is not given up without a question.
    session.following, session.asks_after = None, 0.0
    terminal.take(terminal.life.beat("w1@host"))
    terminal.command("ctx")
    terminal.press("j", "enter")
    assert session.following is None
    assert "switch to us?" in terminal.text
    terminal.press("y")
    assert session.following.profile == "us"


def test_another_model_keeps_how_things_are_shown(terminal, session):
    terminal.command("filter state:fail,ok")
    terminal.command("sort -name")
    terminal.command("columns name,state")
    terminal.press("j")
    key = session.table.focus_key
    fresh = Model(clock=terminal.clock)
    session.replace(fresh)
    assert session.model is fresh
    terminal.take(*(terminal.life.success(f"id{number:02}") for number in range(40)))
    shown = {"filter": "state:fail,ok", "sort": "-name", "columns": ("name", "state"), "key": key}
    assert seen(terminal).items() >= shown.items()


@pytest.fixture
def watched_long():
    """Return a terminal on which evtop has watched for seven minutes."""
    made = FakeTerminal(asks_after=300.0)
    made.take(made.life.success("t"))
    made.clock.now += 420
    return made


@pytest.mark.parametrize(
    ("keys", "leaves"),
    [
        *(([key], True) for key in ("q", "Q", "y", "enter", "ctrl-c")),
        (["n"], False), (["esc"], False), (["left", "enter"], False),
    ],
)  # fmt: skip
def test_data_of_a_long_time_goes_with_a_second_key_only(watched_long, keys, leaves):
    watched_long.press("q")
    assert "evtop has watched for 7m" in watched_long.text
    assert "Its data on 1 task will be lost." in watched_long.text
    assert watched_long.host.calls == []
    watched_long.press(*keys)
    assert watched_long.host.calls == ["end"] * leaves
    assert "quit evtop?" not in watched_long.text or leaves


@pytest.mark.parametrize("leave", ["Q", "ctrl-c", "q", "q!", " quit "])
def test_some_keys_and_commands_leave_at_once(watched_long, leave):
    watched_long.press("2", "enter", "enter")
    if leave[0] in "Qc":
        watched_long.press(leave)
    else:
        watched_long.command(leave)
    assert watched_long.host.calls == ["end"]


@pytest.mark.parametrize(("seconds", "has_events"), [(299, True), (5000, False)])
def test_nothing_is_asked_for_the_first_minutes_or_without_events(seconds, has_events):
    terminal = FakeTerminal(asks_after=300.0)
    terminal.clock.now += seconds
    terminal.take(*[terminal.life.success("t")] * has_events)
    terminal.press("q")
    assert terminal.host.calls == ["end"]


def test_the_help_has_the_keys_of_the_view(terminal, session):
    terminal.press("3", "?")
    assert "WORKERS" in popup(terminal)
    for key in ("esc", "ctrl-c", "enter", "q"):
        terminal.press(key)
        assert session.layer is None
        terminal.press("1", "f1")
    assert "WORKERS" not in popup(terminal)
    lines = popup(terminal, rows=200)
    for binding in BINDINGS:
        shown = any(line.endswith(f"  {binding.help}") for line in lines)
        assert shown or binding.context not in ("lists", "moving")
    terminal.press("e", "q")  # q is a letter once something is typed
    assert "find> eq" in popup(terminal)[0]


def test_messages_are_kept_to_be_read(terminal, session):
    terminal.press("m")
    # Nothing can be chosen here.
    assert terminal.lines()[-1] == " q Close"
    assert "there has been no message yet" in popup(terminal)
    for number in range(120):
        session.say(f"answer {number}\x1b")
        terminal.clock.now += 1
    session.mention("internal error (key)", "error")
    # It waits for its turn on the screen, but is there to be read.
    assert session.message.text.startswith("answer 119")
    terminal.press("enter")
    terminal.command("messages")
    lines, last = popup(terminal), len(session.said)
    assert lines[0] == "00:18:56  error: internal error (key)"
    assert lines[1].endswith(r"answer 119\x1b")
    assert "\x1b" not in "".join(lines)
    terminal.press("G")
    lines = popup(terminal)
    assert (last, lines[-1], lines[-2].split()[2]) == (100, "100/100", "21\\x1b")
    terminal.press("q")
    assert session.layer is None


# --- moving -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "index"),
    [
        (["j"], 1), (["down", "down", "up"], 1), (["k"], 0), (["G"], 39), (["end", "g"], 0),
        (["pgdn"], 23), (["pgdn", "ctrl-b"], 0), (["ctrl-d"], 12), (["G", "ctrl-u"], 27),
    ],
)  # fmt: skip
def test_the_cursor_moves_and_stops_at_the_ends(terminal, table, keys, index):
    terminal.press(*keys)
    assert table.focus_index == index


def test_columns_are_scrolled_and_come_back(terminal, table):
    before = names(table)
    terminal.press("l")
    assert names(table)[2] != before[2]
    terminal.press("h", "h")
    assert names(table) == before


# --- the text of the detail ---------------------------------------------------------------


@pytest.fixture
def pane(terminal, session, table):
    """Return the detail of a failure, with the keys going to it."""
    table.go_to("id00")
    terminal.press("enter", "tab")
    return session.detail


def test_keys_move_the_text_while_it_is_read(terminal, table, pane):
    terminal.press("w")
    for key, text in (("g", "line 0 xxx"), ("j", "line 1 xxx"), ("l", "xxxxxxxxxx")):
        pane.pager.show([f"line {n} " + "x" * 200 for n in range(99)])
        pane.pager.lines(10, 5)
        terminal.session.press(key)
        pane.pager.show([f"line {n} " + "x" * 200 for n in range(99)])
        assert plain(pane.pager.lines(10, 5)[0]) == text
    assert table.focus_key == "id00"


def test_a_text_is_searched_and_the_search_goes_on(terminal, session, pane):
    terminal.press("/")
    assert terminal.lines()[-1] == "search>"
    terminal.write("valueerror")
    terminal.press("enter")
    assert ("match", "ValueError") in [span for line in terminal.frame().lines for span in line]
    terminal.press("n", "N")
    terminal.press("/", "up")
    assert session.layer.text == "valueerror"
    terminal.press("ctrl-u", "enter")
    assert terminal.message == ""


# --- filter -------------------------------------------------------------------------------


def above(terminal):
    return terminal.lines()[-2]


def test_the_table_is_filtered_while_one_types_and_not_for_every_key(terminal, table):
    terminal.press("/")
    terminal.write("state:fail")
    assert table.filter_text == ""
    assert [seconds for seconds, _ in terminal.host.timers] == [0.15]
    terminal.host.ring()
    assert len(table) == 8
    terminal.press("f12", "left")  # no change
    assert terminal.host.timers == []
    terminal.press("ctrl-e", "ctrl-u")
    terminal.write("state:ok")
    terminal.press("enter")  # does not wait
    assert (table.filter_text, terminal.host.timers) == ("state:ok", [])
    assert terminal.session.layer is None


@pytest.mark.parametrize("keys", [["esc"], ["ctrl-c"], ["ctrl-u", "backspace"]])
def test_leaving_the_prompt_restores_the_filter_before(terminal, table, keys):
    terminal.command("filter state:ok")
    terminal.press("/", "ctrl-u")
    terminal.write("state:fail")
    terminal.host.ring()
    assert len(table) == 8
    terminal.press(*keys)
    assert table.filter_text == "state:ok"
    assert terminal.session.layer is None


def test_an_error_keeps_the_last_good_filter_and_is_pointed_at(terminal, table):
    terminal.press("/")
    terminal.write("state:fail")
    terminal.host.ring()
    terminal.write(" AND (")
    terminal.host.ring()
    assert len(table) == 8
    terminal.press("enter")
    assert terminal.session.layer is not None
    mark = above(terminal).index("^")
    assert terminal.lines()[-1][mark - 1 : mark + 1].strip() in ("(", "")
    terminal.press("ctrl-u")
    terminal.host.ring()
    assert "^" not in above(terminal)


def test_an_error_far_out_is_described_without_pointing(terminal):
    terminal.press("/")
    terminal.write("name:" + "x" * 60 + " statte:fail")
    terminal.press("enter")
    assert "^" not in above(terminal)
    assert 'unknown field "statte"' in terminal.text


@pytest.mark.parametrize("typed", ["user_id:42", "time>5", "name startswith(x)"])
def test_advice_is_not_cut_off(terminal, typed):
    terminal.size = (80, 24)
    with pytest.raises(FilterError) as caught:
        compile_filter(typed)
    terminal.press("/")
    terminal.write(typed)
    terminal.press("enter")
    assert f"{caught.value.message} {caught.value.hint}" in " ".join(terminal.text.split())
    terminal.press("esc")
    terminal.command(f"filter {typed}")
    assert f"{caught.value.message} ({caught.value.hint})" in " ".join(terminal.text.split())


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("wor", "worker:"), ("state:ok que", "state:ok queue"), ("-rou", "-routing_key:"),
        ("(kwa", "(kwargs:"), ("state:o", "state:o"),
    ],
)  # fmt: skip
def test_names_of_fields_are_completed(terminal, session, text, completed):
    terminal.press("/")
    terminal.write(text)
    terminal.press("tab")
    assert session.layer.text.startswith(completed)


def test_a_filter_is_saved_used_in_another_one_and_remembered(terminal, session, table):
    terminal.command("filter state:fail OR state:retry")
    terminal.command("filter save bad")
    assert terminal.message == "saved: write @bad in a filter"
    terminal.command("filter @bad name:proj.task0")
    assert table.filter_text == "(state:fail OR state:retry) name:proj.task0"
    terminal.press("/", "ctrl-u")
    terminal.write("@b")
    terminal.press("tab")
    assert session.layer.text == "@bad"
    terminal.press("up", "up")
    assert session.layer.text == "state:fail OR state:retry"
    terminal.press("ctrl-u")
    terminal.write("save both")
    terminal.host.ring()
    before = "(state:fail OR state:retry) name:proj.task0"
    assert table.filter_text == before
    terminal.press("enter")
    assert terminal.message == "saved: write @both in a filter"
    assert (table.filter_text, session.history.saved["both"]) == (before, before)


def test_a_name_without_a_filter_is_an_error(terminal, session):
    with pytest.raises(FilterError) as caught:
        session.execute("filter state:ok @none")
    assert (caught.value.position, caught.value.length) == (9, 5)
    assert ":filter save" in caught.value.hint
    session.history.save("bad", "state:fail")
    terminal.command("filter @none")
    assert terminal.message == "no filter was saved as @none (there are @bad)"


@pytest.mark.parametrize("text", ["worker:w1@host", "worker=@host", '"@none"', "a@b"])
def test_an_at_sign_inside_of_a_value_is_no_saved_filter(terminal, table, text):
    terminal.command(f"filter {text}")
    assert table.filter_text == text


def test_a_value_of_the_row_is_kept_or_excluded(terminal, session, table):
    terminal.press("=")
    assert any("name proj.task0" in line for line in popup(terminal))
    terminal.press("n")
    assert len(table) == 14
    terminal.press("!", "s")
    assert "NOT state" in table.filter_text
    assert session.history.lines("filter")[-1] == table.filter_text


# --- order, columns and rows --------------------------------------------------------------


def test_columns_and_the_order_are_chosen_from_a_menu(terminal, table):
    terminal.press("o")
    assert any("TASK" in line for line in popup(terminal))
    terminal.press("esc")
    before = names(table)
    terminal.press("f2", "c")
    assert any("[x] TASK" in line for line in popup(terminal))
    terminal.press("3")
    assert table.chosen == tuple(name for name in before if name != "uuid")
    terminal.press("3")
    assert "uuid" in table.chosen


@pytest.mark.parametrize(("shut", "opened"), [("-", "+"), ("left", "right"), ("*", "*")])
def test_a_tree_has_nodes_that_close_and_open_and_ways_to_the_parent(terminal, table, shut, opened):
    leaf = terminal.life.success("leaf", "proj.leaf", parent_id="root", root_id="root")
    terminal.take(terminal.life.success("root", "proj.root"), leaf)
    terminal.press("t")
    assert (table.tree, terminal.message) == (True, "tree view on")
    table.go_to("root")
    terminal.press(shut)
    assert "leaf" not in table.keys
    terminal.press(opened, "J")
    assert "no known parent" in terminal.message
    table.go_to("leaf")
    terminal.press("J")
    assert table.focus_key == "root"
    terminal.press("t")
    assert (table.tree, terminal.message) == (False, "tree view off")


def test_a_tree_has_the_whole_family_of_what_a_filter_finds(terminal, table):
    family = {"parent_id": "root", "root_id": "root"}
    leaf = terminal.life.success("leaf", "proj.leaf", **family)
    terminal.take(terminal.life.success("root", "proj.root"), leaf, terminal.life.failure("other"))
    terminal.command("filter name:leaf")
    assert list(table.keys) == ["leaf"]
    terminal.press("t")
    assert list(table.keys) == ["root", "leaf"]
    terminal.press("t")
    assert list(table.keys) == ["leaf"]


# --- display options ----------------------------------------------------------------------


def test_options_change_the_screen_at_once(terminal):
    terminal.command("time utc")
    assert "00:16:5" in terminal.text
    terminal.command("ascii on")
    assert "▁" not in terminal.text
    terminal.command("ascii")
    for message in ("mouse on; hold Shift to select text", "mouse off"):
        terminal.press("M")
        assert terminal.message == message
    shown = [(ascii_only, mouse) for _, ascii_only, mouse in terminal.host.configured]
    assert shown == [(True, False), (False, False), (False, True), (False, False)]


def test_the_menu_of_options_shows_them_and_stays_open(terminal, session):
    terminal.press("f2")
    assert any("theme    dark" in line for line in popup(terminal))
    terminal.press("t", "r", "w", "z", "a", "m")
    lines = "\n".join(popup(terminal))
    shown = ("theme light", "refresh 2s", "window 15m", "times local", "ASCII on", "mouse on")
    for name, _, value in (one.partition(" ") for one in shown):
        assert f"{name:<9}{value}" in lines
    terminal.press("r", "r")
    assert session.model.options.refresh == 0.2
    terminal.press("esc")
    assert session.layer is None


# --- pause and replay ---------------------------------------------------------------------


def test_a_pause_stops_the_picture_and_not_the_intake(terminal, table):
    terminal.press("p")
    assert terminal.message == "paused; events are still collected"
    terminal.take(terminal.life.success("late"))
    assert "late" not in table.keys
    terminal.press("Z")
    assert terminal.message == "live again"
    terminal.tick()
    assert "late" in table.keys


def test_pictures_are_stepped_through(terminal):
    for number in range(3):
        terminal.take(terminal.life.success(f"new{number}"))
        assert f"new{number}" in terminal.text
    terminal.press("p", ",")
    assert "new1" in terminal.text
    assert "new2" not in terminal.text
    assert terminal.message.startswith("as it was at 00:16:")
    terminal.press(".")
    assert "new2" in terminal.text


def test_stepping_shows_the_view_of_the_picture(terminal, session):
    for key in ("1", "1", "2", "2"):
        terminal.press(key)
        terminal.lines()
        terminal.tick()
    terminal.press("p", ",")
    assert session.view == "types"
    terminal.press(",", ",", ",", ",")
    assert session.view == "tasks"
    for _ in range(200):
        terminal.press(",")
    assert terminal.message == "no earlier picture that looks different was kept"


#: When the first event of the recording was received.
START = 1_000_000.1


@pytest.fixture
def tape(tmp_path):
    """Return a recording of two minutes, an event every second."""
    path = tmp_path / "tape.jsonl"
    events = (Life(1_000_000.0 + number).beat(f"w{number}@host") for number in range(120))
    path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
    made = RecordingReader(str(path), clock=FakeTerminal().clock, speed=1.0)
    made.stays = True
    yield made
    made.close()


@pytest.fixture
def replay(tape):
    """Return a terminal on which the recording is played, at its first event."""
    terminal = FakeTerminal(source=tape)
    terminal.take([event.as_dict() for event in next(tape.events(0))])
    return terminal


def test_what_a_database_shows_cannot_be_played(tmp_path):
    evcam = Evcam(tmp_path / "x.db")
    evcam.hear([told("task-sent")])
    evcam.shoot()
    source = DatabaseReader(f"sqlite:{tmp_path / 'x.db'}", clock=FakeClock())
    terminal = FakeTerminal(source=source)
    assert "READING" in terminal.text
    for batch in source.events():
        terminal.take(batch)
    assert "DATABASE" in terminal.text
    for command in ("pause", "step-forward", "step-back", "seek 14:30", "speed 2"):
        terminal.command(command)
        assert terminal.message.startswith("a database cannot be played"), command


def test_a_replay_is_paused_and_stepped_by_a_refresh(replay, tape):
    for paused, message in ((True, "replay paused"), (False, "replay resumed")):
        replay.press("p")
        assert (tape.paused, replay.message) == (paused, message)
    start = tape.position
    replay.press(".")
    assert (tape.paused, tape.position) == (True, start + 1)
    replay.press(",", ",")
    assert tape.position == start - 1


@pytest.mark.parametrize(
    ("command", "position", "speed", "message"),
    [
        ("seek 13:47:30", 1_000_050.0, 1.0, ""),
        ("seek 13:48", 1_000_080.0, 1.0, ""),
        ("seek 1970-01-12T13:47:00", 1_000_020.0, 1.0, ""),
        ("seek 1970-01-12T13:47:00Z", 1_000_020.0, 1.0, ""),
        ("seek +30s", START + 30, 1.0, ""),
        ("seek -1s", START - 1, 1.0, ""),
        ("seek soon", START, 1.0, 'invalid time "soon" (write 14:30'),
        ("seek +", START, 1.0, 'invalid time "+" (write 14:30'),
        ("seek -x", START, 1.0, 'invalid time "-x" (write 14:30'),
        ("seek 25:00", START, 1.0, 'invalid time "25:00"'),
        ("seek 9999-99-99", START, 1.0, 'invalid time "9999-99-99"'),
        ("speed 10x", START, 10.0, "speed 10x"),
        ("speed 0.5", START, 0.5, "speed 0.5"),
        ("speed max", START, math.inf, "speed max"),
        *((f"speed {text}", START, 1.0, f'invalid speed "{text}" (write 1x, 10x or max)')
          for text in ("0", "-1", "nan", "fast", "9999", "")),
    ],
)  # fmt: skip
def test_a_replay_is_wound_to_a_time_and_runs_faster(
    replay, tape, command, position, speed, message
):
    replay.command(command)
    assert replay.message.startswith(message)
    assert bool(replay.message) is bool(message)
    assert (tape.position, tape.speed) == (position, speed)


def test_the_time_is_asked_for(replay, tape):
    replay.press("S")
    assert "14:30" in replay.lines()[-2]
    replay.write("13:48")
    replay.press("enter")
    assert tape.position == 1_000_080.0
    replay.press("S", "up")
    assert replay.session.layer.text == "13:48"
    replay.press("ctrl-u", "enter")
    assert replay.session.layer is None


def test_before_the_first_event_there_is_no_time(tape):
    terminal = FakeTerminal(source=tape)
    terminal.command("seek 14:30")
    assert terminal.message == "nothing has been played yet"
    terminal.press(".")
    assert tape.position is None


# --- copies and files ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Have files written where they are removed again."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copied(terminal):
    sequence = terminal.host.sent[-1]
    return base64.b64decode(sequence.removeprefix("\x1b]52;c;")[:-1]).decode()


@pytest.mark.parametrize(
    ("keys", "text"), [("y", "id39"), ("2c", "proj.task"), ("5y", "id39"), ("6y", "proj.task")]
)
def test_the_id_or_the_name_is_copied(terminal, keys, text):
    terminal.press(*keys)
    assert copied(terminal).startswith(text)
    assert terminal.message == f"copied, if the terminal allows it: {copied(terminal)}"


def test_a_row_is_copied_as_json_into_a_file_if_no_clipboard_takes_it(terminal, table, folder):
    terminal.press("Y")
    assert json.loads(copied(terminal))["uuid"] == "id39"
    terminal.take(terminal.life.received("long", "x" * COPY_BYTES_MAX))
    table.go_to("long")
    terminal.press("Y")
    (file,) = folder.iterdir()
    assert len(terminal.host.sent) == 1
    assert terminal.message == f"too long for a clipboard; it is in {file.name}"
    assert "x" * COPY_BYTES_MAX in file.read_text()


@pytest.mark.parametrize(
    ("key", "ending", "message"),
    [("j", ".jsonl", "40 rows in"), ("c", ".csv", "40 rows in"), ("s", ".txt", "screenshot in")],
)
def test_rows_and_the_screen_without_the_menu_are_exported(terminal, folder, key, ending, message):
    before = terminal.lines()
    terminal.press("x", key)
    (file,) = folder.iterdir()
    assert file.name.endswith(ending)
    assert terminal.message == f"{message} {file.name}"
    lines = file.read_text().splitlines()
    assert lines == before if key == "s" else len(lines) == 40 + (key == "c")


def test_a_recording_is_begun_and_ended(terminal, session, folder):
    terminal.press("x", "r")
    assert session.feed.recording is not None
    assert terminal.message.startswith("recording into evtop-recording-")
    terminal.press("x")
    assert "stop recording" in terminal.text
    terminal.press("r")
    assert session.feed.recording is None
    assert terminal.message.startswith("0 events in evtop-recording-")
    for stop in ("record off", "record"):
        terminal.command("record mine.jsonl")
        assert terminal.message == "recording into mine.jsonl"
        terminal.command(stop)
        assert session.feed.recording is None
    terminal.command("record /nowhere/x.jsonl")
    assert terminal.message.startswith("cannot")


def test_a_recording_takes_the_place_of_a_file_only_if_that_is_confirmed(terminal, session, folder):
    there = folder / "mine.jsonl"
    there.write_text("hours\n")
    terminal.command("record mine.jsonl")
    assert "mine.jsonl has 6B." in terminal.text
    terminal.press("enter")
    assert (session.feed.recording, there.read_text()) == (None, "hours\n")
    terminal.command("record mine.jsonl")
    terminal.press("y")
    assert terminal.message == "recording into mine.jsonl"
    terminal.command("record off")


# --- the cost of evtop itself -------------------------------------------------------------


def test_the_share_of_a_cpu_is_measured_between_two_looks(monkeypatch):
    used = [10.0]
    monkeypatch.setattr("evtools.top.status.time.process_time", lambda: used[0])
    clock = FakeClock()
    cost = OwnCost(clock)
    assert cost.cpu == 0.0
    clock.now += 2
    for more in (0.5, 9):
        used[0] += more
        cost.look()
        assert cost.cpu == 0.25


@pytest.mark.parametrize("content", [None, "", "1 x"])
def test_memory_is_known_where_the_system_does_not_say(monkeypatch, tmp_path, content):
    assert 1 << 20 < OwnCost(FakeClock()).bytes < 1 << 40
    path = tmp_path / "statm"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr("evtools.top.status.Path", lambda _: path)
    most = OwnCost(FakeClock()).bytes
    assert most > 1 << 20
    monkeypatch.setattr("evtools.top.status.sys.platform", "darwin")
    assert OwnCost(FakeClock()).bytes * 1024 >= most
