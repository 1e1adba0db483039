"""What check_docs.py demands of the manual pages and the README."""

from __future__ import annotations

import sys
import types

import click
import pytest

import check_docs
from evtools.top.keys import BINDINGS

PAGE = r"""
.Dd November 1, 2026
.Dt TOOL 1
.Os
.Sh NAME
.Nm tool
.Nd does it
.Sh SYNOPSIS
.Nm
.Op Fl q
.Sh DESCRIPTION
Unlike
.Fl -other ,
it does.
.Sh OPTIONS
.Bl -tag -width Ds
.It Fl b , Fl -broker Ar URL
Where, not
.Fl -there .
.It Fl q
Be quiet, unlike
.Fl v .
.It Fl -color , Fl -no-color
Colours.
.It Fl -help
Help.
.El
.Sh EXAMPLES
.Dl $ tool -b redis://localhost
"""

README = """
# Tool

`tool --no-color` and `-q`, see https://a-b.example/--x or `pip --user`.

```sh
$ tool -qb redis://h/0 | jq .name
sudo tool --broker=x && other --unknown
TOOL=1 tool \\
  -q
```
"""


@pytest.fixture
def tool():
    @click.command("tool")
    @click.option("-b", "--broker")
    @click.option("-q", "quiet", is_flag=True)
    @click.option("--color/--no-color")
    @click.option("--secret", hidden=True)
    @click.argument("what", nargs=-1)
    def command(**_):
        raise AssertionError("never run")

    return command


@pytest.fixture
def repository(tmp_path, monkeypatch, tool):
    """A repository that is as it should be; its command is `tool`."""
    write = {
        "pyproject.toml": '[project.scripts]\ntool = "a:b"\nevtools = "c:d"\n',
        "evtools/__init__.py": '"""Watch."""\n',
        "README.md": README,
        "man/tool.1": PAGE,
    }
    for name, text in write.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    module = types.ModuleType("commands_of_the_test")
    module.tool = tool
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(check_docs, "COMMANDS", {"tool": f"{module.__name__}:tool"})
    monkeypatch.setattr(check_docs, "SUBCOMMANDS", {})
    assert list(check_docs.check_completions(tmp_path, fix=True)) == []
    return tmp_path


def found(repository, *, fix=False):
    return list(check_docs.problems(repository, fix=fix))


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_documents_that_agree_with_the_code_have_no_problems(repository):
    assert found(repository) == []


@pytest.mark.parametrize("shell", ["bash/evtools", "zsh/_evtools", "fish/evtools.fish"])
def test_what_shells_complete_is_made_of_the_commands(repository, shell):
    path = repository / "packaging/completions" / shell
    wanted = path.read_text()
    path.write_text("complete -c evtop")
    assert found(repository) == [
        f"packaging/completions/{shell}: is old; scripts/check_docs.py --fix"
    ]
    path.unlink()
    assert found(repository, fix=True) == []
    assert path.read_text() == wanted


@pytest.fixture
def keys(repository, tool):
    """A page of evtop in the repository, with a place for its keys."""
    path = repository / "man/evtop.1"
    path.write_text(f".Sh KEYS\n{check_docs.KEYS_BEGIN}{check_docs.KEYS_END}more\n")
    return path


def test_the_keys_are_written_from_the_table(repository, keys):
    assert found(repository) == ["man/evtop.1: the keys are old; scripts/check_docs.py --fix"]
    assert found(repository, fix=True) == []
    assert found(repository) == []
    text = keys.read_text()
    assert text.endswith(f"{check_docs.KEYS_END}more\n")
    for binding in BINDINGS:
        assert check_docs.roff(f"({binding.command})") in text


def test_a_page_without_a_place_for_the_keys_is_a_problem(repository, keys):
    keys.write_text(".Sh KEYS\n")
    assert found(repository, fix=True) == ["man/evtop.1: has no place for the keys"]


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("\\", r"\e"),
        ("-", r"\-"),
        ("'", r"\(aq"),
        (".", r"\&."),
        ("^ `", r"\(ha \(ga"),
        ("ctrl-a", r"ctrl\-a"),
    ],
)
def test_no_key_means_something_to_roff(key, written):
    assert check_docs.roff(key) == written


def test_every_option_is_described(repository):
    replace(repository / "man/tool.1", ".It Fl q\n", ".It x\n")
    assert found(repository) == ["man/tool.1: does not describe -q"]


def test_no_option_is_described_that_is_not_there(repository):
    replace(repository / "man/tool.1", "Fl -color ,", "Fl -colour ,")
    assert found(repository) == [
        "man/tool.1: does not describe --color",
        "man/tool.1: describes --colour, which tool does not have",
    ]


