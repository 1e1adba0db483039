"""Recordings that are replayed: which files, from when to when, however written."""

import gzip
import json
from datetime import datetime
from functools import partial

import pytest
import zstandard

from evtools.wire import encode_line, envelope

#: 20 Nov 2026, 20:00 in Stockholm.
EIGHT = 1_795_201_200.0
MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture(autouse=True)
def stockholm(in_zone):
    in_zone("Europe/Stockholm")


def line(uuid, moment):
    event = {"type": "task-received", "hostname": "celery@one", "uuid": uuid, "name": "shop.pay"}
    event |= {"kwargs": "{'a': 1", "timestamp": moment - 0.01, "local_received": moment}
    return encode_line(envelope(event)) + b"\n"


def lines(begin, end, *, every=MINUTE):
    """Return a line for each minute; the uuid is the local time."""
    moments = [begin + number * every for number in range(int((end - begin) / every) + 1)]
    return b"".join(line(f"{datetime.fromtimestamp(m):%d-%H:%M}", m) for m in moments)  # noqa: DTZ006


@pytest.fixture
def evening(tmp_path):
    """Return the name of a recording of an hour."""
    path = tmp_path / "evening.jsonl"
    path.write_bytes(lines(EIGHT, EIGHT + HOUR))
    return str(path)


@pytest.fixture
def shown(cli, top, cam, tmp_path):
    """Return the ids of the tasks that a tool shows, sorted, and what it says."""

    def show(tool, *words):
        if tool == "cam":
            shots = tmp_path / "shots"
            shots.unlink(missing_ok=True)
            words = ["--read" if word == "-r" else word for word in words]
            camera = ("-c", f"jsonl:{shots}", "--camera-option", "tasks=all", "-F", "1000d")
            ended = cam(*camera, *words)
            last = shots.read_text().splitlines()[-1] if shots.exists() else "{}"
            tasks = json.loads(last).get("tasks", ())
        else:
            run = cli if tool == "dump" else partial(top, "-B")
            ended = run(*words, "-o", "json")
            tasks = map(json.loads, ended.out.splitlines())
        return sorted(task["uuid"] for task in tasks), ended

    return show


tools = pytest.mark.parametrize("tool", ["dump", "top", "cam"])

# --- when -------------------------------------------------------------------------


@tools
def test_a_time_of_day_is_one_of_the_recording(shown, evening, tool):
    ids, _ = shown(tool, "-r", evening, "-S", "20:57", "-U", "20:58")
    assert ids == ["20-20:57", "20-20:58"]
    ids, _ = shown(tool, "-r", evening, "-U", "20:01")
    assert ids == ["20-20:00", "20-20:01"]
    ids, _ = shown(tool, "-r", evening, "-S", "19:59Z")
    assert ids == ["20-20:59", "20-21:00"]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (("-S", "23:30", "-U", "0:10"), ["20-23:30", "20-23:50", "21-00:10"]),
        # Before the recording begins, but on the next day it goes on until then.
        (("-S", "1:30"), ["21-01:30", "21-01:50"]),
        # Before the recording begins on any day: all of it.
        (("-S", "19:00", "-U", "20:20"), ["20-20:00", "20-20:10", "20-20:20"]),
        (("-S", "2026-11-21T01:40", "-U", "1:50"), ["21-01:50"]),
    ],
)
def test_a_time_of_day_after_midnight_is_of_the_next_day(shown, tmp_path, wanted, ids):
    path = tmp_path / "night.jsonl.gz"
    path.write_bytes(
        gzip.compress(
            lines(EIGHT, EIGHT + 20 * MINUTE, every=10 * MINUTE)
            + lines(EIGHT + 3.5 * HOUR, EIGHT + 6 * HOUR, every=20 * MINUTE)
        )
    )
    assert shown("dump", "-r", str(path), *wanted)[0] == ids


@pytest.mark.parametrize(
    ("tool", "words", "told"),
    [
        *((tool, ("-S", "21:30", "-U", "21:40"),
           ("0 of 61 events from 2026-11-20 21:30:00 to 2026-11-20 21:40:00; the recording goes"
           " from 2026-11-20 20:00:00 to 2026-11-20 21:00:00")) for tool in ("dump", "top", "cam")),
        ("dump", ("state:failure",),
         "0 of 61 events; the recording goes from 2026-11-20 20:00:00"),
    ],
)  # fmt: skip
def test_where_nothing_is_shown_it_says_what_there_is(shown, evening, tool, words, told):
    ids, ended = shown(tool, "-r", evening, *words)
    assert ids == []
    assert told in ended.err


