"""The camera postgres: reached, shared, refused, and lost on the way."""

import itertools
import sys
import threading

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtools.cam.database.postgres import Postgres
from evtools.cam.loader import load_camera
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.transport.recording.database import TABLES, VERSION
from servers.process import wait_until
from tools.ledgers import Evcam, common, contents, imported_late, touch, written
from tools.told import UUID, life, told


def camera(url, **options):
    return Postgres(State(), timer=object(), url=url, **options)


def query(url, question):
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchall()


def change(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


# --- the tables ----------------------------------------------------------------------


def test_the_tables_are_made_when_they_are_first_written_into(postgres_url):
    camera(postgres_url).check()
    there = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'evcam'"
    assert query(postgres_url, there) == []
    touch(postgres_url)
    camera(postgres_url).check()
    names = {name for (name,) in query(postgres_url, there)}
    assert names == {"about", *(table.name for table in TABLES)}
    assert query(postgres_url, "SELECT version FROM evcam.about") == [(VERSION,)]


texts = st.text(max_size=5) | st.sampled_from(["\0", "\ud800", "\\u0000", "{", "%s", "'"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def fuzzed_url(postgres_server):
    return postgres_server.fresh_url()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["task-received", "task-x", "worker-online"])},
            optional={
                "uuid": texts,
                "hostname": texts,
                "name": texts,
                "exception": texts | json_values,
                "timestamp": st.floats() | st.integers(-(2**70), 2**70),
                # What comes later than now is taken for now.
                "local_received": st.floats(0, 2e9) | st.floats(5e9, 6e9),
                "retries": json_values,
                "pid": st.integers(-1, 2**63),
                "loadavg": json_values,
                "own": json_values,
                "o\0": texts,
            },
        ),
        max_size=4,
    )
)
def test_nothing_that_comes_over_the_wire_is_refused(fuzzed_url, events):
    evcam = Evcam(fuzzed_url, events=30 * 86_400.0)
    evcam.hear(events)
    evcam.shoot()
    evcam.close()


def test_rows_are_large_where_tasks_are(postgres_url):
    long = dict.fromkeys(("name", "args", "kwargs", "exchange"), "é" * 20000)
    [task] = written(postgres_url, [told("task-sent", uuid="u" * 5000, **long)])["tasks"]
    assert [len(task[name]) for name in ("uuid", "name", "args")] == [255, 255, 16 * 1024]


def test_there_may_be_several_schemas(postgres_url):
    written(postgres_url, life("sent"))
    touch(postgres_url, schema="Other")
    assert query(postgres_url, 'SELECT count(*) FROM "Other".tasks') == [(0,)]
    with pytest.raises(UsageError, match="is not a valid schema"):
        camera(postgres_url, schema='x"; DROP')


# --- with others ---------------------------------------------------------------------


def at_once(*calls):
    """Run calls in threads that begin together; return what they raised."""
    raised = []
    start = threading.Barrier(len(calls))

    def run(call):
        start.wait()
        try:
            call()
        except Exception as error:  # noqa: BLE001  (whatever it is, it is reported)
            raised.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_several_that_begin_at_once_make_the_tables_once(postgres_url):
    evcams = [Evcam(postgres_url) for _ in range(4)]
    assert at_once(*(evcam.shoot for evcam in evcams)) == []
    for evcam in evcams:
        evcam.close()
    assert len(contents(postgres_url)["snapshots"]) == 4


def test_who_write_the_same_rows_wait_for_each_other_and_for_nobody_else(postgres_url, tmp_path):
    uuids = [f"u{number:03}" for number in range(300)]
    steps = ("sent", "received", "started", "succeeded")
    beats = [told("worker-heartbeat", float(at)) for at in range(4)]
    shares = [
        [told(f"task-{step}", 10.0 + at, uuid=uuid) for uuid in order] + [beats[at]]
        for at, (step, order) in enumerate(
            zip(steps, itertools.cycle([uuids, uuids[::-1]]), strict=False)
        )
    ]

    def shoot_often(share):
        evcam = Evcam(postgres_url)
        for start in range(0, len(share), 20):
            evcam.hear(share[start : start + 20])
            evcam.shoot()
        evcam.close()

    assert at_once(*(lambda share=share: shoot_often(share) for share in shares)) == []
    file = tmp_path / "one.db"
    written(file, [event for share in shares for event in share])
    assert common(postgres_url) == common(file)


