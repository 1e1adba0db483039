"""Several clusters on one screen: whose each row is, and what becomes of one that is away."""

import json
from types import SimpleNamespace

import pytest

from evtools.top.clusters import CLUSTERS_MAX
from evtools.top.files import render_table
from evtools.top.model import Model
from evtools.top.options import TopOptions
from evtools.transport import Notice
from tools.screen import FakeTerminal
from tools.typed import event_of

VIEWS = ("tasks", "types", "workers", "queues", "events", "errors")


@pytest.fixture
def both():
    """Return a terminal with clusters `eu` and `prod`, which have tasks and workers of one name."""
    terminal = FakeTerminal(names=("eu", "prod"))
    life = terminal.life
    for name in ("eu", "prod"):
        of(terminal, name, life.beat("w1@host"), *life.failure("aaaa1111", "proj.charge"))
    of(terminal, "eu", life.received("bbbb2222", "proj.slow", parent_id="aaaa1111"))
    of(terminal, "eu", life.started("bbbb2222"))
    return terminal


def of(terminal, cluster, *events):
    """Have a terminal take events of a cluster."""
    typed = [event_of(event) for event in events]
    for event in typed:
        event.cluster = cluster
    terminal.take(typed)


def rows(terminal):
    return [line for line in terminal.text.splitlines() if " eu" in line or " prod" in line][1:]


def records(terminal, view):
    terminal.session.show(view)
    return [json.loads(line) for line in render_table(terminal.session.table, "json")]


@pytest.mark.parametrize("view", VIEWS)
def test_each_row_isof_one_cluster_and_a_filter_knows_which(both, view):
    found = records(both, view)
    assert {record["cluster"] for record in found} == {"eu", "prod"}
    both.command("filter cluster:prod")
    kept = [json.loads(line) for line in render_table(both.session.table, "json")]
    assert kept == [record for record in found if record["cluster"] == "prod"]
    assert "CLUSTER" in both.text


def test_what_has_one_name_is_not_mixed(both):
    workers = records(both, "workers")
    assert [(one["worker"], one["cluster"]) for one in workers] == [
        ("w1@host", "eu"), ("w1@host", "prod"),
    ]  # fmt: skip
    tasks = {(one["uuid"], one["cluster"]): one["state"] for one in records(both, "tasks")}
    assert tasks == {
        ("aaaa1111", "eu"): "FAILURE", ("aaaa1111", "prod"): "FAILURE",
        ("bbbb2222", "eu"): "STARTED",
    }  # fmt: skip
    both.command("sort cluster")
    both.press("G", "r")
    assert "cluster       prod" in both.text
    # Its tree has the child in the other cluster's task only.
    both.press("esc", "g", "t")
    lines = [line for line in both.text.splitlines() if "proj." in line]
    assert sum("`- proj.slow" in line or "└─ proj.slow" in line for line in lines) == 1


def test_events_of_several_that_come_together_count_in_their_order():
    terminal = FakeTerminal(names=("eu", "prod"))
    events = [event_of(event) for event in terminal.life.success("aaaa1111", "proj.charge")]
    for event in events:
        event.cluster = "prod"
    beat = event_of(terminal.life.beat("w1@host"))
    beat.cluster = "eu"
    terminal.take([*events[:-1], beat, events[-1]])
    (row,) = records(terminal, "types")
    assert (row["name"], row["ok"]) == ("proj.charge", 1)


def test_a_row_leads_to_the_tasks_of_its_cluster(both):
    both.press("2")
    both.command("sort cluster")
    both.press("g", "enter")
    assert both.session.table.filter_text == 'name="proj.charge" cluster="eu"'
    assert len(both.session.table) == 1


def test_the_overview_says_for_how_long_one_is_away(both):
    both.session.model.clusters["eu"].connection.apply(Notice("lost", "eu is down", "eu"))
    both.tick(90.0)
    both.press("0")
    (row,) = [line for line in both.lines() if line.startswith(">cluster")]
    assert row.split()[:4] == [">cluster", "eu", "1m30s", "1m30s"]