def test_nothing_is_left_out_by_where_it_stands(shown, tmp_path):
    """Lines out of order, of other programs, and such as look like others."""
    nested = {"type": "task-x", "uuid": "nested", "timestamp": EIGHT}
    bare = {"uuid": "bare", "timestamp": EIGHT + 5, "type": "task-sent"}
    path = tmp_path / "odd.jsonl"
    content = [
        lines(EIGHT + HOUR, EIGHT + 2 * HOUR),
        line("late", EIGHT),
        json.dumps(nested | {"info": {"local_received": 1.0}}).encode() + b"\n",
        json.dumps(bare).encode() + b"\n",
        json.dumps({"info": {"timestamp": 7}, "uuid": "no-time", "type": "task-x"}),
    ]
    path.write_bytes(b"".join(c if isinstance(c, bytes) else c.encode() for c in content))
    ids, _ = shown("dump", "-r", str(path), "-U", str(EIGHT + 10))
    assert ids == ["bare", "late", "nested", "no-time"]
    ids, _ = shown("dump", "-r", str(path), "-S", str(EIGHT + 2), "-U", str(EIGHT + 10))
    assert ids == ["bare", "no-time"]


# --- which files ------------------------------------------------------------------


@tools
def test_several_recordings_are_replayed_as_one(shown, tmp_path, tool):
    (tmp_path / "b.jsonl").write_bytes(lines(EIGHT, EIGHT + MINUTE))
    later = lines(EIGHT + HOUR, EIGHT + HOUR + MINUTE)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(later))
    words = ("-r", str(tmp_path / "a.jsonl.gz"), "-r", str(tmp_path / "b.jsonl"))
    assert shown(tool, *words)[0] == ["20-20:00", "20-20:01", "20-21:00", "20-21:01"]
    words = ("-r", str(tmp_path / "*.jsonl*"), "-U", "20:59")
    assert shown(tool, *words)[0] == ["20-20:00", "20-20:01"]


def test_what_several_recordings_have_comes_in_order_of_time(cli, tmp_path):
    """As rotation names them, overlapping, packed and not, each file once."""
    pieces = {
        "r.jsonl": lines(EIGHT + 6 * MINUTE, EIGHT + 9 * MINUTE),
        "r.jsonl.1": lines(EIGHT + 3 * MINUTE, EIGHT + 7 * MINUTE, every=2 * MINUTE),
        "r.jsonl.2": lines(EIGHT, EIGHT + 2 * MINUTE),
        "r.3.jsonl": b"",
    }
    for name, content in pieces.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "r.jsonl.1.zst").write_bytes(
        zstandard.compress(lines(EIGHT + 4 * MINUTE, EIGHT + 8 * MINUTE))
    )
    ended = cli("-r", f"{tmp_path}/r*", "-r", f"{tmp_path}/r.jsonl", "-o", "json")
    ids = [json.loads(text)["uuid"] for text in ended.out.splitlines()]
    minutes = [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9]
    assert ids == [f"20-20:{minute:02}" for minute in minutes]
    assert "15 captured" in ended.err


@tools
def test_of_several_recordings_those_that_can_be_are_read(shown, tmp_path, evening, tool):
    (tmp_path / "locked.jsonl").mkdir()
    (tmp_path / "notes").write_text("buy milk\n" * 3)
    (tmp_path / "torn.jsonl").write_bytes(line("last", EIGHT)[:-20])
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(lines(EIGHT, EIGHT + MINUTE))[:-9])
    names = ("gone.jsonl", "gone-*.jsonl", "locked.jsonl", "notes", "torn.jsonl", "cut.jsonl.gz")
    words = [word for name in names for word in ("-r", str(tmp_path / name))]
    ids, ended = shown(tool, *words, "-r", evening, "-U", "20:01")
    assert (sorted({*ids}), ended.status) == (["20-20:00", "20-20:01"], 0)
    for name, why in zip(names, (
        "No such file or directory", "no file has such a name", "Is a directory", "no recording",
    ), strict=False):  # fmt: skip
        (told,) = [text for text in ended.err.splitlines() if name in text]
        assert "left out: " in told
        assert why in told
    # Its lines are not reported as well.
    assert "buy milk" not in ended.err
    assert "Traceback" not in ended.err
    if tool != "cam":
        assert f"torn last line of {tmp_path / 'torn.jsonl'}" in ended.err
        assert f"damaged recording {tmp_path / 'cut.jsonl.gz'}" in ended.err
    # If there is none, that is an error.
    ids, ended = shown(tool, *words[:8])
    assert (ids, ended.status) == ([], 2)
    assert "notes is no recording: no JSON" in ended.err
    ids, ended = shown(tool, *words[:6])
    assert ended.status == 2
    assert "cannot read" in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-r", "-", "-r", "evening.jsonl"), "stdin cannot be replayed together with files"),
        (("-r", "no*"), "notes is no recording: no JSON"),
        (("-r", "even*.jsonl", "-w", "evening.jsonl"), "would overwrite what -r reads"),
    ],
)
def test_recordings_that_cannot_be_are_named(cli, tmp_path, evening, words, message):
    (tmp_path / "notes").write_text("buy milk\n")
    ended = cli(*words)
    assert ended.status == 2
    assert message in ended.err