def test_the_examples_of_a_page_must_work(repository):
    replace(repository / "man/tool.1", "tool -b", "tool -x")
    (line,) = found(repository)
    assert line.startswith("man/tool.1: `tool -x redis://localhost`: No such option")


def test_a_missing_page_and_a_missing_readme_are_problems(repository):
    (repository / "man/tool.1").unlink()
    (repository / "README.md").unlink()
    assert found(repository) == ["man/tool.1: is missing", "README.md: is missing"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("tool -qb redis", "tool -qx redis", "No such option '-x'"),
        ("sudo tool --broker=x", "sudo tool --brocker=x", "No such option '--brocker'"),
        ("--broker=x &&", "--broker && ", "requires an argument"),
        ("  -q\n", "  -Q\n", "No such option '-Q'"),
        ("`-q`", "`--quiet`", "--quiet is an option of none of the commands"),
        ("`tool --no-color`", "`tool --no-colour`", "No such option '--no-colour'"),
    ],
)
def test_every_command_line_in_the_readme_must_work(repository, old, new, problem):
    replace(repository / "README.md", old, new)
    (line,) = found(repository)
    assert problem in line


def test_a_command_of_the_one_for_all_has_a_section_in_its_page(repository, monkeypatch):
    place = check_docs.COMMANDS["tool"]
    monkeypatch.setattr(check_docs, "SUBCOMMANDS", {"evtool": place})
    assert found(repository) == ["man/evtools.1: is missing"]
    page = repository / "man/evtools.1"
    page.write_text(PAGE.replace("Sh OPTIONS", "Sh TOOL OPTIONS"))
    assert found(repository) == []
    replace(page, ".It Fl q\n", ".It x\n")
    assert found(repository) == ["man/evtools.1: does not describe -q"]
    replace(page, "TOOL OPTIONS", "OTHER OPTIONS")
    assert len(found(repository)) == 6


def test_a_script_whose_command_is_unknown_is_an_error(repository, monkeypatch):
    monkeypatch.setattr(check_docs, "COMMANDS", {})
    with pytest.raises(KeyError, match="tool"):
        found(repository)


def test_a_command_can_be_called_through_the_one_for_all():
    line = "evtools dump -q | evtools evdump -r - ; evtools --help"
    assert list(check_docs.command_lines(line, {"evdump"})) == [
        ("evdump", ["-q"]),
        ("evdump", ["-r", "-"]),
    ]


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("tool -q", [["-q"]]),
        ("$ tool -q; tool -b x", [["-q"], ["-b", "x"]]),
        ("A=1 tool -q >out", [["-q"]]),
        ("ssh box tool -q", [["-q"]]),
        ("tool -f 'a > b'", [["-f", "a > b"]]),
        ("cat f | tool | tool -q # tool", [[], ["-q"]]),
        ("the tool -x is good", []),
        ("the tool's apostrophe", []),
        ("tools -x", []),
    ],
)
def test_commands_are_found_in_shell_lines(line, arguments):
    calls = list(check_docs.command_lines(line, {"tool"}))
    assert calls == [("tool", each) for each in arguments]


def test_a_wrong_argument_of_the_script_is_refused(capsys):
    assert check_docs.main(["--nonsense"]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_script_prints_problems_and_fails(repository, monkeypatch, capsys):
    monkeypatch.setattr(check_docs, "ROOT", repository)
    assert check_docs.main([]) == 0
    (repository / "README.md").unlink()
    assert check_docs.main(["--fix"]) == 1
    assert capsys.readouterr().out == "README.md: is missing\n"


def test_words_for_which_there_are_better_ones_are_named(repository):
    path = repository / "man/tool.1"
    path.write_text(path.read_text() + "--uid nobody is what nobody was told.\n")
    line = len(path.read_text().splitlines())
    assert found(repository) == [
        f"man/tool.1:{line}: there is a better word than 'nobody'",
        f"man/tool.1:{line}: there is a better word than 'told'",
    ]


def test_examples_of_pages_without_a_command_are_checked(repository):
    page = (
        '.SH TWO\n.\\" sh\n.EX\ntool \\-\\-nothing\n.EE\nUse \\fB\\-q\\fR or \\fB\\-\\-other\\fR.\n'
    )
    (repository / "man/recipes.7").write_text(page)
    assert found(repository) == [
        "man/recipes.7: `tool --nothing`: No such option '--nothing'.",
        "man/recipes.7: --other is an option of none of the commands",
    ]
    (example,) = check_docs.examples(page)
    assert example == ("TWO", "sh", "", "tool --nothing\n")
