"""The main loop of evdump: what goes where, when it ends, and with which status."""

import gc
import json
import signal
from contextlib import ExitStack

import pytest

from evtools.dump.app import TICK, Dump, Signals, run
from evtools.dump.options import DumpOptions
from evtools.errors import AccessRefused, BrokerUnavailable, FilterError, OutputError, UsageError
from evtools.transport import ConnectionSettings, Statistics
from evtools.transport.source import DOCTOR
from evtools.wire import Defect, Event, encode_line, envelope
from tools.clock import FakeClock
from tools.gaps import gap
from tools.typed import event_of


class ScriptedSource:
    """A source that plays a script: batches, what to call, what to raise.

    `stop` ends it after what is left.
    """

    def __init__(self, script):
        self.script = list(script)
        self.stopped = False
        self.defects = ()

    def events(self, timeout):
        assert timeout == TICK
        for item in self.script:
            if isinstance(item, Exception):
                raise item
            batch = item() or [] if callable(item) else item
            if self.stopped and not batch:
                return
            yield [e if isinstance(e, Event) else event_of(e) for e in batch]

    def statistics(self):
        return Statistics(defects=self.defects)

    def stop(self):
        self.stopped = True


class Run:
    """One run of the main loop on a script, with counters as JSON on stderr."""

    def __init__(self, folder, script, capsys, **options):
        self.clock = FakeClock(1000.0)
        self.capsys, self._stderr = capsys, ""
        self.source = ScriptedSource(script)
        self.file = folder / "rec.jsonl"
        options.setdefault("write", str(self.file))
        self.options = DumpOptions(print=False, stats="json", **options)
        self.signals = Signals(self.source.stop, self.clock, reopen_on_hangup=True)

    def __call__(self):
        with ExitStack() as stack:
            dump = Dump(self.options, self.clock)
            dump.open(self.source, stack)
            return dump.run(self.signals)

    def signal(self, number):
        return lambda: self.signals.handlers[number](number, None)

    @property
    def stderr(self):
        self._stderr += self.capsys.readouterr().err
        return self._stderr

    def later(self, seconds):
        def move():
            self.clock.now += seconds

        return move

    @property
    def written(self):
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    @property
    def types(self):
        return [event["type"] for event in self.written]

    @property
    def summaries(self):
        lines = self.stderr.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
def scripted(tmp_path, capsys):
    def make(*script, **options):
        return Run(tmp_path, script, capsys, **options)

    return make


A, B, BEAT = {"type": "task-a"}, {"type": "task-b"}, {"type": "worker-heartbeat"}


LETTERS = {"a": A, "b": B, "h": BEAT, "g": {"type": "evdump-gap"}}
WITHOUT_B = {"excludes": ("type:*-b",)}


@pytest.mark.parametrize(("script", "options", "status", "written"), [
    (["ab", "", "h"], {}, 0, "abh"), (["abh"], {**WITHOUT_B, "heartbeats": False}, 0, "a"),
    (["abh"], {**WITHOUT_B, "filters": ("type:task-*",)}, 0, "a"),
    # It ends in the middle of a batch, and a gap is no event.
    (["abab"], {"count": 3}, 0, "aba"), (["gab"], {"count": 1}, 0, "ga"),
    # What had arrived when time was up is still written.
    (["a", 9, "a", 1, "b", "", "a"], {"timeout": 10.0}, 0, "aab"),
    (["a", 9, "a", 1, "b", "", "a"], {"timeout": 10.0, "count": 5}, 124, "aab"),
    ([4, "a", 4, "a", 5, "", "b"], {"idle": 5.0}, 0, "aa"),
    ([4, "a", 4, "a", 5, "", "b"], {"idle": 5.0, "count": 5}, 124, "aa"),
    (["ab"], {"expect": "type:task-b"}, 0, "ab"), (["ab"], {"expect": "type:x"}, 1, "ab"),
    # A timeout is worse than what was not seen.
    ([2, ""], {"timeout": 1.0, "count": 1, "expect": "type:x"}, 124, ""),
])  # fmt: skip
def test_what_matches_is_written_and_counted_until_the_end(
    scripted, script, options, status, written
):
    run = scripted(**options)
    run.source.script = [
        run.later(item) if isinstance(item, int) else [LETTERS[letter] for letter in item]
        for item in script
    ]
    assert run() == status
    assert run.types == [LETTERS[letter]["type"] for letter in written]
    (summary,) = run.summaries
    assert summary["matched"] == len(written.replace("g", ""))
    assert summary["expected"] == ("task-b" in options.get("expect", ""))
    if script == ["abh"]:
        assert summary["captured"] == 3


@pytest.mark.parametrize("read", [(), ("x.jsonl",)])
def test_that_nothing_comes_is_told_once_and_of_a_broker_only(scripted, read):
    run = scripted([], read=read)
    run.source.script += [run.later(10), [], run.later(10)]
    assert run() == 0
    assert run.stderr.count(DOCTOR) == (0 if read else 1)