def test_one_that_is_away_stands_still_and_the_others_go_on(both):
    cluster = both.session.model.clusters["eu"]
    cluster.connection.apply(Notice("lost", "eu is down", "eu"))
    for _ in range(120):
        both.tick()
    of(both, "prod", both.life.beat("w1@host"))
    text = both.text
    assert "1 of 2 LIVE" in text
    assert "eu reconnecting 2m00s: eu is down" in text
    assert "1 online" in text
    assert "1 away" in text
    [line] = [line for line in text.splitlines() if "proj.slow" in line]
    # Neither lost nor running for two minutes more: that is not known.
    assert line.lstrip(" >").split()[:3] == ["RUN", "eu", "2m00s"]
    assert "lost" not in [one["state"] for one in records(both, "tasks") if one["lost"]]
    table = both.session.table
    styles = {
        table.subject(row.key).cluster: row.style for row in map(table.row, range(len(table)))
    }
    assert styles["eu"] == "dim"
    assert styles["prod"] == "failure"
    both.press("3")
    assert ["w1@host", "eu", "2m00s", "online"] in [
        line.lstrip(" >").split()[:4] for line in both.text.splitlines()
    ]
    cluster.connection.apply(Notice("restored", "redis://eu", "eu"))
    both.tick()
    assert "LIVE" in both.text
    assert "eu 2m00s" not in both.text


def test_without_any_the_whole_screen_is_of_the_past(both):
    for name, cluster in both.session.model.clusters.items():
        cluster.connection.apply(Notice("refused" if name == "eu" else "lost", "no", name))
    both.tick(5)
    assert "RECONNECTING" in both.text or "ENDED" in both.text
    assert "data as of" in both.text


@pytest.mark.parametrize("cols", [120, 80])
def test_all_that_are_away_are_named_however_long_the_reasons(cols):
    terminal = FakeTerminal((cols, 32), names=("prod", "eu", "us", "asia"))
    for name in ("eu", "us", "asia"):
        notice = Notice("lost", f"cannot reach redis://{'x' * 60}", name)
        terminal.session.model.clusters[name].connection.apply(notice)
    bar = terminal.text.splitlines()[0]
    assert all(word in bar for word in ("1 of 4 LIVE", "eu ", "us ", "asia ", "RW"))


def test_an_action_is_done_in_the_cluster_of_its_row(both):
    controls = {name: one.control for name, one in both.session.model.clusters.items()}
    controls["prod"] = both.session.model.clusters["prod"].control = type(both.control)()
    both.press("3")
    both.command("sort cluster")
    both.press("G", "a", "E")
    assert "in cluster prod" in both.text
    both.press("y")
    assert [one.targets for one in controls["prod"].submitted] == [("w1@host",)]
    assert json.loads(controls["prod"].submitted[0].audit())["cluster"] == "prod"
    assert controls["eu"].submitted == []
    both.press("g", "space", "space", "a")
    assert "these rows are of several clusters" in both.message
    assert controls["eu"].submitted == []


def test_memory_is_shared_out_and_so_are_names_that_a_recording_makes_up(both):
    model = both.session.model
    limits = [one.state.max_tasks_in_memory for one in model.clusters.values()]
    assert limits == [50_000, 50_000]
    for number in range(2 * CLUSTERS_MAX):
        of(both, f"c{number}", both.life.beat(f"w{number}@host"))
    assert len(model.clusters) == CLUSTERS_MAX + 1
    total = sum(one.state.max_tasks_in_memory for one in model.clusters.values())
    assert total <= model.options.max_tasks
    assert sum(one.statistics.past_bytes for one in model.clusters.values()) <= 256 * 2**20
    assert len(records(both, "workers")) == 2 + 2 * CLUSTERS_MAX


def test_a_name_with_a_nul_is_of_no_other_cluster():
    terminal = FakeTerminal(names=("", "eu"))
    for cluster, name in (("eu", "proj.add"), ("", "eu\0proj.add")):
        begun = terminal.life.received(name, name, hostname=name)
        of(terminal, cluster, terminal.life.beat(name), begun)
    for view in ("tasks", "types", "workers"):
        assert len(records(terminal, view)) == 2
    # What is done is done to what has this name.
    table = terminal.session.table
    found = [terminal.session.of_one_cluster([key]) for key in table.keys]
    assert {(cluster.name, *names) for cluster, names in found} == {
        ("eu", "proj.add"), ("", "eu\0proj.add"),
    }  # fmt: skip


def test_the_clusters_of_a_recording_need_no_connection_and_can_be_asked_for_before_they_come():
    options = TopOptions(read=("x",), sort="cluster", columns=("Cluster", "name"))
    terminal = FakeTerminal(source=SimpleNamespace(paused=False, ended=False, speed=1))
    terminal.session.replace(Model(clock=terminal.clock, options=options))
    terminal.session.arrange()
    terminal.session.model.views["types"].set_filter("cluster:a")
    for name in ("b", "a"):
        of(terminal, name, *terminal.life.success(name, "proj.add"))
    assert [one["cluster"] for one in records(terminal, "types")] == ["a"]
    assert [one["cluster"] for one in records(terminal, "tasks")] == ["a", "b"]
    terminal.command("filter name:none")
    assert "not connected" not in terminal.text.lower()
    assert "The filter hides all of 2 tasks." in terminal.text
