"""The whole screen, and the status bar above it."""

import re
from collections import Counter
from copy import copy
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from evtools.cli.types import LocalZone
from evtools.state import Quantiles
from evtools.top.screen import LEAST, status_bar
from evtools.top.status import ConnectionStatus, StreamCounters
from evtools.top.ui.widgets import columns, plain
from evtools.transport import Notice
from evtools.transport.recording.reader import RecordingReader
from tools.screen import FakeTerminal


def keys(terminal):
    return terminal.lines()[-1]


# --- the parts ----------------------------------------------------------------------------


def test_every_part_has_its_rows_at_120x32(busy):
    lines = busy.lines()
    assert len(lines) == 32
    assert lines[0].startswith(" evtop  redis://host  LIVE")
    assert lines[1].startswith(" events ")
    assert lines[2].startswith(" workers 1 online")
    assert lines[3].startswith(" 0 Overview [1 Tasks] 2 Types  3 Workers")
    assert lines[3].endswith("window 5m   sort age v   times age")
    assert lines[4].split()[:3] == ["STATE", "TASK", "UUID"]
    assert lines[5].startswith(">RUN")
    assert lines[-2].endswith("3 shown")
    assert lines[-1].startswith(" ? Help  / Filter  Enter Detail")
    busy.command("filter state:fail")
    assert busy.lines()[4].startswith(" filter> state:fail")
    assert busy.lines()[4].endswith("1 of 3 shown")


def test_every_part_has_its_rows_at_80x24(small):
    small.take(small.life.failure("aaaa1111", "proj.charge"))
    lines = small.lines()
    assert len(lines) == 24
    assert lines[0].startswith(" redis://host  LIVE")
    assert lines[2].startswith("0 Overview [1 Tasks] 2 Types 3 Workers")
    assert lines[2].endswith("1/1 5m")
    assert lines[3].startswith(" STATE")
    assert lines[4].startswith(">FAIL")
    small.command("filter state:fail")
    assert small.lines()[-2].startswith(" filter> state:fail")
    assert small.lines()[-2].endswith("1 shown")


def test_a_drill_down_says_where_one_is(busy, small):
    small.take(small.life.failure("aaaa1111", "proj.charge"))
    for one, at in ((busy, 4), (small, -2)):
        one.press("2", "enter")
        assert "Types > proj.charge > Tasks   " in one.lines()[at]
        one.press("q")
        assert " > " not in one.lines()[at]
        # Where there is no room the filter and the counts stay.
        one.press("enter")
        one.command("filter " + "charge " * 9)
        line = one.lines()[at]
        assert line.count("charge") == 9 + (" > " in line)
        assert line.endswith("shown")
        one.command("filter " + "charge " * 40)
        assert re.match(r" filter> charge .* char.*\.\. .*\d shown$", one.lines()[at])


@pytest.mark.parametrize("keys", [("enter",), ("enter", "f")])
def test_the_bars_of_a_detail_fit_whatever_the_size_becomes(busy, keys):
    busy.press(*keys, "]", "]", "]")
    for size in ((80, 24), (120, 32), (60, 20), (200, 50)):
        busy.size = size
        (bar,) = [line for line in busy.lines() if re.search("[·█]{5}", line)]
        assert len(bar) == size[0]


def test_a_filter_of_the_name_in_a_row_is_shown_whatever_the_name_is(busy):
    busy.take(busy.life.failure("dddd4444", "proj.\u202eλ\x1b"))
    busy.press("2")
    busy.command("filter λ")
    busy.press("enter")
    assert r"""filter> name="proj.\u202eλ\x1b" """ in busy.text


@pytest.mark.parametrize("rows", [LEAST[1], 19, 20, 27, 28, 40, 119])
@pytest.mark.parametrize("keys", [(), ("enter",), ("f",)])
def test_every_row_of_a_terminal_is_used(busy, rows, keys):
    busy.size = (100, rows)
    busy.press("enter", *keys)
    busy.command("filter state:fail")
    assert len(busy.lines()) == rows
    split = rows >= 28 and "f" not in keys
    assert ("STATE  TASK" in busy.text) is split
    assert busy.session.table_shown is split


