import pytest

from evtools.doctor.finding import STATUSES, Finding, worst


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        ([], "ok"),
        (["ok", "note"], "note"),
        (["warning", "ok"], "warning"),
        (["note", "problem", "warning"], "problem"),
    ],
)
def test_the_worst_of_findings(severities, expected):
    assert worst(Finding("x", severity, "") for severity in severities) == expected


def test_no_status_is_one_that_says_that_the_doctor_failed():
    assert not {1, 2} & set(STATUSES.values())
    assert STATUSES["ok"] == 0