def test_a_row_that_somebody_holds_is_waited_for_but_not_removed(postgres_url):
    evcam = Evcam(postgres_url)
    evcam.hear(life("sent"))
    evcam.shoot()
    evcam.hear(life("received"))
    patient, evcam.camera._timeout_ms = evcam.camera._timeout_ms, 500
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT FROM evcam.tasks FOR UPDATE")
        with pytest.raises(OutputError, match=r"canceling statement due to .* timeout"):
            evcam.shoot()
        evcam.camera._timeout_ms = patient
        evcam.camera.sweep()  # which leaves it for the next time
    evcam.shoot()
    assert contents(postgres_url)["tasks"][0]["state"] == "RECEIVED"
    evcam.camera.sweep()
    evcam.close()
    assert contents(postgres_url)["tasks"] == []


@pytest.mark.parametrize("before", [["sent"], []], ids=["changed", "added"])
def test_a_row_that_somebody_writes_meanwhile_is_read_again(postgres_url, before):
    written(postgres_url, life(*before))
    evcam = Evcam(postgres_url)
    put, meanwhile = evcam.camera.put, [life("started", start=12.0)]

    def put_later(*args):
        if meanwhile:
            written(postgres_url, meanwhile.pop())
        return put(*args)

    evcam.camera.put = put_later
    evcam.hear(life("received", start=11.0))
    evcam.shoot()
    evcam.close()
    [task] = contents(postgres_url)["tasks"]
    assert (task["state"], task["received"] is None) == ("STARTED", False)


# --- reaching it ---------------------------------------------------------------------


def test_without_psycopg_there_is_a_hint_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match="needs psycopg") as raised:
        camera("")
    assert raised.value.hint == "pip install 'evtools[postgres]'"


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://me:secret@[::1/ops", "password=secret host", "secret="),
        "postgresql://me:pa/ss?secret=@db/ops",
    ],
)
def test_what_is_wrong_with_a_url_does_not_show_the_password(url):
    with pytest.raises(UsageError, match="cannot read the URL") as raised:
        camera(url)
    assert "secret" not in raised.value.message + raised.value.hint
    assert raised.value.__cause__ is None


def test_an_option_that_is_misspelt_is_named():
    with pytest.raises(UsageError, match='there is no option "evnts"') as raised:
        camera("postgresql://ops:pa55@db/ops?evnts=30d")
    assert "pa55" not in raised.value.message + raised.value.hint


def test_a_url_may_be_in_a_file(tmp_path):
    file = tmp_path / "url"
    file.write_text("postgresql://me:secret@db.example:5433/ops\n")
    assert camera(f"@{file}").describe() == (
        "PostgreSQL host=db.example port=5433 dbname=ops user=me schema=evcam"
    )
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        camera(f"@{tmp_path}/nothing")
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"cannot read .*: it is not text"):
        camera(f"@{file}")


def test_what_a_url_does_not_say_is_in_the_environment(postgres_server, monkeypatch):
    monkeypatch.setenv("PGHOST", str(postgres_server.folder))
    monkeypatch.setenv("PGPORT", str(postgres_server.port))
    monkeypatch.setenv("PGUSER", "postgres")
    database = postgres_server.fresh_database()
    monkeypatch.setenv("PGDATABASE", database)
    touch("")
    assert len(contents(postgres_server.url(database))["snapshots"]) == 1


def test_a_url_may_have_settings_of_its_own(postgres_url):
    evcam = Evcam(f"{postgres_url}&application_name=mine&connect_timeout=3")
    evcam.shoot()
    assert ("mine",) in query(postgres_url, "SELECT application_name FROM pg_stat_activity")
    evcam.close()


def test_a_wrong_password_is_reported_and_never_shown(postgres_server):
    database = postgres_server.fresh_database()
    postgres_server.make_role(database)
    url = postgres_server.tcp_url(database, password="wr0ng")
    for call in (camera(url).check, Evcam(url).shoot):
        with pytest.raises(OutputError, match="password authentication failed") as raised:
            call()
        assert "wr0ng" not in f"{raised.value} {raised.value.__cause__}"
    assert "user=evcam" in str(raised.value)


