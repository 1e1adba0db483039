import pytest

from evtools.doctor.case import Case
from evtools.doctor.netprobe import Place
from evtools.doctor.options import DoctorOptions
from evtools.transport import ConnectionSettings
from tools.clock import FakeClock


@pytest.fixture
def new():
    return Case(ConnectionSettings(), DoctorOptions(), FakeClock())


def test_the_first_address_that_passed_is_used(new):
    assert new.attempt == 0
    new.places = {2: Place("c", 1), 1: Place("b", 1)}
    assert new.attempt == 1


def test_nothing_is_known_before_the_checks(new):
    with pytest.raises(AssertionError):
        new.examination  # noqa: B018  (a property that asserts)
    assert new.observation.nodes == []
    new.close()


def test_who_has_no_exchange_or_no_right_cannot_listen(new):
    assert new.can_listen
    new.exchange_exists = False
    assert not new.can_listen
    new.exchange_exists, new.may_listen = True, False
    assert not new.can_listen


def test_the_broker_is_left(case, fake):
    broker = fake()
    case(broker).close()
    assert broker.closed
