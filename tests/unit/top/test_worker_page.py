"""Enter on a worker or a queue: what is said of it, refreshed while somebody looks."""

import os
import re
from types import SimpleNamespace

import pytest

from evtools import __version__
from evtools.rows import QueueFacts
from evtools.top.survey import REPORT_COMMANDS
from evtools.transport.queues import Depth
from evtools.wire.redact import redactor
from tools.asked import ACTIVE, QUEUES, STATS, AskedWorkers
from tools.told import UUID

W1 = "w1@host"


@pytest.fixture
def asked(busy):
    """Return the terminal of a cluster whose workers are asked, and the workers."""
    workers = AskedWorkers()
    cluster = busy.session.model.clusters[""]
    cluster.ask(workers, None)
    cluster.survey.begin(busy.clock.wall())
    workers.answer_all(stats={W1: STATS}, active_queues={W1: QUEUES})
    refresh(busy)
    return busy, workers


def refresh(terminal):
    survey = terminal.session.model.clusters[""].survey
    survey.take(terminal.clock.wall())
    terminal.tick()
    survey.take(terminal.clock.wall())


def test_enter_opens_the_page_and_enter_again_the_tasks(asked):
    terminal, workers = asked
    terminal.press("3", "enter")
    assert "No answer yet." in terminal.text
    active = [{**ACTIVE, "time_start": terminal.clock.wall() - 90}]
    workers.answer_all(active={W1: active}, reserved={W1: []})
    refresh(terminal)
    text = terminal.text
    assert f"{UUID[:8]}  shop.pay" in " ".join(text.split(" ")).replace("   ", "  ")
    assert "1m3" in text
    terminal.press("enter")
    assert terminal.session.view == "tasks"
    assert terminal.session.table.filter_text == f'worker="{W1}"'


def test_a_page_says_for_how_long_a_worker_has_not_answered(asked):
    terminal, workers = asked
    terminal.press("3", "enter")
    for _ in range(12):
        terminal.take(terminal.life.beat(W1))
        refresh(terminal)
    assert re.search(r"running\s+No answer for 1\ds\.", terminal.text)
    terminal.press("]")
    # What all workers are asked is known all the same.
    assert re.search(
        r"No answer for 1\ds\.[^$]*size +4\n[^$]*as it replied 1\dm\d\ds ago", terminal.text
    )
    workers.answer_all(stats={W1: STATS})
    refresh(terminal)
    assert "No answer" not in terminal.text


def test_the_page_of_a_worker_that_is_gone_says_what_it_was_and_had(asked):
    terminal, workers = asked
    life = terminal.life
    terminal.take(life.received("dddd4444", "proj.wait"), life.beat(W1, active=1, processed=77))
    terminal.press("3", "enter")
    active = [{**ACTIVE, "time_start": terminal.clock.wall() - 90}]
    workers.answer_all(active={W1: active}, reserved={W1: []})
    refresh(terminal)
    terminal.press("q")
    refresh(terminal)
    terminal.tick(200.0)
    terminal.press("enter")
    terminal.size = 120, 50
    refresh(terminal)
    text = terminal.text
    assert "No answer" not in text
    assert re.search(
        r"state +gone: its last event came at [\d:]+, 3m2\ds ago; the last heartb", text
    )
    assert "said    1 running, 77 processed, load 1.0 2.0 3.0, in its last heartbeat" in text
    assert "was     py-celery 5.6 Linux, pid 7" in text
    # Of the tasks two are known by their events, and one by an answer.
    assert re.search(r"it ran 2 when it went, by its events\n +since .*cccc3333  proj.slow", text)
    assert re.search(r"it had received 1 more;.*\n +since .*dddd4444  proj.wait", text)
    assert re.search(
        r"as it had replied before it went\n\nrunning +\d+m\d\ds ago\n.*shop.pay", text
    )
    terminal.press("]")
    assert re.search(r"It is gone, and did not say so before\.[^$]*size +4\n", terminal.text)


def test_what_a_worker_that_is_gone_had_is_known_without_asking(busy):
    busy.tick(200.0)
    busy.press("3", "i")
    assert re.search(r"state +gone: .*\[Tasks\]", busy.text)
    assert re.search(
        r"it ran 1 when it went, by its events\n +since .*cccc3333  proj.slow", busy.text
    )


def test_the_page_of_a_queue_stays_that_of_this_queue_and_leads_to_its_tasks(asked):
    terminal, _ = asked
    cluster, depths = terminal.session.model.clusters[""], {"mail": Depth(2), "celery": Depth(1)}
    cluster.asks_broker = True
    cluster.stats = SimpleNamespace(known=lambda: QueueFacts(depths, at=1.0))
    terminal.press("4")
    terminal.tick()
    terminal.press("enter")
    assert "depth         2 ready" in terminal.text
    depths["celery"] = Depth(3)  # which comes first now
    terminal.tick()
    assert terminal.session.table.keys[:2] == ["celery", "mail"]
    assert "depth         2 ready" in terminal.text
    terminal.press("enter")
    assert (terminal.session.view, terminal.session.table.filter_text) == ("tasks", 'queue="mail"')


def test_a_section_is_asked_for_again_while_it_is_looked_at(asked):
    terminal, workers = asked
    terminal.press("3", "enter")
    workers.answer_all()
    refresh(terminal)
    workers.answer_all()
    terminal.press("]")
    assert "[Pool]" in terminal.text
    for _ in range(7):
        refresh(terminal)
    assert {one.command for one in workers.inquiries} == {"stats"}
    workers.answer_all(stats={W1: STATS})
    refresh(terminal)
    assert "78 79" in terminal.text
    terminal.press("esc")
    workers.take_inquiries()
    for _ in range(7):
        refresh(terminal)
    assert workers.take_inquiries() == []


