"""What the empty half of the screen shows: the row under the cursor over time."""

from types import SimpleNamespace

import pytest

from evtools.rows import QueueFacts
from evtools.transport.queues import Depth, Plan
from tools.screen import FakeTerminal
from tools.typed import event_of


@pytest.fixture
def watched():
    """Return a terminal after ten minutes of two types, of which one failed twice a minute."""
    terminal = FakeTerminal((120, 40))
    for minute in range(10):
        for number in range(6):
            life, name = terminal.life, f"{minute}-{number}"
            kind = life.failure if number < 2 else life.success
            terminal.take(kind(f"a{name}", "proj.\x1b[2Jone" if number < 2 else "proj.two"))
            life.now += 10.0 - 0.6
    terminal.tick(0.0)
    return terminal


@pytest.fixture
def slower():
    """Return a terminal after 90 minutes, the last 15 of which a type ran eight times as long."""
    terminal = FakeTerminal((120, 40))
    life = terminal.life
    for minute in range(90):
        for number in range(4):
            seconds = 0.5 if minute < 75 else 4.0
            name = f"{minute}-{number}"
            terminal.take(life.received(name, "proj.a"), life.started(name))
            terminal.take(life.succeeded(name, runtime=seconds))
        life.now = 1000.0 + 60.0 * (minute + 1)
    terminal.tick(0.0)
    return terminal


def panel(terminal):
    """Return the lines below the table."""
    lines = terminal.text.splitlines()
    start = next(
        n for n, line in enumerate(lines) if "completed, failed" in line or "failures  " in line
    )
    return lines[start:-2]


def test_the_row_under_the_cursor_is_drawn_and_followed(watched):
    watched.size = 120, 32
    watched.press("2")
    lines = panel(watched)
    assert r"proj.\x1b[2Jone: completed, failed  15m" in lines[0]
    assert "run p50, p95" in lines[0]
    assert "15m ago" in lines[-1]
    # All of it failed, and what had not begun is blank.
    drawn = "".join(line[8:58] for line in lines[1:-1])
    assert "▒" in drawn
    assert not set(drawn) & set("▁▂▃▄▅▆▇█")
    assert {line[8:20].strip() for line in lines[1:-1]} == {""}
    watched.press("j")
    lines = panel(watched)
    assert "proj.two: completed, failed" in lines[0]
    assert "▒" not in "".join(lines[1:-1])


@pytest.fixture(scope="module")
def steady():
    """Return a terminal after 20 minutes of a type, one task every two seconds."""
    terminal = FakeTerminal((120, 40))
    for number in range(600):
        terminal.life.now = 1000.0 + 2.0 * number
        terminal.session.model.take([event_of(one) for one in terminal.life.success(f"a{number}")])
    terminal.clock.now = terminal.life.now
    terminal.tick(0.0)
    return terminal


@pytest.mark.parametrize("cols", [76, 80, 104, 120, 137, 160, 200, 250])
@pytest.mark.parametrize("view", ["overview", "types", "queues"])
def test_a_graph_begins_where_its_scale_of_time_does(steady, cols, view):
    steady.size = cols, 40
    steady.command(f"view {view}")
    lines = steady.lines()
    plots = [line for line in lines if line.startswith("  ") and "│" in line]
    wide = next(line.find("─ now") for line in lines if "─ now" in line) + len("─ now") - 7
    drawn = [plot.split("│")[1][:wide].ljust(wide) for plot in plots]
    blank = [at for at in range(wide) if all(row[at] == " " for row in drawn)]
    # The newest column may have had no time yet.
    assert set(blank) <= {wide - 1}, "\n".join(lines)


def test_durations_are_a_heat_map_if_wanted(slower):
    slower.size = 160, 40
    slower.command("window 1h")
    slower.press("2", "H")
    assert slower.message == "heat maps on"
    lines = [line for line in slower.text.splitlines() if line.count("│") == 3]
    # Two kinds of runs: the short ones first, and 15 minutes of long ones.
    marked = [line.split("│")[2][:40] for line in lines]
    drawn = [row for row in marked if set(row) & set("░▒▓█")]
    assert len(drawn) == 2
    assert drawn[0].rstrip()[-1] in "░▒▓█"
    assert len(drawn[0].strip()) < len(drawn[1].strip())
    slower.press("3")
    assert "run: heat map" in slower.text
    slower.press("H")
    assert "heat map" not in slower.text.replace("heat maps off", "")


