"""Tables, their SQL, and texts that every database takes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evtools.cam.database.schema import (
    ATTEMPTS,
    NAME_MAX,
    SNAPSHOTS,
    TABLES,
    TASKS,
    TEXT_MAX,
    WORKERS,
    Dialect,
    Expired,
    clean,
    clean_end,
    clean_key,
    clean_name,
    clean_value,
    listed,
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_keys_indexes_and_owners_are_there(table):
    for columns in (table.key, *table.indexes):
        assert set(columns) <= set(table.columns)
    owner = {each.name: each for each in TABLES}.get(table.owner)
    assert owner is None or owner.key == table.key[:1]
    assert len({each.name for each in TABLES}) == len(TABLES)


def test_a_task_shows_its_newest_attempt_as_attempts_are_shown():
    shared = ATTEMPTS.columns.keys() - {"uuid", "place", "number"}
    assert {TASKS.columns[name] for name in shared} == {ATTEMPTS.columns[name] for name in shared}


# === SQL =============================================================================


KINDS = ("text", "time", "integer", "real", "flag", "json")
PLAIN = Dialect({kind: kind.upper() for kind in KINDS}, "?")
ELSEWHERE = Dialect({kind: kind.upper() for kind in KINDS}, "%s", schema="s", locked=" FOR UPDATE")


def test_names_are_quoted():
    assert listed(["a", "at"]) == '"a", "at"'
    assert PLAIN.place(TASKS) == '"tasks"'
    assert ELSEWHERE.place(TASKS) == '"s"."tasks"'


def test_every_table_and_index_is_made():
    made = list(ELSEWHERE.creation())
    assert made[0].startswith('CREATE TABLE "s"."tasks" ("uuid" TEXT NOT NULL, ')
    assert made[0].endswith('PRIMARY KEY ("uuid"))')
    assert 'CREATE INDEX "tasks_state_last_heard" ON "s"."tasks" ("state", "last_heard")' in (made)
    [attempts] = [each for each in made if '"s"."attempts"' in each]
    assert attempts.endswith('FOREIGN KEY ("uuid") REFERENCES "s"."tasks" ON DELETE CASCADE)')


def test_rows_are_written_over_those_with_their_keys():
    statement = PLAIN.replacement(ATTEMPTS, "VALUES (1)")
    start, _, end = statement.partition(" VALUES (1) ")
    assert start.startswith('INSERT INTO "attempts" ("uuid", "place", "number"')
    assert end.startswith(
        'ON CONFLICT ("uuid", "place") DO UPDATE SET "number" = excluded."number", '
    )


def test_a_selection_is_of_what_was_heard():
    assert PLAIN.selection(WORKERS, "WHERE x") == (
        'SELECT "hostname", "heard" FROM "workers" WHERE x'
    )


@pytest.mark.parametrize(
    ("dialect", "expired", "statement"),
    [
        (
            PLAIN,
            Expired(TASKS, "last_heard", "", successes_only=True),
            (
                'DELETE FROM "tasks" WHERE ("uuid") IN (SELECT "uuid" FROM "tasks" '
                'WHERE "last_heard" < ? AND "state" = \'SUCCESS\' '
                'ORDER BY "last_heard" LIMIT ?)'
            ),
        ),
        (
            ELSEWHERE,
            Expired(SNAPSHOTS, "at", ""),
            (
                'DELETE FROM "s"."snapshots" WHERE ("evcam", "sequence") IN '
                '(SELECT "evcam", "sequence" FROM "s"."snapshots" '
                'WHERE "at" < %s ORDER BY "at" LIMIT %s FOR UPDATE)'
            ),
        ),
    ],
)
def test_what_is_old_is_removed_a_few_rows_at_a_time(dialect, expired, statement):
    assert dialect.expiry(expired) == statement


def test_a_boundary_is_a_row_by_its_number():
    assert PLAIN.boundary(TASKS, "last_heard") == (
        'SELECT "last_heard" FROM "tasks" ORDER BY "last_heard" DESC LIMIT 1 OFFSET ?'
    )


# === texts ===========================================================================


anything = st.text(st.characters(codec=None) | st.sampled_from("\0\ud83d\ude00\udfff"))


@given(anything)
@example("\ud800")
@example("a\0b")
def test_every_text_becomes_one_that_a_database_takes_and_stays_that(text):
    for made in (clean(text), clean_end(text), clean_name(text), clean_key(text)):
        assert "\0" not in made
        made.encode()
        assert clean(made) == clean_end(made) == clean_name(made) == clean_key(made) == made


def test_what_can_be_kept_is_kept():
    text = "ünï\tcödé\n\x1b[31m 😀"
    assert clean(text) == text
    assert clean("a\0\ud800b") == "a\ufffd\ufffdb"


def test_long_texts_lose_their_end_and_tracebacks_their_beginning():
    text = "a" + "b" * TEXT_MAX + "c"
    assert clean(text) == "a" + "b" * (TEXT_MAX - 2) + "…"
    assert clean_end(text) == "…" + "b" * (TEXT_MAX - 2) + "c"
    assert clean_name(text) == "a" + "b" * (NAME_MAX - 2) + "…"


def test_different_keys_stay_different_however_long_they_are():
    keys = ["k" * NAME_MAX, "k" * 300 + "1", "k" * 300 + "2", "\ud800" * 300]
    made = [clean_key(each) for each in keys]
    assert made[0] == keys[0]
    assert len(set(made)) == len(keys)
    assert {len(each) for each in made} == {NAME_MAX}
    assert [clean_key(each) for each in made] == made


def test_values_are_cleaned_all_the_way_down():
    dirty = {"a\0": ["b\0", {"c": ("\ud800", 1, None, 2.5, True)}]}
    assert clean_value(dirty) == {"a�": ["b�", {"c": ["�", 1, None, 2.5, True]}]}
