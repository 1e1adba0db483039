from evtools.transport.demo.cast import CAST, FATES
from tools.rehearsal import START, Rehearsal


def test_the_cast_is_of_different_characters():
    assert len({character.hostname for character in CAST}) == 5
    assert set(FATES) < {character.hostname for character in CAST}


def lives(hostname):
    played = Rehearsal().play(300)
    return [
        (event["type"], event["timestamp"] - START)
        for event in played.of("worker-online", "worker-offline", hostname=hostname)
    ]


def test_one_worker_dies_without_a_word_and_returns():
    assert lives("reports@demo-b") == [
        ("worker-online", 0.0),
        ("worker-online", 65.0),
        ("worker-online", 185.0),
    ]


def test_one_worker_stops_when_it_is_done_and_returns():
    kinds = [kind for kind, _ in lives("w3@demo-b")]
    assert kinds == ["worker-online", "worker-offline"] * 3 + ["worker-online"]


def test_the_others_stay():
    assert lives("w1@demo-a") == [("worker-online", 0.0)]


def test_the_clock_of_one_worker_is_ahead():
    (event,) = Rehearsal().play(0).of("worker-online", hostname="images@demo-c")
    assert event["timestamp"] == START + 29
