"""Every task of the application, sent once, each until its end."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from celery import chain, group

from cluster.app import HOSTILE, LONG, odd_fields

if TYPE_CHECKING:
    from celery import Celery

    from cluster.celery_capture import CeleryCapture

ENDINGS = ("task-succeeded", "task-failed", "task-rejected", "task-revoked")


def run_everything(app: Celery, capture: CeleryCapture) -> dict[str, str]:
    """Send one of each, wait until all have ended, and return their ids by name.

    It takes about five seconds. The capture must watch the exchange of the application.
    """
    sent = {
        **_send_expiring(app),
        **_send_plain(app),
        **_send_rejected(app),
        **_send_related(app),
        **_send_revoked(app, capture),
        **_send_limited(app),
    }
    send_custom_events(app)
    capture.wait_for_each(
        (id_ for name, id_ in sent.items() if name not in {"ignored", "requeued"}), ENDINGS
    )
    capture.wait_for(type="task-succeeded", uuid=sent["requeued"])
    capture.wait_for(type="task-started", uuid=sent["ignored"])
    # These have connections of their own and may be late.
    capture.wait_for_each(sent.values(), {"task-sent"})
    capture.wait_for(type="task-progress", uuid=sent["progress"], count=3)
    capture.wait_for(type="billing-invoice-paid", count=2)
    capture.wait_for(type="a-b-c-d")
    return sent


def _send_expiring(app: Celery) -> dict[str, str]:
    # As a header only: RabbitMQ drops what `expires` in the queue, and nobody hears of it.
    soon = datetime.now(UTC) + timedelta(seconds=1)
    headers = {"expires": soon.isoformat()}
    return {"expired": app.send_task("cluster.add", (1, 1), countdown=2, headers=headers).id}


def _send_plain(app: Celery) -> dict[str, str]:
    send = app.send_task
    return {
        "succeeded": send("cluster.add", args=(2, 3)).id,
        "long": send("cluster.echo", args=(LONG,), kwargs={"text": LONG}).id,
        "hostile": send("cluster.echo", args=(HOSTILE, [None]), shadow=HOSTILE).id,
        "failed": send("cluster.fail").id,
        "unregistered": send("cluster.nobody_has_this").id,
        "retried": send("cluster.retry", args=(2,)).id,
        "retried in vain": send("cluster.retry", args=(9,)).id,
        "ignored": send("cluster.ignore").id,
        "progress": send("cluster.progress").id,
        "announced": send("cluster.announce").id,
    }


def _send_rejected(app: Celery) -> dict[str, str]:
    return {
        "rejected": app.send_task("cluster.reject", kwargs={"requeue": False}).id,
        "requeued": app.send_task("cluster.reject", kwargs={"requeue": True}).id,
    }


def _send_related(app: Celery) -> dict[str, str]:
    add = app.signature("cluster.add")
    chained = chain(add.clone((1, 2)), add.clone((3,)), app=app).apply_async()
    grouped = group([add.clone((1, 1)), add.clone((2, 2))], app=app).apply_async()
    return {
        "parent": app.send_task("cluster.parent").id,
        "chain": chained.id,
        "group": grouped.results[-1].id,
    }


def _send_revoked(app: Celery, capture: CeleryCapture) -> dict[str, str]:
    terminated = app.send_task("cluster.occupy", args=(60,)).id
    (started,) = capture.wait_for(type="task-started", uuid=terminated)
    # Before it is sent: a worker may be late with what it is told, but not with an ETA.
    revoked = str(uuid.uuid4())
    confirmed = {"destination": [started["hostname"]], "reply": True, "timeout": 30}
    assert app.control.revoke(revoked, **confirmed)
    app.send_task("cluster.add", args=(1, 1), task_id=revoked)
    app.control.revoke(terminated, terminate=True, signal="SIGKILL")
    return {"revoked": revoked, "terminated": terminated}


def _send_limited(app: Celery) -> dict[str, str]:
    send = app.send_task
    return {
        "soft limit": send("cluster.soft_limit", kwargs={"survive": False}).id,
        "soft limit survived": send("cluster.soft_limit", kwargs={"survive": True}).id,
        "hard limit": send("cluster.hard_limit").id,
    }


def send_custom_events(app: Celery, **fields: Any) -> None:
    """Send events of groups that Celery does not know, from this process."""
    with app.events.default_dispatcher(hostname="shop@client") as dispatcher:
        dispatcher.send("billing-invoice-paid", **{**odd_fields(), **fields})
        dispatcher.send("nogroup", number=1)
        dispatcher.send("a-b-c-d", uuid=str(uuid.uuid4()), empty={})
