"""Filters as those write them who come from other tools: understood, or corrected."""

import json

import pytest

from evtools.wire import encode_line, envelope

NOW = 1_795_201_200.0
COMMON = {"hostname": "celery@web-1", "pid": 7, "clock": 1}
#: What each task is known by, and its last event.
TASKS = {
    "ok": ("proj.add", "task-succeeded", {"result": "3", "runtime": 0.5}),
    "slow": ("proj.report", "task-succeeded", {"result": "9", "runtime": 4.0}),
    "card": (
        "tasks.charge",
        "task-failed",
        {"exception": "CardError('and declined')", "traceback": "Traceback"},
    ),
    "again": ("tasks.charge", "task-retried", {"exception": "pay.TimeOut('5 s')"}),
    "runs": ("tasks.send_failed_mail", "task-started", {}),
    "waits": ("tasks.or", "task-received", {}),
}
EVERYTHING = set(TASKS)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Return a recording in which each task is received, started, and has its end."""
    path = tmp_path_factory.mktemp("asked") / "day.jsonl"
    lines = []
    for number, (uuid, (name, kind, more)) in enumerate(TASKS.items()):
        begun = {"uuid": uuid, "name": name, "args": f"({number},)", "retries": 0}
        begun["kwargs"] = f"{{'user_id': {40 + number}, 'to': 'a b'}}"
        steps = {"task-received": begun}
        if kind != "task-received":
            steps |= {"task-started": {"uuid": uuid}, kind: {"uuid": uuid, **more}}
        for step, (type_, fields) in enumerate(steps.items()):
            moment = NOW + number + step / 10
            event = {"type": type_, **COMMON, **fields, "timestamp": moment}
            lines.append(encode_line(envelope(event | {"local_received": moment})))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


@pytest.fixture
def asked(top, recording):
    """Ask evtop for tasks; return their ids, and what it says."""

    def ask(text):
        ended = top("-B", "-r", recording, "-o", "json", "--", text)
        rows = [json.loads(line) for line in ended.out.splitlines()]
        return {row["uuid"] for row in rows}, ended

    return ask


#: What is typed, as in SQL, Python, jq, PromQL, Lucene, k9s and other tools, by what it means.
MEANINGS = {
    "again card": """
        tasks and charge ;; state:failure||state:retry ;; state in (FAILURE, RETRY) ;;
        state is not success AND name = 'tasks.charge' ;;
        state <> 'SUCCESS' and exception is not null ;; .state == "FAILURE" or .state == "RETRY" ;;
        "charge" in name ;; {state=~"FAILURE|RETRY", name!="proj.add"} ;;
        state:(FAILURE OR RETRY) ;; _exists_:exc ;; /ch.rge$/ ;; exc in (CardError, TimeOut)
    """,
    "again slow": "report or state:retry",
    "again card runs waits": 'not state:success ;; name=~"tasks.*" ;; name=tasks.*',
    "slow": """
        name:proj && runtime>2 ;; succeeded runtime>2 ;; runtime between 1 and 5 ;;
        select(.runtime > 1 and (.state == "SUCCESS")) ;; runtime:[1 TO 5] ;; runtime:[1 TO *] ;;
        runtime > 1s ;; runtime>2500ms ;; node:web-1 duration>1 ;; hostname:web-1 elapsed>1
    """,
    "runs waits": "! (state:success || charge)",
    "card": """
        "and" declined ;; state:FAILURE AND NOT name:x ;; state is failed ;; state == "FAILURE" ;;
        select(.state=="FAILURE") ;; kwargs["user_id"] == 42 ;; .kwargs.user_id == 42 ;;
        {state="FAILURE"} ;; +name:charge -state:retry ;; name : charge state : failure ;;
        error: declined ;; 'and declined' ;; exception=CardError ;; task:charge status:failed ;;
        job:charge func:charge error:declined ;; id:car ;; task_id=card
    """,
    "card runs": "failed",
    "runs": 'running ;; "failed"',
    "again waits": "received or retrying",
    "again runs waits": "state not in ('SUCCESS', 'FAILURE') ;; state notin (success, failure)",
    "ok slow": """
        name like 'proj.%' ;; name!~"tasks" ;; name:/^proj/i
    """,
    "ok runs slow waits": """
        name not like '%charge' ;; name!="tasks.charge" ;; !charge
    """,
    "waits": "runtime is null",
    "ok": "task.name == 'proj.add'",
    "": "state:FAILURE AND runtime:>5 ;; exc=CardErr",
    "everything": "*:* ;; * ;; age < 5m",
    "again": "exc=TimeOut ;; exc==pay.TimeOut ;; exc!=CardError",
}


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        (" ".join(typed.split()), means)
        for means, texts in MEANINGS.items()
        for typed in texts.split(";;")
    ],
)
def test_what_was_typed_is_understood(asked, typed, means):
    rows, ended = asked(typed)
    assert rows == (EVERYTHING if means == "everything" else set(means.split()))
    assert ended.status == 0


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("user_id:42", "kwargs:user_id=VALUE"), ("args.0=42", "args:42 finds text"),
        ("kwargs.user_id>40", "write kwargs:user_id=40"), ("time>5", "runtime is how long it ran"),
        ("namee:x", 'did you mean "name"?'), ("> 5", '">" needs a field on its left'),
        ("1 < runtime", '"<" needs a field on its left'),
        ('.name | test("x")', '"|" is not an operator'),
        ("state=failure | count", '"|" is not an operator'),
        ("state:failure & name:x", '"&" is not an operator'),
        ("-l state=failure", "-l is an option of k9s"),
        ('name.startswith("x")', "there are no functions"),
        ('contains(name, "x")', "there are no functions"), ("name => 5", "did you mean"),
        ("state = nosuch", 'unknown state "nosuch"'),
        ("state in (a AND b)", "AND is not allowed in a list"),
        ("state in (failure", "never closed"), ("runtime between 5", "as in runtime:1..5"),
        ("runtime > 5 days ago and", "AND needs a term"), ("name >", "a value is missing"),
        ("and", "AND needs a term"), ("runtime:(1 OR 2", "never closed"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_says_what_to_write(asked, cli, recording, typed, told):
    for ended in (asked(typed)[1], cli("-r", recording, "--", typed)):
        assert ended.status == 2
        assert told in ended.err
        assert "evtools help filter" in ended.err


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("charge refused", '"charge" was searched for as text'),
        ("state failed nosuch", "for the field: state:VALUE"),
        ("ok zzz", "for the state: state:ok"),
        ("name=Charge", "= is exact, case included; to find a part: name:Charge"),
        ("5 seconds ago", '"seconds" was searched for as text'),
    ],
)
def test_nothing_is_found_with_a_word(asked, cli, recording, typed, told):
    rows, ended = asked(typed)
    assert rows == set()
    dumped = cli("-r", recording, "--", typed)
    for said in (ended.err, dumped.err):
        assert told in said
        assert "evtools help filter" in said


def test_nothing_that_passes_a_camera_s_filter_is_told(cam, recording, tmp_path):
    camera = ("-c", f"jsonl:{tmp_path / 'shots'}", "--read", recording)
    ended = cam(*camera, "--filter", "chargee")
    assert "--filter matched none of 15 events of tasks" in ended.err
    assert '"chargee" was searched for as text' in ended.err
    assert "--filter" not in cam(*camera, "--filter", "charge").err


def test_nothing_that_is_expected_is_told(cli, top, recording):
    expecting = ("-r", recording, "--expect", "chargee")
    for ended in (cli(*expecting), top("-B", *expecting)):
        assert ended.status == 1
        assert '"chargee" was searched for as text' in ended.err