def test_layers_take_the_keys_and_prompts_the_last_line_and_the_cursor(busy):
    busy.press("o")
    assert "sort by" in busy.text
    assert "Enter Choose" in keys(busy)
    assert busy.frame().hits == {}
    busy.press("esc", "/")
    busy.write("st")
    assert keys(busy) == "filter> st"
    assert busy.frame().cursor == (10, 31)
    busy.press("tab")
    assert keys(busy) == "filter> sta"
    assert "started:  state:" in busy.lines()[-2]
    busy.press("esc")
    busy.command("view workers")
    busy.press("S")
    column, row = busy.frame().cursor
    assert busy.lines()[row][:column].endswith("to confirm: ")


@pytest.mark.parametrize("rows", [5, 12, 19, 20, 24, 27, 28, 40, 100])
@pytest.mark.parametrize("cols", [20, 49, 50, 79, 80, 100, 139, 140, 300])
def test_every_size_can_be_drawn(busy, cols, rows):
    for setting in ((), ("enter",), ("f",), ("?",), ("esc", "o"), ("esc", "/")):
        busy.size = (cols, rows)
        busy.press(*setting)
        assert len(busy.lines()) <= rows


def test_wide_and_escaped_names_break_no_column(terminal):
    names = ("タスク.決済", "a\x1b[31mred", "🎉party", "e\u0301x", "a\u202eb", "x" * 300)
    for number, name in enumerate(names):
        terminal.take(terminal.life.success(f"id{number}", name))
    terminal.session.table.narrow("name", "a\x1bb", exclude=True)
    for size in ((120, 32), (80, 24), (52, 13)):
        terminal.size = size
        assert "\x1b" not in terminal.text
        terminal.press("enter", "tab", "q")


# --- messages and keys --------------------------------------------------------------------


def test_a_message_stands_above_the_keys_and_a_long_one_in_their_place(small):
    small.session.say("hello\x1b[31m")
    assert small.lines()[-2].startswith(" hello\\x1b[31m")
    assert "Help" in keys(small)
    small.session.say("word " * 30, "error")
    assert small.lines()[-2].startswith(" word")
    assert "word" in keys(small)
    small.tick(5)
    assert "word" in keys(small)
    small.tick(5)
    assert "Help" in keys(small)


def test_an_empty_table_says_why(terminal):
    assert "Nothing has been received so far" in terminal.text
    terminal.take(terminal.life.success("aaaa1111"))
    assert "Nothing has been received so far" not in terminal.text
    terminal.command("filter state:fail")
    assert "The filter hides all of 1 task" in terminal.text


def test_the_last_line_has_the_keys_that_do_something_here(busy):
    assert "q Quit" in keys(busy)
    assert "t Tree" in keys(busy)
    assert "e next failure   = keep only this value   ! exclude it" in busy.text
    busy.press("2")
    assert "next failure" not in busy.text
    assert "Enter Tasks" in keys(busy)
    assert "Tree" not in keys(busy)
    busy.press("enter")
    assert "q Back" in keys(busy)
    busy.press("enter", "tab")
    assert "/ Search" in keys(busy)
    assert "Enter" not in keys(busy)
    busy.press("p")
    assert "p Resume" in keys(busy)
    assert "Actions" not in keys(FakeTerminal(read_only=True))


# --- mouse --------------------------------------------------------------------------------


def click(terminal, column, row):
    terminal.frame().hits[row](column, row)


def test_a_press_on_a_tab_shows_the_view(busy):
    for column in (busy.lines()[3].index("3 Workers"), 110):
        click(busy, column, 3)
        assert busy.session.view == "workers"


def test_a_press_on_a_head_sorts_and_another_one_inverts(busy):
    column, table = busy.lines()[4].index("TASK"), busy.session.table
    for where, reverse in ((column, False), (column, True), (0, True)):
        click(busy, where, 4)
        assert (table.sort_key, table.reverse) == ("name", reverse)


def test_a_press_on_a_row_goes_there_and_another_one_opens_it(busy):
    click(busy, 10, 7)
    assert busy.session.table.focus_key == "aaaa1111"
    click(busy, 10, 7)
    assert busy.session.detail.key == "aaaa1111"
    busy.press("q")
    click(busy, 10, 15)
    assert busy.session.table.focus_key == "aaaa1111"


# --- the status bar: figures --------------------------------------------------------------

