import click
import pytest

from evtools.cli import params
from evtools.cli.completions.grammar import Flag, Program, Value, first_clause, of_command, programs
from evtools.cli.entry import TOOLS
from evtools.filters import EVENT_FIELDS, TASK_FIELDS
from evtools.top.model import Model


@click.command("tool")
@click.argument("what", nargs=-1, metavar="[THING]...")
@click.option("-o", "--output", type=click.Choice(["a", "b"]), metavar="FORMAT")
@click.option("-w", "--write", metavar="FILE", help="Record into FILE; append.")
@click.option("--workdir", metavar="DIR")
@click.option("--uid", type=params.USER)
@click.option("--gid", type=params.GROUP)
@click.option("-x", multiple=True, type=params.FILTER)
@click.option("--tls/--no-tls", help="Encrypt.  [tls]")
@click.option("-v", count=True)
@click.option("--speed")
@click.option("--secret", hidden=True)
def tool(**_):
    raise AssertionError("never run")


@pytest.fixture
def flags():
    return {
        name: flag
        for flag in of_command("dump", "evdump", "tells", tool).flags
        for name in flag.names
    }


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("-o", Flag(("-o", "--output"), "", Value("FORMAT", words=("a", "b")))),
        ("-w", Flag(("-w", "--write"), "Record into FILE", Value("FILE", "files"))),
        ("--workdir", Flag(("--workdir",), "", Value("DIR", "folders"))),
        ("--uid", Flag(("--uid",), "", Value("USER", "users"))),
        ("--gid", Flag(("--gid",), "", Value("GROUP", "groups"))),
        ("--tls", Flag(("--tls",), "Encrypt")),
        ("--no-tls", Flag(("--no-tls",), "not --tls")),
        ("-v", Flag(("-v",), "", None, repeatable=True)),
        ("--speed", Flag(("--speed",), "", Value("TEXT", words=("1x", "10x", "max")))),
        ("--help", Flag(("--help",), "Show this message and exit")),
    ],
)
def test_an_option_is_told_without_click(flags, name, flag):
    assert flags[name] == flag


def test_what_is_hidden_is_not_told(flags):
    assert "--secret" not in flags


def test_filters_begin_with_a_field(flags):
    value = flags["-x"].value
    assert value.words == tuple(f"{name}:" for name in EVENT_FIELDS)
    assert flags["-x"].repeatable


def test_arguments_have_a_value_too():
    assert of_command("x", "evtools x", "", tool).rest == Value("THING")
    assert of_command("x", "evtools x", "", click.Command("x")).rest is None


def test_a_part_of_evtools_has_one_name_and_a_program_two():
    assert Program("top", "evtop", "", (), None).words == ("top", "evtop")
    assert Program("doctor", "evtools doctor", "", (), None).words == ("doctor",)


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("Its key.", "Its key"),
        ("Wait so long.  [5s]", "Wait so long"),
        ("One, such as 10.5.  More.", "One, such as 10.5"),
        ("First. Then.", "First"),
        ("First; then.", "First"),
        ("", ""),
    ],
)
def test_help_is_told_by_its_first_clause(text, clause):
    assert first_clause(text) == clause


def test_long_help_is_cut_between_words():
    assert first_clause("word " * 40).endswith("word ...")
    assert len(first_clause("word " * 40)) <= 72


@pytest.fixture(scope="module")
def real():
    return {program.name: program for program in programs()}


def test_all_tools_are_there(real):
    assert list(real) == list(TOOLS)


def value_of(program, name):
    (flag,) = [flag for flag in program.flags if name in flag.names]
    return flag.value


def test_the_words_of_the_real_options_are_theirs(real):
    columns = {c.name for view in Model().views.values() for c in view.columns}
    assert set(value_of(real["top"], "--sort").words) == columns
    assert "redis://" in value_of(real["dump"], "-b").words
    assert "sqlite" in value_of(real["cam"], "-c").words
    assert value_of(real["dump"], "-c").words == ()
    assert real["top"].rest.words == tuple(f"{name}:" for name in TASK_FIELDS)
    assert real["cam"].rest.words == ("status", "stop", "check")
    assert real["completion"].rest.words == ("bash", "zsh", "fish")
