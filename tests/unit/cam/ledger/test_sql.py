import pytest

from evtools.cam.ledger.sql import Dialect, listed
from evtools.cam.ledger.store import Expired
from evtools.cam.ledger.tables import ATTEMPTS, SNAPSHOTS, TASKS, WORKERS

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
