import json

import pytest

from evtools.doctor.finding import Finding
from evtools.doctor.options import DoctorOptions
from evtools.doctor.report import document, lines, summary, tell

GOOD = Finding("login", "ok", "in")
BAD = Finding("events", "problem", "evil \x1b[2J", "two\nlines \u202e")


def test_findings_are_lines_with_their_advice_below():
    assert list(lines(BAD, colour=False)) == [
        "problem  events       evil \\x1b[2J",
        "                      two",
        "                      lines \\u202e",
    ]


def test_colours_are_around_the_severity_only():
    first, *_ = lines(BAD, colour=True)
    assert first.startswith("\x1b[1;31mproblem \x1b[0m events")


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([], "all is well"),
        ([GOOD], "all is well"),
        ([BAD, GOOD, BAD], "2 problems"),
        (
            [BAD, Finding("x", "note", ""), Finding("x", "warning", "")],
            "1 problem, 1 warning, 1 note",
        ),
    ],
)
def test_the_summary_counts_what_matters(findings, text):
    assert summary(findings) == text


def test_programs_get_everything():
    told = json.loads(document([GOOD, BAD]))
    assert told["worst"] == "problem"
    assert told["findings"][1] == {
        "check": "events",
        "severity": "problem",
        "text": BAD.text,
        "advice": BAD.advice,
    }
    assert document([BAD]).isascii()


def test_all_findings_are_printed_and_returned(capsys):
    assert tell(iter([GOOD, BAD]), DoctorOptions()) == [GOOD, BAD]
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "ok       login        in"
    assert out[-1] == "1 problem"


def test_a_quiet_report_is_of_what_is_not_ok(capsys):
    tell([GOOD, BAD], DoctorOptions(quiet=True))
    assert "login" not in capsys.readouterr().out


def test_json_is_one_line(capsys):
    tell([GOOD, BAD], DoctorOptions(output="json", quiet=True))
    (line,) = capsys.readouterr().out.splitlines()
    assert len(json.loads(line)["findings"]) == 2