TIMES = Quantiles(count=2, p50=0.084, p95=1.2, p99=4.8, max=9.0)
TOTALS = SimpleNamespace(ok_rate=1201.0, fail_rate=3.1, retry_rate=0.8, failure_share=0.003)


def replace(facts, **figures):
    made = copy(facts)
    made.__dict__.update(figures)
    return made


@pytest.fixture
def facts(terminal):
    return replace(
        terminal.session.model.header(),
        counters=StreamCounters(lag=0.2),
        event_rate=1284.0,
        flow=tuple(float(second) for second in range(300)),
        peak=2310.0,
        tasks=2,
        weight_bytes=100,
        workers=Counter(online=1),
        active=1,
        totals=TOTALS,
        run=TIMES,
    )


def bar(facts, cols, count, *, ascii_only=False):
    """Return the lines of the status bar."""
    terminal = FakeTerminal(read_only=True)
    session = terminal.session
    session.where = "redis://:**@broker-1:6379/0"
    session.model.header = lambda: facts
    session.model.options.ascii = ascii_only
    session.own_cost = SimpleNamespace(cpu=0.03, bytes=84 << 20)
    lines = status_bar(session, cols, count)
    assert len(lines) == count
    assert all(columns(line) == cols for line in lines)
    return [plain(line).rstrip() for line in lines]


def test_three_lines_have_source_flow_and_cluster(facts):
    where, flow, cluster = bar(facts, 120, 3)
    assert where.startswith(" evtop  redis://:**@broker-1:6379/0  LIVE  lag")
    assert "reconnects 0  gaps 0" in where
    assert where.endswith("RO  every 1s  00:16:40 UTC")
    assert flow.startswith(" events ")
    assert "5m peak" in flow
    assert flow.endswith("tasks 2/100000  self   3% cpu  84M")
    assert cluster.startswith(" workers 1 online  active 1  ok ")
    assert "run p50" in cluster
    assert "p99" in cluster


def test_fewer_lines_have_the_most_important_figures(facts):
    where, figures = bar(facts, 80, 2)
    assert where.startswith(" redis://:**@broker-1:6379/0  LIVE")
    assert where.endswith("RO  00:16:40 UTC")
    assert "wk 1/1" in figures
    assert "p95" in figures
    (line,) = bar(facts, 80, 1)
    assert "LIVE" in line
    assert "fail" in line


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("cols", [20, 50, 64, 80, 100, 300])
def test_whole_pieces_are_left_out_where_there_is_no_room(facts, cols, count):
    lines = bar(facts, cols, count)
    assert "LIVE" in lines[0]
    for piece in ("RO", "00:16:40 UTC", "every 1s"):
        assert piece in lines[0] or piece.split()[0] not in lines[0]


@pytest.mark.parametrize(
    ("changes", "cols", "count", "row", "text"),
    [
        ({"counters": StreamCounters(reconnects=2, gaps=3, dropped=40), "missed": 7}, 160, 3, 0,
         "reconnects 2  gaps 3  dropped 40  missed 7"),
        ({"counters": StreamCounters(gaps=3)}, 120, 2, 0, "gaps 3"),
        # The memory is shown by the bound that is met first.
        ({"evicted": 1234, "weight_bytes": 200, "max_bytes": 256}, 120, 3, 1,
         "tasks 2 (200B/256B) forgot 1.2k"),
        ({"workers": Counter(online=1, late=2, gone=1)}, 120, 3, 2,
         " workers 1 online 2 late 1 gone"),
        ({"workers": Counter(online=1, silent=2)}, 120, 3, 2,
         " workers 1 online 2 silent  active 1+ "),
        ({"workers": Counter(online=1, silent=2)}, 80, 2, 1, "wk 1/3 2 silent  run 1+"),
    ],
)  # fmt: skip
def test_losses_limits_and_workers_are_counted(facts, changes, cols, count, row, text):
    assert "gaps" not in bar(facts, 80, 2)[0]
    assert text in bar(replace(facts, **changes), cols, count)[row]