RECEIVED = {"type": "task-received", "uuid": "u1", "name": "proj.add", "args": "(4411,)"}
FAILED = {"type": "task-failed", "uuid": "u1", "exception": "card 4411"}


@pytest.mark.parametrize("redact", [(), ("/4411/",)])
def test_events_are_joined_and_masked(scripted, redact):
    run = scripted([RECEIVED], [FAILED], redact=redact)
    assert run() == 0
    received, failed = run.written
    masked = "***" if redact else "4411"
    assert received["args"] == failed["args"] == f"({masked},)"
    assert failed["exception"] == f"card {masked}"
    assert failed["joined"] == ["name", "args"]


def test_the_same_task_in_two_clusters_is_two_tasks(scripted):
    prod, eu, us = event_of(RECEIVED), event_of({**RECEIVED, "args": "(5,)"}), event_of(FAILED)
    prod.cluster, eu.cluster, us.cluster = "prod", "eu", "us"
    run = scripted([prod], [eu], [us])
    assert run() == 0
    assert [(each["cluster"], each.get("args")) for each in run.written] == [
        ("prod", "(4411,)"), ("eu", "(5,)"), ("us", None),
    ]  # fmt: skip


def test_an_end_asked_for_by_a_signal_is_no_timeout(scripted):
    run = scripted(timeout=10.0, count=5)

    def interrupt():
        run.signal(signal.SIGTERM)()
        run.clock.now += 20
        return [B]

    run.source.script = [[A], interrupt]
    assert run() == 0


def test_holes_are_written_and_counted_whatever_the_filters_are(scripted):
    run = scripted(
        [
            gap("reconnect", 10.0, 12.5, error="refused"),
            gap("stopped", 20.0, 21.0),
            gap("buffer", 30.0, 31.0, dropped=70),
            gap("buffer", 30.0, 31.0, dropped="many"),
            gap("worker", 40.0, 40.0, hostname="w1", missed=3),
            {"type": "evdump-gap"},
        ],
        filters=("type:task-a",),
    )
    assert run() == 0
    assert run.types == ["evdump-gap"] * 6
    (summary,) = run.summaries
    assert summary["captured"] == 0
    assert (summary["gaps"], summary["gap_seconds"]) == (3, 3.5)
    assert (summary["lost"], summary["missed"]) == (70, 3)


def test_the_counters_are_told_while_it_goes_on(scripted):
    run = scripted()
    run.source.script = [[A], run.signal(signal.SIGUSR1), [B]]
    assert run() == 0
    assert [summary["captured"] for summary in run.summaries] == [1, 2]


def test_a_new_file_is_begun_when_asked(scripted):
    run = scripted()

    def move():
        run.file.rename(run.file.with_name("moved"))
        run.signal(signal.SIGHUP)()

    run.source.script = [[A], move, [B]]
    assert run() == 0
    assert run.types == ["task-b"]
    assert "task-a" in run.file.with_name("moved").read_text()


@pytest.mark.parametrize("later", [[[B]], []])
def test_a_stop_is_a_hole_even_just_before_the_end(scripted, later):
    run = scripted()

    def stop():
        run.signals.stopped.append((5.0, 9.0))
        if not later:
            run.source.stop()

    run.source.script = [[A], stop, *later]
    assert run() == 0
    assert run.types == ["task-a", "evdump-gap", "task-b"][: 2 + len(later)]
    assert run.written[1]["reason"] == "stopped"
    assert run.written[1]["duration"] == 4.0
    assert "stopped for 4.0s" in run.stderr


def test_ill_formed_input_is_told(scripted):
    run = scripted([{"type": "custom"}])
    run.source.defects = (Defect("no JSON", b"\xff", count=1),)
    assert run() == 0
    assert "left out: no JSON" in run.stderr
    assert run.summaries[0]["malformed"] == {"no JSON": 1}


def test_why_nothing_matched_is_told(scripted):
    run = scripted([A, B], filters=("queue:mail name=x",))
    assert run() == 0
    assert "queue: unknown" in run.stderr
    assert "= is exact" in run.stderr


def test_a_broker_lost_for_good_ends_it_with_what_it_had(scripted):
    run = scripted([A], BrokerUnavailable("gone"))
    with pytest.raises(BrokerUnavailable):
        run()
    assert run.types == ["task-a"]
    assert run.summaries[0]["captured"] == 1


def test_where_there_was_nothing_there_is_nothing_to_sum_up(scripted):
    run = scripted(AccessRefused("no"))
    with pytest.raises(AccessRefused):
        run()
    assert run.stderr == ""


def test_a_full_disk_is_not_told_twice(scripted):
    run = scripted([A] * 3, write="/dev/full")
    with pytest.raises(OutputError):
        run()
    assert run.stderr == ""