def test_a_pattern_that_the_shell_took_apart_is_no_filter(cli, top, tmp_path):
    """`-r rec-*.jsonl` without quotes makes all files but the first filters."""
    names = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.jsonl")]
    for name in names:
        (tmp_path / name).write_bytes(lines(EIGHT, EIGHT))
    for ended in (cli("-r", *names), top("-B", "-r", *names)):
        assert ended.status == 2
        assert f"{names[1]} is a file, not a filter" in ended.err
        assert "-r 'rec-*.jsonl'" in ended.err


@pytest.mark.parametrize(
    ("tool", "words", "message"),
    [
        ("dump", "-r {0} -F state:failure", "the filter itself needs no option"),
        ("top", "-r {0} -F {0}", "that is a file, and -F is a filter here"),
        ("top", "-r {0} -F 2.5s", "the refresh interval is -d 2.5s"),
        ("cam", "-r {0} -F state:failure",
         "-F is the frequency, as in celery events; a filter: --filter"),
    ],
)  # fmt: skip
def test_a_letter_of_another_tool_is_explained(shown, evening, tool, words, message):
    _, ended = shown(tool, *words.format(evening).split())
    assert ended.status == 2
    assert message in ended.err


# --- as Windows writes them ---------------------------------------------------------


def as_windows(text, encoding="utf-8-sig"):
    return text.replace("\n", "\r\n").encode(encoding)


written = pytest.mark.parametrize(
    "write",
    [
        str.encode,
        partial(str.encode, encoding="utf-8-sig"),
        as_windows,
        partial(as_windows, encoding="utf-16"),
        partial(str.encode, encoding="utf-16-le"),
    ],
    ids=range(5),
)


@written
def test_a_recording_may_come_from_windows(shown, tmp_path, write):
    path = tmp_path / "rec.jsonl"
    path.write_bytes(write(lines(EIGHT, EIGHT + 2 * MINUTE).decode()))
    ids, ended = shown("dump", "-r", str(path))
    assert ids == ["20-20:00", "20-20:01", "20-20:02"]
    assert "left out" not in ended.err


def test_recordings_with_marks_may_be_joined(shown, tmp_path):
    path = tmp_path / "rec.jsonl"
    path.write_bytes(lines(EIGHT, EIGHT).decode().encode("utf-8-sig") * 2)
    assert shown("dump", "-r", str(path))[0] == ["20-20:00"] * 2


@written
def test_files_of_options_may_come_from_windows(cli, tmp_path, write):
    recording = tmp_path / "rec.jsonl"
    recording.write_bytes(lines(EIGHT, EIGHT + 2 * MINUTE))
    (tmp_path / "filter").write_bytes(write("# one\nuuid=20-20:01\n"))
    (tmp_path / "template").write_bytes(write("{uuid}"))
    (tmp_path / "url").write_bytes(write("redis://example.invalid/7\n"))
    (tmp_path / "set.toml").write_bytes(write("[evdump]\nts = 'utc'\n"))
    ended = cli("-r", str(recording), "-F", f"{tmp_path}/filter", "-o", "json")
    assert json.loads(ended.out)["uuid"] == "20-20:01"
    ended = cli("-r", str(recording), "-T", f"{tmp_path}/template")
    assert ended.out.splitlines() == ["20-20:00", "20-20:01", "20-20:02"]
    ended = cli("-b", f"@{tmp_path}/url", "--show-config")
    assert '"redis://example.invalid/7"' in ended.out
    ended = cli("--config", f"{tmp_path}/set.toml", "--show-config")
    assert '= "utc"' in ended.out


def test_a_file_of_no_text_is_one_line(cli, tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    for words in (("-F", str(path)), ("-b", f"@{path}"), ("--config", str(path))):
        ended = cli(*words, "--demo", "-c", "1")
        assert ended.status in (2, 78)
        assert f"{path}: not text in UTF-8 or UTF-16" in ended.err
