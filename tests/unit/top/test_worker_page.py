"""Enter on a worker: what it says of itself, refreshed while somebody looks."""

import pytest

from tools.asked import ACTIVE, QUEUES, STATS, AskedWorkers
from tools.told import UUID

W1 = "w1@host"


@pytest.fixture
def asked(busy):
    """Return the terminal of a cluster whose workers are asked, and the workers."""
    workers = AskedWorkers()
    busy.session.model.ask(workers)
    busy.session.model.survey.begin(busy.clock.wall())
    workers.answer_all(stats={W1: STATS}, active_queues={W1: QUEUES})
    refresh(busy)
    return busy, workers


def refresh(terminal):
    survey = terminal.session.model.survey
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
    terminal.press("3")
    [line] = [line for line in terminal.text.splitlines() if W1 in line]
    assert "/4" in line
    assert "mail, celery" in line


def test_how_many_replied_and_why_not_stands_below_the_table(asked):
    terminal, workers = asked
    terminal.press("3")
    assert "1 of 1 replied" in terminal.text
    workers.answer("stats", {}, error="access refused\x1b[2J")
    refresh(terminal)
    assert r"they could not be asked: access refused\x1b[2J" in terminal.text