def test_who_may_make_no_tables_learns_it_at_once(postgres_server):
    database = postgres_server.fresh_database()
    postgres_server.make_role(database)
    url, admin = postgres_server.tcp_url(database), postgres_server.url(database)
    for there in (False, True):
        if there:
            change(admin, "CREATE SCHEMA evcam")
        with pytest.raises(OutputError, match="cannot create the schema evcam") as raised:
            camera(url).check()
        assert "CREATE SCHEMA evcam" in raised.value.hint
    change(admin, "ALTER SCHEMA evcam OWNER TO evcam")
    camera(url).check()
    touch(url)
    assert len(contents(admin)["snapshots"]) == 1


def test_an_unreachable_server_is_reported_in_one_line():
    with pytest.raises(OutputError, match=r"host=127\.0\.0\.1 port=1 .*refused") as raised:
        camera("postgresql://me:secret@127.0.0.1:1/ops").check()
    assert "\n" not in raised.value.message
    assert "secret" not in raised.value.message


def test_what_was_not_written_while_the_server_was_away_comes_next(own_postgres):
    url = own_postgres.fresh_url()
    evcam = Evcam(url, connect_timeout=2.0)
    evcam.hear(life("sent"))
    evcam.shoot()
    own_postgres.stop()
    evcam.hear(life("received"))
    for _ in range(2):
        with pytest.raises(OutputError, match="cannot write to PostgreSQL"):
            evcam.shoot()
    own_postgres.start()
    evcam.hear(life("started", start=11.0))
    evcam.shoot()
    evcam.close()
    rows = contents(url)
    assert [(task["state"], task["name"]) for task in rows["tasks"]] == [("STARTED", "shop.pay")]
    assert [row["events"] for row in rows["snapshots"]] == [1, 2]


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(own_postgres):
    made = camera(own_postgres.fresh_url(), connect_timeout=2.0)
    own_postgres.freeze()
    try:
        with pytest.raises(OutputError, match="timeout"):
            made.check()
    finally:
        own_postgres.thaw()
    made.check()


def test_a_connection_that_is_cut_is_made_anew(postgres_url):
    evcam = Evcam(postgres_url)
    evcam.shoot()
    ours = "FROM pg_stat_activity WHERE application_name = 'evcam' AND datname = current_database()"
    query(postgres_url, f"SELECT pg_terminate_backend(pid) {ours}")
    evcam.hear(life("sent"))
    with pytest.raises(OutputError, match="terminating connection"):
        evcam.shoot()
    evcam.shoot()
    assert [row["uuid"] for row in contents(postgres_url)["tasks"]] == [UUID]
    evcam.close()
    wait_until(lambda: not query(postgres_url, f"SELECT {ours}"), what="the end of the connection")


# --- by name ------------------------------------------------------------------------

LONG = "postgres:postgresql://me:secret@db/ops?sslmode=require&port=7"


@pytest.mark.parametrize(
    ("name", "options", "place"),
    [
        (LONG, {}, "host=db port=7 dbname=ops user=me schema=evcam"),
        ("postgres", {}, "schema=evcam"),  # the environment may have it all
        ("postgres", {"url": "host=db", "schema": "watch"}, "host=db schema=watch"),
    ],
)
def test_its_url_is_taken_as_it_is(name, options, place):
    options |= {"connect_timeout": "1s", "timeout": "2s", "keep": "1d"}
    made = load_camera(name, options=options)(State(), timer=object())
    assert made.describe() == f"PostgreSQL {place}"
    assert made.keep == 86_400.0
    assert not made.keeps_events


@pytest.mark.parametrize("address", ["postgresql://me@db/ops", "@{}"])
def test_its_url_may_have_options_of_the_camera(address, tmp_path):
    file = tmp_path / "url"
    file.write_text("postgresql://me@db/ops")
    url = f"{address.format(file)}?events=30d&keep=2d"
    made = load_camera(f"postgres:{url}")(State(), timer=object())
    assert (made.keeps_events, made.keep) == (True, 2 * 86_400.0)
    assert made.describe() == "PostgreSQL host=db dbname=ops user=me schema=evcam"
    made = load_camera("postgres:host=db password=a?events=b")(State(), timer=object())
    assert not made.keeps_events
    with pytest.raises(UsageError, match="option events of camera postgres is given twice"):
        load_camera(f"postgres:{url}", options={"events": "1d"})


def test_everything_it_needs_is_imported_when_it_is_made(postgres_server):
    database = postgres_server.fresh_database()
    postgres_server.make_role(database, owns="evcam")
    url = postgres_server.tcp_url(database).replace("127.0.0.1", "localhost")
    assert imported_late(f"postgres:{url}") == []