def test_unknown_figures_are_not_made_up_and_all_characters_may_be_shown(facts):
    totals = SimpleNamespace(ok_rate=0.0, fail_rate=0.0, retry_rate=0.0, failure_share=None)
    unknown = replace(facts, counters=StreamCounters(), totals=totals)
    lines = bar(unknown, 120, 3, ascii_only=True)
    for line, figure in zip(lines, ("lag", "forgot", "%"), strict=True):
        assert figure not in line
        assert line.isascii()


# --- the status bar: source and connection ------------------------------------------------


def first(terminal):
    return terminal.lines()[0]


def test_a_pause_a_long_silence_and_a_first_attempt_are_not_called_live(terminal):
    terminal.take(terminal.life.beat())
    assert ("live", "LIVE") in terminal.frame().lines[0]
    terminal.clock.now += 31
    assert ("paused", "STALE") in terminal.frame().lines[0]
    terminal.press("p")
    assert ("paused", "PAUSED") in terminal.frame().lines[0]
    terminal.press("p")
    terminal.session.model.clusters[""].connection = ConnectionStatus(terminal.clock)
    assert "  CONNECTING  " in first(terminal)


@pytest.mark.parametrize(("size", "row"), [((120, 32), 1), ((80, 24), 1), ((80, 12), 0)])
def test_a_lost_connection_has_a_banner_and_dims_the_rows(busy, size, row):
    busy.size = size
    busy.connection.apply(Notice("lost", "reset\x1b"))
    assert " RECONNECTING: reset\\x1b (Q quits)" in busy.lines()[row]
    busy.connection.apply(Notice("retry", "refused; trying again"))
    busy.clock.now += 12
    frame = busy.frame()
    assert [style for style, _ in frame.lines[row]] == ["banner"]
    assert plain(frame.lines[row]).startswith(" RECONNECTING  attempt 1: refused; trying again")
    assert plain(frame.lines[row]).endswith("data as of 00:16:41, 12s old ")
    assert "stale" in {line[0][0] for line in frame.lines if line}
    busy.connection.apply(Notice("lost", "x" * 500))
    assert busy.lines()[row].endswith("data as of 00:16:41, 12s old")
    busy.connection.apply(Notice("restored", "redis://host"))
    assert "RECONNECTING" not in busy.text


@pytest.mark.parametrize(
    ("error", "left"), [(None, " ENDED "), (ValueError("refused"), " ENDED  refused ")]
)
def test_an_end_has_a_banner_too(terminal, error, left):
    terminal.connection.end(str(error or ""))
    assert terminal.lines()[1].startswith(left)
    assert "  ENDED  " in first(terminal)


def test_modes_that_must_not_be_forgotten_have_badges():
    terminal = FakeTerminal(read_only=True)
    terminal.session.model.options.mouse = True
    terminal.session.feed.recording = recording = SimpleNamespace(events=7, error="")
    assert "  REC 7  MOUSE  RO  every 1s" in first(terminal)
    recording.error = "disk full"
    assert "  REC FAILED  " in first(terminal)
    assert "  RW  " in first(FakeTerminal())


def test_a_replay_has_its_speed_its_time_and_its_end(tmp_path):
    path = tmp_path / "tape.jsonl"
    path.write_text('{"type": "worker-online", "local_received": 500.0}\n')
    tape = RecordingReader(str(path), clock=FakeTerminal().clock, speed=1.0)
    terminal = FakeTerminal(source=tape)
    assert ("live", "REPLAY") in terminal.frame().lines[0]
    tape.speed = 10.0
    assert "  REPLAY 10x  " in first(terminal)
    tape.paused = True
    assert "  REPLAY PAUSED  " in first(terminal)
    tape.paused = False
    terminal.session.model.take(next(tape.events(0)))
    terminal.session.model.refresh("tasks", terminal.clock.now)
    assert first(terminal).endswith("00:08:20 UTC")
    list(tape.events(0))
    terminal.connection.end("")
    assert "  REPLAY ENDED  " in first(terminal)
    assert "banner" not in {style for style, _ in terminal.frame().lines[1]}
    tape.close()


def test_the_zone_of_this_machine_has_its_name(terminal):
    terminal.session.model.options.zone = LocalZone()
    name = datetime.fromtimestamp(1000.0, UTC).astimezone().tzname()
    assert first(terminal).endswith(f" {name}")
    terminal.clock.now = 1e30  # no calendar has it
    assert first(terminal).endswith("  -")
