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

    def write(name, text):
        (tmp_path / name).write_text(text)

    yield write
    for name in set(sys.modules) - before:
        if not name.startswith(("celery", "kombu", "billiard", "amqp")):
            sys.modules.pop(name)


APP = "from celery import Celery\napp = Celery('x', broker='redis://:pw@h/3')\n"


def app_with(conf, namespace=None):
    app = Celery("x", set_as_current=False)
    app.config_from_object(conf, namespace=namespace)
    return app


@pytest.mark.parametrize("name", ["proj1", "proj1:app", "proj1.app"])
def test_an_application_is_found_in_the_current_directory(project, name):
    project("proj1.py", APP)
    before = list(sys.path)
    assert celery_settings(name) == {"broker_url": "redis://:pw@h/3"}
    assert sys.path == before


def test_what_a_module_prints_does_not_get_among_the_events(project, capsys):
    project("proj2.py", f"print('hello')\n{APP}")
    celery_settings("proj2")
    assert capsys.readouterr() == ("", "hello\n")


def test_events_come_from_the_read_url():
    app = app_with({"broker_url": "redis://w", "broker_read_url": "redis://r"})
    assert celery_settings(app)["broker_url"] == "redis://r"


def test_settings_of_the_old_kind_are_put_together():
    app = Celery("x", set_as_current=False)
    app.conf.broker_url = "broker"
    app.conf.broker_user = "bob"
    app.conf.broker_password = "s/x"
    assert celery_settings(app)["broker_url"] == "amqp://bob:s%2Fx@broker:5672//"


def test_only_what_the_application_sets_is_taken():
    app = app_with(
        {
            "broker_transport_options": {"master_name": "m"},
            "broker_use_ssl": {"ssl_cert_reqs": 2},
            "event_exchange": "mine",
            "event_queue_ttl": 1.5,
            "control_exchange": "theirs",
            "worker_concurrency": 3,
        }
    )
    assert celery_settings(app) == {
        "broker_transport_options": {"master_name": "m"},
        "broker_use_ssl": {"ssl_cert_reqs": 2},
        "event_exchange": "mine",
        "event_queue_ttl": 1.5,
        "control_exchange": "theirs",
    }


def test_old_names_are_understood():
    app = app_with({"BROKER_URL": "redis://h", "CELERY_EVENT_QUEUE_TTL": 3})
    assert celery_settings(app) == {"broker_url": "redis://h", "event_queue_ttl": 3}


def test_a_namespace_is_understood():
    class Django:
        CELERY_BROKER_URL = "redis://h"
        CELERY_EVENT_QUEUE_EXPIRES = 3

    assert celery_settings(app_with(Django, namespace="CELERY")) == {
        "broker_url": "redis://h",
        "event_queue_expires": 3,
    }


def test_every_name_is_a_setting_of_celery():
    assert set(NAMES) <= set(DEFAULTS)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("bad1", "import nosuchthing\n", r"not here: nosuchthing \(.*bad1.py:1\)"),
        ("bad2", "raise SystemExit('no')\n", "SystemExit: no"),
        ("bad3", "def f(:\n", "SyntaxError"),
        ("bad4", "x = 1\n", "no Celery application in that module"),
        ("bad5", "import sys\nsys.nosuch\n", r"AttributeError: .*bad5.py:2"),
        ("bad6", "raise RuntimeError\n", "RuntimeError: no reason given"),
        ("bad7:x", "x = 1\n", "that is a int, not a Celery application"),
        ("bad8:y", "x = 1\n", "there is no y in bad8"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(project, name, text, words):
    project(f"{name.partition(':')[0]}.py", text)
    with pytest.raises(UsageError, match=words) as caught:
        celery_settings(name)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["nosuchproject", "nosuchproject.sub:app"])
def test_a_module_that_is_not_there_is_looked_for_in_named_places(project, name):
    with pytest.raises(UsageError, match="no module nosuchproject") as caught:
        celery_settings(name)
    assert "PYTHONPATH" in caught.value.hint


def test_contradicting_settings_are_told_in_one_line():
    app = app_with({"BROKER_URL": "redis://h", "event_queue_ttl": 1})
    with pytest.raises(UsageError, match="ImproperlyConfigured: ") as caught:
        celery_settings(app)
    assert "\n" not in caught.value.message


def test_without_celery_the_way_out_is_told(monkeypatch):
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
