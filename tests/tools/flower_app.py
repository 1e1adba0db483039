"""Run Flower on our State: 10 000 events through it, then its pages, as JSON.

A program, as Flower and tornado keep much for the whole process.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import instead  # noqa: F401  (before Flower takes its base class)
from celery import Celery
from flower.app import Flower
from flower.events import Events, EventsState
from flower.options import default_options
from flower.urls import settings
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

import evtools

COUNT = 10_000
LIMIT = 500
ENDS = (
    ("succeeded", {"result": "4", "runtime": 0.5}),
    ("failed", {"exception": "CardError('no')", "traceback": "line 1"}),
    ("retried", {"exception": "Again()", "traceback": "line 2"}),
    ("revoked", {"terminated": True, "signum": 15, "expired": False}),
    ("rejected", {"requeue": False}),
    ("progress", {"percent": 50}),
)


def events():
    """Yield events of all kinds, of three workers, up to now."""
    start = time.time() - COUNT / 100
    for number in range(COUNT):
        at = start + number / 100
        run, step = divmod(number, 5)
        event = {
            "hostname": f"w{run % 3}@h",
            "timestamp": at,
            "local_received": at,
            "clock": number,
            "pid": 7,
            "utcoffset": 0,
        }
        uuid, name = f"uuid-{run}", f"shop.task{run % 7}"
        told = {"name": name, "args": "(1,)", "kwargs": "{}", "retries": 0}
        told |= {"root_id": uuid, "parent_id": f"uuid-{run - 1}" if run % 2 else None}
        told |= {"eta": None, "expires": None}
        if step == 0:
            kind = ("heartbeat", "online", "heartbeat", "offline")[run % 4]
            beat = {"freq": 2.0, "active": 1, "processed": run, "loadavg": [1, 2, 3]}
            yield {**event, **beat, "type": f"worker-{kind}"}
        elif step == 1:
            way = {"queue": "mail", "exchange": "", "routing_key": "mail"}
            client = {"hostname": "gen1@c", "type": "task-sent", "uuid": uuid}
            yield {**event, **told, **way, **client}
        elif step == 2:
            yield {**event, **told, "type": "task-received", "uuid": uuid}
        elif step == 3:
            yield {**event, "type": "task-started", "uuid": uuid}
        else:
            kind, fields = ENDS[run % len(ENDS)]
            yield {**event, **fields, "type": f"task-{kind}", "uuid": uuid}


async def pages(app, state):
    """Return what Flower's pages say, by their addresses."""
    socket, port = bind_unused_port()
    server = HTTPServer(app)
    server.add_socket(socket)
    newest = next(uuid for uuid, _ in state.tasks_by_time())
    table = (
        "/tasks/datatable?draw=1&start=0&length=1000&search[value]=&"
        "order[0][column]=0&order[0][dir]=desc&columns[0][data]="
    )
    found = {}
    for name, path in {
        "workers": "/workers?json=1",
        "page of workers": "/workers",
        "table": f"{table}received",
        "by name": f"{table}name",
        "page of tasks": "/tasks",
        "page of a task": f"/task/{newest}",
        "api of tasks": "/api/tasks?limit=5&sort_by=-started",
        "failures": "/api/tasks?state=FAILURE&limit=9999",
        "api of a task": f"/api/task/info/{newest}",
        "types": "/api/task/types",
        "metrics": "/metrics",
        "health": "/healthcheck",
    }.items():
        answer = await AsyncHTTPClient().fetch(
            f"http://127.0.0.1:{port}{path}", raise_error=False, request_timeout=30
        )
        found[name] = [answer.code, answer.body.decode()]
    server.stop()
    return found


async def main():
    """Print what became of the events."""
    assert issubclass(EventsState, evtools.State)
    loop = IOLoop.current()
    capp = Celery(broker="memory://", set_as_current=False)
    db = str(Path(sys.argv[1]) / "flower")
    watched = Events(*(capp, loop, db, True), enable_events=False, max_tasks_in_memory=LIMIT)
    for event in events():
        watched.state.event(event)
    app = Flower(options=default_options, capp=capp, events=watched, **settings)
    found = await pages(app, watched.state)
    watched.save_state()
    again = Events(*(capp, loop, db, True), max_tasks_in_memory=LIMIT // 2).state
    index = sorted(watched.state.search_engine.search(watched.state.tasks, "").task_ids)
    report = {
        "pages": found,
        "tasks": sorted(watched.state.tasks),
        "index": index,
        "counted": sum(sum(each.values()) for each in watched.state.counter.values()),
        "restored": [len(again.tasks), again.event_count, sorted(again.workers)],
    }
    watched.state.clear_tasks(ready=False)
    report["cleared"] = list(watched.state.search_engine.search(watched.state.tasks, "").task_ids)
    print(json.dumps(report))  # noqa: T201  (what the test reads)
    app.executor.shutdown(wait=False)


if __name__ == "__main__":
    asyncio.run(main())