def test_the_table_has_the_pool_and_the_queues(asked):
    terminal, _ = asked
    terminal.size = 200, 32
    terminal.press("3")
    [line] = [line for line in terminal.text.splitlines() if W1 in line and "completed" not in line]
    assert "/4" in line
    assert "mail, celery" in line


def test_what_a_worker_runs_that_only_answers_is_not_known(asked):
    terminal, workers = asked
    terminal.press("3")
    for at in (0, 50):
        for _ in range(at):
            workers.answer_all()
            refresh(terminal)
        [line] = [
            line for line in terminal.text.splitlines() if W1 in line and "completed" not in line
        ]
        assert ("online" in line, "1/4" in line) == (at == 0, at == 0)
    terminal.session.model.clusters[""].state.answered(W1, terminal.clock.wall())
    refresh(terminal)
    [line] = [line for line in terminal.text.splitlines() if W1 in line and "completed" not in line]
    assert "online" in line
    assert "1/4" not in line
    assert "active 0" in terminal.text


def test_how_many_replied_and_why_not_stands_below_the_table(asked):
    terminal, workers = asked
    terminal.press("3")
    assert "1 of 1 replied" in terminal.text
    workers.answer("stats", {}, error="access refused\x1b[2J")
    refresh(terminal)
    assert r"they could not be asked: access refused\x1b[2J" in terminal.text


# --- reports ------------------------------------------------------------------------------

_BUGREPORT = """
software -> celery:5.7.0 (collider)
settings -> transport:redis results:redis://:hidden1@h/1

signatures: ['hidden2',
    'hidden3']
beat_schedule:
    {'x': {'password': 'hidden4'}}
name: \x1b[2Jshop
"""


def report_on(terminal, workers, line, *, gone=False, **by_command):
    """Carry out `:report`, and have the workers answer; return the message that comes of it.

    They may be `gone` from the table by then.
    """
    terminal.command(line)
    workers.answer_all(**by_command)
    refresh(terminal)
    if gone:
        terminal.session.model.views["workers"].rows = {}
    terminal.session.finish_reports()
    return terminal.message


@pytest.fixture
def reporting(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    terminal, workers = asked
    terminal.press("3")
    return terminal, workers, tmp_path / "out.txt"


def test_a_report_has_what_a_worker_says_with_ages_and_without_secrets(reporting):
    terminal, workers, path = reporting
    terminal.session.model.clusters[""].survey._redact = redactor(["note"])
    answers = {command: {W1: []} for command in REPORT_COMMANDS}
    task = {**ACTIVE, "kwargs": {"note": "hidden5"}, "args": ["x" * 200]}
    conf = {"password": "hidden6", "broker_url": "redis://u:hidden7@h"}
    answers |= {"active": {W1: [task]}, "stats": {W1: STATS}, "conf": {W1: conf}}
    answers |= {"report": {W1: {"ok": _BUGREPORT}}}
    message = report_on(terminal, workers, "report out.txt", **answers)
    assert message == "report in out.txt: 7 of 7 sections answered"
    text = path.read_text()
    assert text.startswith(f"evtools {__version__}, 1970-01-01T00:16:4")
    assert f"broker: {terminal.session.where}\n" in text
    assert "hidden" not in text
    for part in ("celery:5.7.0", "beat_schedule:", r"name: \x1b[2Jshop", UUID, "x" * 200, "78 79"):
        assert part in text
    for title in ("Report", "Tasks", "Pool", "Queues", "Registered", "Revoked", "Config"):
        assert f"---- {title} ----" in text
    assert text.count("ago\n") >= 8


def test_a_report_is_on_the_marked_workers_and_says_what_is_missing(reporting):
    terminal, workers, path = reporting
    terminal.take(terminal.life.beat("w2@host"))
    terminal.tick()
    terminal.press("space", "space")
    everything = {command: {W1: []} for command in REPORT_COMMANDS}
    message = report_on(terminal, workers, "report out.txt", gone=True, **everything)
    assert message == "report in out.txt: 7 of 14 sections answered, 1 of 2 workers"
    assert path.read_text().count("No answer.") == 9
    terminal.command("report out.txt")
    assert "overwrite?" in terminal.text
    assert not workers.inquiries
    terminal.press("esc", "U", "enter")
    workers.take_inquiries()
    workers.answers.clear()
    terminal.command("report")
    assert {one.destination for one in workers.inquiries} == {(terminal.session.detail.key,)}
    for inquiry in workers.take_inquiries():
        workers.answer(inquiry.command, {}, inquiry=inquiry, error="it went away")
    refresh(terminal)
    assert terminal.session.finish_reports()
    assert "0 of 7 sections answered; they could not be asked: it went away" in terminal.message


def test_a_report_that_cannot_be_made_is_refused_at_once(reporting):
    terminal, workers, path = reporting
    terminal.command("report /nowhere/x")
    assert terminal.message == "cannot write /nowhere/x: No such file or directory"
    os.mkfifo(path.parent / "pipe")
    terminal.command("report pipe")
    assert terminal.message == "cannot write pipe: No such device or address"
    terminal.press("1")
    terminal.command("report x")
    assert terminal.message == "there is no worker to report on (3 shows the workers)"
    terminal.session.model.clusters[""].survey = None
    terminal.command("report x")
    assert terminal.message.startswith("the workers are not asked (not with --no-ask")
    assert not workers.inquiries
