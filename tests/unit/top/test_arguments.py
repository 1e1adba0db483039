import pytest

from evtools.top import arguments


@pytest.mark.parametrize("text", ["10", "10/s", " 100/m ", "5/h", "0", "0.5/s"])
def test_rates_are_taken_as_workers_read_them(text):
    assert arguments.rate(text) == text.strip()


@pytest.mark.parametrize("text", ["", "fast", "10/d", "-1", "1e3", "10 / s", "\u0661"])
def test_other_rates_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is no rate"):
        arguments.rate(text)


def test_limits_are_durations_or_none():
    assert arguments.limit("") is arguments.limit("  ") is None
    assert arguments.limit("1m30s") == 90
    for text in ("0", "soon"):
        with pytest.raises(ValueError, match=r"longer than nothing|invalid duration"):
            arguments.limit(text)


def test_processes_are_counted():
    assert arguments.processes(" 3 ") == 3
    assert arguments.least_processes("0") == 0
    assert arguments.least_processes("2") == 2


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1.5", "\u0663", "1001", "9" * 999])
def test_other_numbers_of_processes_are_refused(text):
    with pytest.raises(ValueError, match=r"no whole number|the most at once"):
        arguments.processes(text)


def test_a_queue_has_a_name_that_can_be_seen():
    assert arguments.queue(" mail ") == "mail"
    for text in ("", "a\nb", "\x1b[31m", "x" * 256):
        with pytest.raises(ValueError, match=r"no name of a queue|longer than"):
            arguments.queue(text)


def test_a_worker_is_called_by_its_full_name():
    assert arguments.node("w1@host") == "w1@host"
    with pytest.raises(ValueError, match="is no worker"):
        arguments.node("w1")


def test_signals_are_known_by_their_names():
    assert arguments.signal_name("sigkill") == "SIGKILL"
    assert arguments.signal_name("term") == "SIGTERM"
    with pytest.raises(ValueError, match="is none of SIGTERM"):
        arguments.signal_name("SIGSTOP")


def test_nothing_dangerous_is_quoted_back():
    with pytest.raises(ValueError, match=r"no rate") as caught:
        arguments.rate("\x1b]0;x\x07" * 100)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300
