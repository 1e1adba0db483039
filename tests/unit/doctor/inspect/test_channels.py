import pytest

from evtools.doctor.inspect.redis import Naming, difference

OURS = Naming(("/0.celeryev",), exchange="celeryev", database=0, keyprefix="", by_key=True)


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("/0.celeryev/worker.heartbeat", ""),
        ("/1.celeryev/worker.heartbeat", "-b 1"),
        ("/0.blue/worker.online", "--event-exchange blue"),
        ("/2.blue/task.multi", "-b 2 --event-exchange blue"),
        ("app./0.celeryev/worker.heartbeat", "--global-keyprefix app."),
        ("/0.celeryev", "--no-fanout-patterns"),
        ("/3.celeryev", "-b 3 --no-fanout-patterns"),
        ("celeryev/worker.heartbeat", "--fanout-prefix off"),
        ("app-celeryev/worker.heartbeat", "--fanout-prefix app-"),
        ("/{db}.celeryev/worker.heartbeat", "--fanout-prefix /{{db}}."),
        ("{shop}celeryev/task.sent", "--fanout-prefix {{shop}}"),
        ("blue/worker.heartbeat", "--event-exchange blue --fanout-prefix off"),
        (
            "news/worker.x?",
            "--event-exchange news/worker.x? --fanout-prefix off --no-fanout-patterns",
        ),
        ("/99999999.x/worker.online", "--event-exchange /99999999.x --fanout-prefix off"),
    ],
)
def test_options_lead_from_our_channels_to_others(channel, words):
    assert " ".join(difference(OURS, channel)) == words


def test_from_a_prefix_of_our_own_the_usual_one_is_on():
    ours = Naming(("celeryev",), exchange="celeryev", database=0, keyprefix="", by_key=False)
    channel = "/0.celeryev/worker.heartbeat"
    words = ("--fanout-prefix", "on", "--fanout-patterns")
    assert difference(ours, channel) == words
    assert difference(ours, "celeryev") == ()


def test_with_an_exchange_of_our_own_the_usual_one_is_recognised():
    ours = Naming("/0.blue", exchange="blue", database=0, keyprefix="", by_key=True)
    words = ("--event-exchange", "celeryev", "--fanout-prefix", "x.")
    assert difference(ours, "x.celeryev/worker.heartbeat") == words
