"""The catalogue: names as users of other exporters know them."""

from pathlib import Path

from evtools.cam.metrics import catalogue
from evtools.cam.metrics.catalogue import COUNTERS, RUNTIME, UP, WAIT, Entry, Scheme
from evtools.cam.metrics.steps import STEPS

MANUAL = Path(__file__).parents[4] / "man" / "evcam.1"


def entries():
    found = [each for each in vars(catalogue).values() if isinstance(each, Entry)]
    return [*COUNTERS.values(), *found]


def test_every_step_has_a_counter():
    assert tuple(COUNTERS) == STEPS


def test_no_name_comes_twice():
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))


def test_helps_are_one_line_of_plain_text():
    for entry in entries():
        assert entry.help.isascii()
        assert entry.help.isprintable()
        assert not set(entry.help) & set('"\\')
        assert entry.help.endswith(".")


def test_names_are_those_of_celery_exporter():
    scheme = Scheme()
    assert scheme.about(COUNTERS["failed"]).name == "celery_task_failed"
    assert scheme.about(COUNTERS["failed"]).labels == (*("name", "queue_name", "exception"),)
    assert scheme.about(UP).name == "celery_worker_up"


def test_workers_are_labels_if_asked_for_and_never_of_what_queues_do():
    scheme = Scheme(hostname=True, max_series=7)
    assert scheme.about(RUNTIME).labels == ("name", "queue_name", "hostname")
    assert scheme.about(RUNTIME).max_series == 7
    assert scheme.about(WAIT).labels == ("name", "queue_name")


def test_the_manual_has_every_name():
    manual = MANUAL.read_text().replace("\\-", "-")
    words = set(manual.replace(",", " ").split())
    for entry in entries():
        counts = entry in COUNTERS.values() or entry is catalogue.FOLDED
        assert entry.name + ("_total" if counts else "") in words
