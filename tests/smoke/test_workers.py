"""The standalone program beside real workers: what they did is what it tells."""

from __future__ import annotations

import json
import signal
import sqlite3

from servers.process import wait_until
from tools.ledgers import contents


def at(worker):
    """Return the options that lead to where a worker is."""
    return ("-b", worker.broker_url, "--event-exchange", worker.event_exchange)


def test_evdump_tells_the_whole_life_of_a_task(start, celery_worker):
    evdump = start("evdump", *at(celery_worker), "-o", "json")
    evdump.wait_stderr("listening on", deadline=40)
    uuid = celery_worker.app.send_task("cluster.retry", args=(2,)).id
    life = ("sent", "received", "started", "retried", "succeeded")

    def told():
        events = map(json.loads, evdump.stdout.split("\n")[:-1])
        return {e["type"]: e for e in events if e.get("uuid") == uuid}

    wait_until(
        lambda: {f"task-{step}" for step in life} == told().keys(),
        what=lambda: f"all events of {uuid}, and there are {evdump.stdout}",
    )
    assert told()["task-succeeded"]["result"] == "'attempt 2'"
    assert told()["task-succeeded"]["hostname"] == celery_worker.hostname
    assert evdump.stop() == 0


def test_evtop_shows_tasks_as_they_end_and_ends_one_itself(start, celery_worker):
    evtop = start(
        *("evtop", *at(celery_worker), "--ascii", "--view", "tasks"),
        terminal=(120, 32),
        env={"LANG": "C.UTF-8"},
    )
    evtop.wait_screen("LIVE", deadline=40)

    def wait_row(uuid, state):
        evtop.wait_screen(
            lambda screen: any(uuid[:8] in line and state in line for line in screen.split("\n"))
        )

    send = celery_worker.app.send_task
    wait_row(send("cluster.add", args=(2, 3)).id, "OK")
    wait_row(send("cluster.fail").id, "FAIL")
    evtop.type("3")
    evtop.wait_screen(celery_worker.hostname)
    running = send("cluster.occupy", args=(60,)).id
    for typed, shown in (
        *(("1/name:occupy\r", ">RUN"), ("K", "SIGKILL")),
        *(("\x1b[B\r", "its process gets the signal"), ("y", "Revoke and terminate")),
    ):
        evtop.type(typed)
        evtop.wait_screen(shown)
    wait_row(running, "REVOKE")
    evtop.type("Q")
    assert evtop.wait() == 0


def test_evcam_writes_down_how_tasks_ended(start, celery_worker, folder, place):
    ledger = folder / "tasks.db"
    evcam = start(
        *("evcam", *at(celery_worker), "-c", f"sqlite:{place.seen(ledger)}"), *("-F", "0.2")
    )
    evcam.wait_stderr("listening on", deadline=40)
    send = celery_worker.app.send_task
    ends = {
        send("cluster.add", args=(2, 3)).id: ("SUCCESS", celery_worker.hostname, "5"),
        send("cluster.fail").id: ("FAILURE", celery_worker.hostname, None),
    }

    def written():
        try:
            rows = {row["uuid"]: row for row in contents(ledger)["tasks"]}
        except sqlite3.OperationalError:  # before the first shot
            return {}
        return {
            uuid: (rows[uuid]["state"], rows[uuid]["worker"], rows[uuid]["result"])
            for uuid in ends.keys() & rows.keys()
        }

    wait_until(
        lambda: written() == ends, what=lambda: f"{ends} in the database, and there is {written()}"
    )
    assert evcam.stop(signal.SIGTERM) == 0


def test_the_doctor_hears_the_worker_answer(program, celery_worker):
    done = program.run("evtools", "doctor", *at(celery_worker), "-o", "json")
    found = [
        finding["text"]
        for finding in json.loads(done.stdout)["findings"]
        if (finding["check"], finding["severity"]) == ("workers", "ok")
    ]
    assert celery_worker.hostname in "".join(found), done.stdout
