"""evtop in an incident: the question, the answer on the screen, and the keys it takes."""

import re

import pytest

from evtools.wire import encode_line
from servers.rabbitmq import RabbitMQServer
from tools.life import Life

SIZE = (120, 32)


@pytest.fixture
def watching(evtop, worker, broker_url, event_exchange):
    """Return a worker, an evtop that watches it from the overview, and how to type on that."""
    made = worker(broker_url, event_exchange=event_exchange, concurrency=2)
    where = ("-b", broker_url, "--event-exchange", event_exchange)
    shown = evtop(*where, "--view", "overview", terminal=SIZE)
    shown.wait_screen("1 online", deadline=30)
    yield made, shown
    shown.press("Q")
    assert shown.wait() == 0


def test_whether_it_is_on_fire_is_seen_without_a_key(watching, broker):
    made, shown = watching
    for _ in range(6):
        made.app.send_task("cluster.refuse")
    # Nobody consumes this one.
    made.app.send_task("cluster.add", args=(1, 2), queue=f"{made.queue}-forgotten")
    shown.wait_screen("cluster.refuse fails: 100%, 6 of 6 in 5 minutes", deadline=20)
    if isinstance(broker, RabbitMQServer):  # Redis does not know who consumes
        shown.wait_screen(f"{made.queue}-forgotten has 1 and no consumer", deadline=40)
    else:
        shown.wait_screen(lambda screen: re.search(rf"{made.queue}-forgotten.* 1\n?", screen))


def test_a_failing_type_its_cause_and_its_worker_take_three_keys(watching):
    made, shown = watching
    for _ in range(6):
        made.app.send_task("cluster.add", args=(1, 2))
        made.app.send_task("cluster.refuse", kwargs={"card": "expired"})
    shown.wait_screen("cluster.refuse fails: 100%", deadline=20)
    shown.press("enter")
    shown.wait_screen("Types")
    shown.wait_screen(lambda screen: "cluster.refuse" in screen and "cluster.add" not in screen)
    shown.press("enter")
    shown.wait_screen(lambda screen: screen.count("FAIL") >= 6)
    shown.press("enter")
    shown.wait_screen(
        lambda screen: (
            re.search(rf"FAILURE after .* on {made.hostname}", screen)
            and re.search(r">FAIL .*ValueError", screen)
            and "kwargs {'card': 'expired'}" in screen
        )
    )


def test_a_task_by_its_argument_and_its_workflow_take_sixteen_keys(watching):
    made, shown = watching
    call = made.app.signature
    for number in (1, 142, 421):
        made.app.send_task("cluster.echo", kwargs={"user_id": number, "currency": "eur"})
    steps = (
        call("cluster.echo", kwargs={"user_id": 42, "currency": "eur"}, immutable=True),
        call("cluster.add", args=(4, 2), immutable=True),
        call("cluster.refuse", immutable=True),
    )
    sent = (steps[0] | steps[1] | steps[2]).apply_async()
    ids = [sent.id]
    while sent := sent.parent:
        ids.append(sent.id)
    shown.wait_screen("cluster.refuse", deadline=20)
    keys = ["1", "/", *"user_id=42", "enter", "t"]
    assert len(keys) <= 16
    shown.press(*keys[:-1])
    shown.wait_screen(
        lambda screen: screen.count("cluster.echo") == 1 and ids[-1][:8] in screen, deadline=20
    )
    shown.press(keys[-1])
    wanted = ("cluster.echo", "cluster.add", "cluster.refuse", "FAIL")
    shown.wait_screen(lambda screen: all(one in screen for one in wanted))


def test_what_a_killed_worker_ran_takes_one_key(watching, worker):
    made, shown = watching
    worker(made.broker_url, event_exchange=made.event_exchange, name="other", queue="other")
    running = [made.app.send_task("cluster.occupy", args=(300,)).id for _ in range(2)]
    shown.wait_screen(lambda screen: re.search(r"2 online +active 2", screen), deadline=30)
    made.kill()
    shown.wait_screen(re.compile(rf"{made.hostname} is .*, 2 running").search, deadline=60)
    shown.press("enter")
    shown.wait_screen(
        lambda screen: (
            all(task[:8] in screen for task in running) and screen.count("cluster.occupy") >= 2
        )
    )


def test_a_type_against_an_hour_ago_takes_two_keys(evtop, tmp_path):
    life = Life(now=1_763_640_000.0 - 900)
    events = [life.beat()]
    for at, runtime in ((0, 0.5), (3600, 2.0)):
        life.now = 1_763_640_000.0 + at
        for number in range(40):
            uuid = f"{at + number:08x}-0000-4000-8000-000000000000"
            events += [life.received(uuid), life.started(uuid)]
            life.now += runtime
            events.append(life.succeeded(uuid, runtime=runtime))
    tape = tmp_path / "tape.jsonl"
    tape.write_bytes(b"".join(encode_line(event) + b"\n" for event in events))
    shown = evtop("-r", str(tape), "--speed", "max", "--view", "overview", terminal=SIZE)
    shown.wait_screen(lambda screen: re.search(r"tasks 80/", screen), deadline=20)
    shown.press("2", "V")
    screen = shown.wait_screen(re.compile(r"p95 -1h(?s:.*)\n>proj\.add .* \+\d\S* ").search)
    [row] = [line.split() for line in screen.splitlines() if line.startswith(">proj.add")]
    # From 0.5 to 2 seconds; a quantile is exact to 6 %.
    [change] = [float(cell) for cell in row if cell.startswith("+")]
    assert 260 <= change <= 345, screen
    shown.press("Q")
    assert shown.wait() == 0


def test_an_alert_rings_once_leads_there_and_resolves(
    evtop, worker, broker_url, event_exchange, tmp_path
):
    settings = tmp_path / "evtools.toml"
    settings.write_text(
        '[alert.failing]\nfilter = "state:failure"\ncount = 3\nwindow = "15s"\n'
        'message = "cards are refused"\n'
    )
    made = worker(broker_url, event_exchange=event_exchange)
    where = ("-b", broker_url, "--event-exchange", event_exchange, "--config", settings)
    shown = evtop(*where, terminal=(80, 24))
    shown.wait_screen("wk 1/1", deadline=30)
    assert "\a" not in shown.stdout
    made.app.send_task("cluster.add", args=(1, 2))
    for _ in range(3):
        made.app.send_task("cluster.refuse")
    banner = r"\n ! failing: cards are refused: 3 events, cluster.refuse for \d.*W goes there\n"
    screen = shown.wait_screen(re.compile(banner).search, deadline=20).split("\n")
    assert screen[2].startswith(" ! failing: ")
    assert len(screen) == 24
    shown.press("W")
    shown.wait_screen(
        lambda screen: "[5 Events]" in screen and screen.count("FAIL") == 3 and "OK" not in screen
    )
    shown.press("q")
    shown.wait_screen(
        lambda screen: "[1 Tasks]" in screen and "! failing" not in screen, deadline=30
    )
    shown.press("m")
    fired, resolved = "error: alert failing fired: cards are refused", "failing resolved after"
    shown.wait_screen(lambda screen: fired in screen and resolved in screen)
    assert shown.stdout.count("\a") == 1
    shown.press("esc", "Q")
    assert shown.wait() == 0
