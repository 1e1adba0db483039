import contextlib

import pytest

from evtools.doctor.inspect.base import Ground, Leftover
from evtools.doctor.inspect.other import PlainExamination
from evtools.transport import ConnectionSettings, connect


@pytest.fixture
def examination():
    settings = ConnectionSettings(urls="memory://", event_exchange="blue")
    with contextlib.closing(PlainExamination(connect(settings), settings)) as made:
        yield made


def test_little_is_known_and_nothing_claimed(examination):
    examination.begin()
    assert examination.server == "memory"
    assert examination.ground() == Ground("exchange blue")
    assert examination.has_mailboxes()
    assert examination.rights() == []
    assert examination.elsewhere() == []
    assert "cannot be asked" in examination.leftovers(["x"]).gap


def test_nothing_is_removed(examination):
    assert "not ours" in examination.remove(Leftover("queue", "x", free=True))
