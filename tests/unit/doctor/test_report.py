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


LONG = Finding("events", "note", "one two three", "four five six seven\n  rm -rf x y z")


def test_a_terminal_gets_prose_that_fits_and_commands_that_are_whole():
    indent = " " * 22
    assert list(lines(LONG, colour=False, cols=62)) == [
        "note     events       one two three",
        f"{indent}four five six seven",
        f"{indent}  rm -rf x y z",
    ]
    text = " ".join(["word"] * 9)
    first, second = lines(Finding("events", "ok", text), colour=False, cols=62)
    assert first == f"ok       events       {' '.join(['word'] * 8)}"
    assert second == f"{indent}word"


def test_a_narrow_terminal_gets_prose_in_all_of_its_width():
    assert list(lines(LONG, colour=True, cols=30)) == [
        "\x1b[36mnote    \x1b[0m events       one two",
        "  three",
        "  four five six seven",
        "    rm -rf x y z",
    ]


@pytest.mark.parametrize("cols", [1, 2, 23])
def test_a_word_is_not_broken_however_narrow_it_gets(cols):
    first, *rest = lines(LONG, colour=False, cols=cols)
    assert [*first.split()[2:], *" ".join(rest).split()] == [
        *("one", "two", "three", "four", "five", "six", "seven"),
        *("rm", "-rf", "x", "y", "z"),
    ]


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


def test_what_others_say_is_shown_without_passwords(capsys):
    text = "no redis://:s3cret@host/0 password=s3cret"
    secret = Finding("login", "problem", text, 'write {"password": "PASSWORD"}')
    tell([secret], DoctorOptions())
    tell([secret], DoctorOptions(output="json"))
    out = capsys.readouterr().out
    assert "s3cret" not in out
    assert out.count("redis://**@host/0") == 2
    assert out.count("PASSWORD") == 2


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