def test_workers_queues_and_errors_have_theirs(watched):
    watched.press("3")
    assert "w1@host: completed, failed" in panel(watched)[0]
    watched.press("6")
    assert "ValueError: failures" in panel(watched)[0]
    watched.press("4")
    assert "mail: wait p50, p95" in watched.text


def test_it_gives_way_to_rows_details_and_small_screens(watched):
    watched.press("2", "i")
    assert "completed, failed" not in watched.text
    watched.press("esc")
    watched.command("ascii on")
    assert set("".join(panel(watched))) <= set(map(chr, range(32, 127)))
    watched.size = 80, 14
    assert "completed, failed" not in watched.text
    watched.size = 60, 30
    assert "run p50" not in watched.text
    assert "completed, failed" in watched.text


def test_the_tasks_have_none(watched):
    watched.command("filter uuid:a0-0")
    assert "completed, failed" not in watched.text
    watched.take(event_of(watched.life.beat("w9@host")))


# --- the overview -------------------------------------------------------------------------


def found(terminal):
    """Return what the overview says needs attention: about what, and the text."""
    terminal.session.show("overview")
    table = terminal.session.table
    return [(row["about"], row["text"]) for row in table.records()]


def test_a_quiet_cluster_needs_no_attention():
    terminal = FakeTerminal((120, 40))
    terminal.take(*terminal.life.success("a"), terminal.life.beat("w1@host"))
    terminal.press("0")
    assert found(terminal) == []
    assert "Nothing needs attention." in terminal.text
    for title in ("completed, failed", "run p95, wait p95", "queues:", "workers:", "errors"):
        assert title in terminal.text
    # Of how many it runs is not known.
    assert "w1@host  1 active" in terminal.text
    assert "░" not in terminal.text


def test_what_fails_is_new_or_has_gone_is_said_and_led_to(watched):
    life = watched.life
    for number in range(20):
        life.now += 1
        watched.take(life.failure(f"b{number}", "proj.new", exception=f"CardError('no {number}')"))
    watched.take(life.beat("w2@host"))
    watched.tick(1.0)
    about = dict(found(watched))
    assert about["failing"].startswith("proj.new fails: 100%, 20 of 20")
    assert about["error"] == "new, 20 times in proj.new: CardError: no *"
    watched.tick(120.0)
    # Of what it ran, how much is known by its last heartbeat.
    assert ("worker", "w2@host is gone: no event for 2m01s, 1 running then") in found(watched)
    watched.press("0", "g", "enter")
    assert watched.session.view == "workers"
    assert watched.session.table.filter_text == 'worker="w2@host"'
    watched.press("q")
    assert watched.session.view == "overview"


def test_a_worker_that_is_gone_leads_to_the_tasks_that_it_had(terminal):
    life = terminal.life
    terminal.take(life.beat("w2@host"), life.success("done", hostname="w2@host"))
    terminal.take(life.received("b", hostname="w2@host"), life.started("b", hostname="w2@host"))
    terminal.tick(120.0)
    assert dict(found(terminal))["worker"].startswith("w2@host is gone: ")
    terminal.press("0", "g", "enter")
    assert terminal.session.view == "tasks"
    assert [row["uuid"] for row in terminal.session.table.records()] == ["b"]


def test_a_type_that_has_not_run_at_its_time_needs_attention(terminal):
    life = terminal.life
    for number in range(6):
        life.now = 1000.0 + 300 * number
        terminal.take(life.sent(f"r{number}", "proj.report"))
    terminal.tick(1020.0)
    text = "proj.report is overdue by 12m (every 5m, last 00:41)"
    assert found(terminal) == [("overdue", text)]
    terminal.press("0", "g", "enter")
    assert terminal.session.view == "types"
    assert terminal.session.table.focus_key == "proj.report"
    # Without a connection nobody knows, but for what was known before.
    terminal.session.model.clusters[""].connection.end("away")
    terminal.tick(600.0)
    assert found(terminal) == [("overdue", text)]