def test_lines_are_written_at_once_when_wanted(scripted):
    sizes = []
    for line_buffered in (False, True):
        run = scripted(line_buffered=line_buffered)
        look = run.file
        run.source.script = [[A], lambda look=look: sizes.append(look.stat().st_size)]
        assert run() == 0
    assert sizes[0] == 0
    assert sizes[1] > 0


# --- from options -------------------------------------------------------------------


@pytest.fixture(autouse=True)
def as_it_was():
    """Put the garbage collector back as it was."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.fixture
def tape(tmp_path):
    path = tmp_path / "tape.jsonl"
    lines = [{"type": "task-failed", "uuid": "u1", "exception": "X"}, BEAT]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def dumped(capfd, **options):
    status = run(DumpOptions(**options), [ConnectionSettings()])
    out, err = capfd.readouterr()
    return status, out, err


def test_a_recording_is_printed(tape, capfd):
    status, out, err = dumped(capfd, read=(str(tape),), timestamps="none")
    assert status == 0
    assert out == "FAIL   -  ?[u1]  X\nbeat   -\n"
    assert err.startswith("evdump: 2 captured, 2 matched")


def test_what_was_recorded_looks_as_it_did(tape, capfd):
    lines = [
        encode_line(envelope({"type": "task-received", "uuid": "u1", "args": "(4411,)"})),
        encode_line(envelope({"type": "task-failed", "uuid": "u1"}, {"name": "card 4411"})),
        encode_line(envelope({"type": "task-started", "uuid": "u1"})),
    ]
    tape.write_bytes(b"".join(line + b"\n" for line in lines))
    _, out, _ = dumped(capfd, read=(str(tape),), output="json")
    assert out.encode() == tape.read_bytes()
    _, out, _ = dumped(capfd, read=(str(tape),), output="json", redact=("/4411/",))
    assert out == tape.read_text().replace("4411", "***")


def test_recordings_of_several_clusters_are_one_stream_that_says_which(tmp_path, capfd):
    beat = {"type": "worker-heartbeat", "hostname": "w", "cluster": "own"}
    failed = {"type": "task-failed", "uuid": "u", "hostname": "w"}
    received = {**failed, "type": "task-received", "name": "t"}
    hole = gap("reconnect", 1.0, 5.0)
    lines = {
        "old.jsonl": [envelope({**failed, "local_received": 1.0}), {**beat, "local_received": 2.0}],
        "new.jsonl": [
            envelope({**received, "local_received": 3.0}, {}, "prod"),
            # In another cluster it is another task, also for what is joined.
            envelope({**failed, "local_received": 4.0}, {}, "europe"), envelope(hole, {}, "prod"),
            envelope({**beat, "local_received": 6.0}, {}, "europe"),
        ],
    }  # fmt: skip
    for name, objects in lines.items():
        (tmp_path / name).write_bytes(b"".join(encode_line(each) + b"\n" for each in objects))
    read = (str(tmp_path / "*.jsonl"),)
    _, out, _ = dumped(capfd, read=read, output="json")
    assert list(map(json.loads, out.splitlines())) == [
        lines["old.jsonl"][0], envelope(lines["old.jsonl"][1]), *lines["new.jsonl"],
    ]  # fmt: skip
    _, out, _ = dumped(capfd, read=read, timestamps="none")
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["-", "FAIL", "w"], ["-", "beat", "w"], ["prod", "RECV", "w"], ["europe", "FAIL", "w"],
        ["prod", "GAP", "4.00s"], ["europe", "beat", "w"],
    ]  # fmt: skip
    assert {line.index(line.split()[1]) for line in out.splitlines()} == {len("europe ")}
    _, out, _ = dumped(capfd, read=read, output="csv", filters=("cluster:eu*",))
    header, *rows = out.splitlines()
    assert header.endswith(",fields,cluster")
    assert [row.rpartition(",")[2] for row in rows] == ["europe", "prod", "europe"]
    _, out, _ = dumped(capfd, read=read, output="raw", filters=("cluster:europe",), redact=("x",))
    assert [json.loads(line).get("cluster") for line in out.splitlines()] == [None, None, "own"]


@pytest.mark.parametrize(("options", "error"), [
    ({"filters": ("state:(",)}, FilterError), ({"excludes": ("runtme>2",)}, FilterError),
    ({"expect": "("}, FilterError), ({"highlight": "(["}, UsageError),
    ({"output": "template", "template": "{type"}, UsageError),
    ({"read": ("/no/such/file",)}, UsageError),
])  # fmt: skip
def test_a_mistake_is_found_before_a_file_is_touched(tape, tmp_path, options, error):
    precious = tmp_path / "precious"
    precious.write_text("here before")
    options = {"read": (str(tape),), "write": str(precious), **options}
    with pytest.raises(error):
        run(DumpOptions(**options), [ConnectionSettings()])
    assert precious.read_text() == "here before"
