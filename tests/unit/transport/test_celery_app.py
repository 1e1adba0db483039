import sys

import pytest
from celery import Celery
from celery.app.defaults import DEFAULTS

from evtools.errors import UsageError
from evtools.transport.celery_app import NAMES, celery_settings


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write modules into a fresh current directory that is forgotten again."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield lambda name, text: (tmp_path / name).write_text(text)
    for name in set(sys.modules) - before:
        if not name.startswith(("celery", "kombu", "billiard", "amqp")):
            sys.modules.pop(name)


def app_with(conf, namespace=None):
    app = Celery("x", set_as_current=False)
    app.config_from_object(conf, namespace=namespace)
    return app


@pytest.mark.parametrize("name", ["proj1", "proj1:app", "proj1.app"])
def test_an_application_is_found_in_the_current_directory(project, capsys, name):
    text = (
        "from celery import Celery\nprint('hello')\napp = Celery('x', broker='redis://:pw@h/3')\n"
    )
    project("proj1.py", text)
    before = list(sys.path)
    assert celery_settings(name) == {"broker_url": "redis://:pw@h/3"}
    assert sys.path == before
    # What it prints does not get among the events.
    assert capsys.readouterr() == ("", "hello\n")


class Django:
    CELERY_BROKER_URL = "redis://h"
    CELERY_EVENT_QUEUE_EXPIRES = 3


OWN = {
    "broker_transport_options": {"master_name": "m"},
    "broker_use_ssl": {"ssl_cert_reqs": 2},
    "event_exchange": "mine",
    "event_queue_ttl": 1.5,
    "control_exchange": "theirs",
}
# fmt: off
SETTINGS = [
    ({**OWN, "worker_concurrency": 3}, None, OWN),
    # Of RedBeat, which is not a part of Celery.
    ({"redbeat_key_prefix": "mine:"}, None, {"redbeat_key_prefix": "mine:"}),
    ({"REDBEAT_KEY_PREFIX": "old:"}, None, {"redbeat_key_prefix": "old:"}),
    ({"CELERY_REDBEAT_KEY_PREFIX": "dj:"}, "CELERY", {"redbeat_key_prefix": "dj:"}),
    ({"broker_url": "redis://w", "broker_read_url": "redis://r"}, None,
     {"broker_url": "redis://r"}),
    ({"broker_url": ["redis://a", "redis://b"]}, None, {"broker_url": "redis://a;redis://b"}),
    ({"BROKER_URL": "redis://h", "CELERY_EVENT_QUEUE_TTL": 3}, None,
     {"broker_url": "redis://h", "event_queue_ttl": 3}),
    (Django, "CELERY", {"broker_url": "redis://h", "event_queue_expires": 3}),
]
# fmt: on


@pytest.mark.parametrize(("conf", "namespace", "settings"), SETTINGS)
def test_what_the_application_sets_is_taken(conf, namespace, settings):
    assert celery_settings(app_with(conf, namespace)) == settings
    assert set(NAMES) <= set(DEFAULTS)


def test_settings_of_the_old_kind_are_put_together():
    app = Celery("x", set_as_current=False)
    app.conf.update(broker_url="broker", broker_user="bob", broker_password="s/x")
    assert celery_settings(app)["broker_url"] == "amqp://bob:s%2Fx@broker:5672//"


# fmt: off
UNLOADABLE = [
    ("bad1", "import nosuchthing\n", r"not here: nosuchthing \(.*bad1.py:1\)"),
    ("bad2", "raise SystemExit('no')\n", "SystemExit: no"),
    ("bad3", "def f(:\n", "SyntaxError"),
    ("bad4", "x = 1\n", "no Celery application in that module"),
    ("bad5", "import sys\nsys.nosuch\n", r"AttributeError: .*bad5.py:2"),
    ("bad6", "raise RuntimeError\n", "RuntimeError: no reason given"),
    ("bad7:x", "x = 1\n", "that is a int, not a Celery application"),
    ("bad8:y", "x = 1\n", "there is no y in bad8"),
    ("nosuchproject", None, "no module nosuchproject"),
    ("nosuchproject.sub:app", None, "no module nosuchproject"),
]
# fmt: on


@pytest.mark.parametrize(("name", "text", "words"), UNLOADABLE)
def test_what_cannot_be_loaded_is_said_in_one_line(project, name, text, words):
    if text is not None:
        project(f"{name.partition(':')[0]}.py", text)
    with pytest.raises(UsageError, match=words) as caught:
        celery_settings(name)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2
    assert text is not None or "PYTHONPATH" in caught.value.hint


def test_contradicting_settings_are_said_in_one_line():
    app = app_with({"BROKER_URL": "redis://h", "event_queue_ttl": 1})
    with pytest.raises(UsageError, match="ImproperlyConfigured: ") as caught:
        celery_settings(app)
    assert "\n" not in caught.value.message


def test_without_celery_the_way_out_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "celery"]:
        monkeypatch.delitem(sys.modules, name)

    class NoCelery:
        def find_spec(self, name, path=None, target=None):
            if name == "celery":
                raise ModuleNotFoundError("No module named 'celery'", name=name)

    monkeypatch.setattr(sys, "meta_path", [NoCelery(), *sys.meta_path])
    with pytest.raises(UsageError, match="Celery is not installed here") as caught:
        celery_settings("proj")
    assert "-b URL" in caught.value.hint