@pytest.mark.parametrize(
    ("depths", "said"),
    [
        ((20, 30, 40), ["mail: depth 40, +10/min, consumers unknown"]),
        ((40, 40, 40), ["mail: depth 40, the same for 2m00s, consumers unknown"]),
        # Somebody takes from it, or may have taken.
        ((40, 30, 20), []),
        ((40, 50, 49), []),
    ],
)
def test_a_queue_of_which_no_consumer_is_known_is_listed_for_what_is_known(depths, said):
    terminal = FakeTerminal((120, 40))
    terminal.take(terminal.life.sent("a"))
    cluster = terminal.session.model.clusters[""]
    samples = tuple((60.0 * number, depth) for number, depth in enumerate(depths))
    facts = QueueFacts({"mail": Depth(depths[-1])}, {"mail": samples}, at=120.0)
    cluster.asks_broker = True
    cluster.stats = SimpleNamespace(known=lambda: facts, plan=lambda: (Plan(), 0.0))
    terminal.tick()
    assert [text for about, text in found(terminal) if about == "queue"] == said


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_types_are_compared_with_an_hour_ago(slower, size):
    slower.size = size
    slower.press("2", "V")
    assert slower.message == "compared with: 1h"
    assert "p95 -1h p95 +-%" in slower.text
    [row] = [line for line in slower.text.splitlines() if line.startswith(">proj.a")]
    record = next(iter(slower.session.table.records()))
    assert record["run_p95"] == pytest.approx(4.0, rel=0.06)
    assert record["p95_before"] == pytest.approx(0.5, rel=0.06)
    assert record["p95_change"] == pytest.approx(700, abs=60)
    assert f"{record['p95_change']:+.0f}" in row.split()
    slower.press("V")
    assert slower.message == "compared with: 1d"
    assert "evtop has not watched for 1d" in slower.text
    slower.press("V")
    assert "p95 -" not in slower.text


def test_what_is_slower_than_an_hour_ago_is_said(slower):
    terminal = slower
    [text] = [text for about, text in found(terminal) if about == "slower"]
    assert text.startswith("proj.a is 8.")
    assert "times as slow as an hour ago: p95 4." in text or "p95 3." in text


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 32), (200, 50), (50, 12)])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_overview_fits_any_screen(watched, size, ascii_only):
    watched.size = size
    watched.press("0")
    if ascii_only:
        watched.command("ascii on")
    lines = watched.text.splitlines()
    assert len(lines) <= size[1]
    assert "ABOUT" in watched.text
    assert not ascii_only or watched.text.isascii()


def test_a_cluster_that_is_away_does_not_shift_the_others_in_time():
    terminal = FakeTerminal((120, 40), names=("eu", "us"))
    life = terminal.life
    for second in range(0, 600, 5):
        life.now = 1000.0 + second
        for name in ("eu", "us") if second < 300 else ("us",):
            events = [event_of(one) for one in life.success(f"{name}{second}", "proj.a")]
            for event in events:
                event.cluster = name
            terminal.session.model.take(events)
        life.now = 1000.0 + second
    clusters = terminal.session.model.clusters
    clusters["eu"].connection.lost_at = 1300.0
    terminal.clock.now = 1600.0
    terminal.session.model.refresh("overview", 1600.0)
    terminal.session.show("overview")
    lines = terminal.text.splitlines()
    [title] = [n for n, line in enumerate(lines) if "completed, failed" in line]
    plot = [line.partition("│")[2][:51] for line in lines[title + 1 :] if "│" in line]
    heights = [sum(row[at] != " " for row in plot) for at in range(51)]
    drawn = [height for height in heights if height][1:-1]
    # Two clusters in the first half, one in the second.
    first, second = drawn[: len(drawn) // 2 - 1], drawn[len(drawn) // 2 + 1 :]
    assert min(first) > max(second) > 0
