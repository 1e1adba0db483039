import pytest

from evtools.text import width
from evtools.top.widgets.editor import Editor


def edit(text, *commands, cursor=None, **how):
    editor = Editor(text, **how)
    if cursor is not None:
        editor.cursor = cursor
    for command in commands:
        assert editor.obey(command)
    return editor


@pytest.mark.parametrize(
    ("cursor", "command", "text", "after"),
    [
        (3, "line-start", "one two", 0),
        (3, "line-end", "one two", 7),
        (3, "char-left", "one two", 2),
        (0, "char-left", "one two", 0),
        (3, "char-right", "one two", 4),
        (7, "char-right", "one two", 7),
        (3, "erase-left", "on two", 2),
        (0, "erase-left", "one two", 0),
        (3, "erase-right", "onetwo", 3),
        (7, "erase-right", "one two", 7),
        (4, "erase-to-start", "two", 0),
        (3, "erase-to-end", "one", 3),
        (7, "erase-word", "one ", 4),
        (4, "erase-word", "two", 0),
        (0, "erase-word", "one two", 0),
    ],
)
def test_the_keys_of_readline(cursor, command, text, after):
    editor = edit("one two", command, cursor=cursor)
    assert (editor.text, editor.cursor) == (text, after)


def test_what_is_typed_goes_where_the_cursor_is():
    editor = edit("ac", cursor=1)
    editor.insert("b")
    assert (editor.text, editor.cursor) == ("abc", 2)


def test_only_what_can_be_printed_is_typed_and_not_without_end():
    editor = Editor()
    editor.insert("a\x1b[31m\nb" + "x" * 9999)
    assert editor.text.startswith("a[31mb")
    assert len(editor.text) == 4096


def test_other_commands_are_none_of_its_business():
    assert not Editor().obey("pause")


# --- history --------------------------------------------------------------------


def test_history_goes_back_and_forth_and_keeps_what_was_being_typed():
    editor = edit("new", history=["first", "second"])
    seen = []
    for command in ("back", "back", "back", "forward", "forward", "forward"):
        editor.obey(f"history-{command}")
        seen.append(editor.text)
    assert seen == ["second", "first", "first", "second", "new", "new"]
    assert editor.cursor == 3


# --- completion -----------------------------------------------------------------


def complete(text):
    words = ["worker", "wait", "warm"]
    start = text.rfind(" ") + 1
    return start, [word for word in words if word.startswith(text[start:])]


def test_one_choice_is_taken_and_several_are_shown():
    editor = edit("a wo", "complete", complete=complete)
    assert (editor.text, editor.choices) == ("a worker", ())
    editor = edit("a w", "complete", complete=complete)
    assert (editor.text, editor.choices) == ("a w", ("worker", "wait", "warm"))
    editor = edit("wa", "complete", complete=complete)
    assert editor.choices == ("wait", "warm")
    editor.insert("i")
    assert editor.choices == ()


def test_what_several_choices_have_in_common_is_typed():
    editor = Editor("s", complete=lambda _: (0, ["sort-left", "sort-right"]))
    editor.obey("complete")
    assert editor.text == "sort-"
    editor = Editor("a", complete=lambda _: (0, ["ab", "abc"]))
    editor.obey("complete")
    assert editor.text == "ab"


def test_what_stands_behind_the_cursor_stays():
    editor = edit("wo name", "complete", cursor=2, complete=complete)
    assert (editor.text, editor.cursor) == ("worker name", 6)


def test_without_a_choice_nothing_happens():
    assert edit("xyz", "complete", complete=complete).text == "xyz"
    assert edit("wo", "complete").text == "wo"


# --- on the screen --------------------------------------------------------------


def test_the_part_around_the_cursor_is_shown():
    line, column = Editor("short").line(20)
    assert (line, column) == ([("text", "short")], 5)
    editor = Editor("0123456789" * 5)
    line, column = editor.line(10)
    assert column <= 9
    assert line[0][1].endswith("9")


def test_wide_characters_count_twice():
    editor = Editor("中文")
    assert editor.line(20)[1] == 4
    line, column = Editor("中" * 40).line(10)
    assert column == width(line[0][1]) <= 9


def test_nothing_typed_can_harm_the_terminal():
    editor = Editor("a\x1b[31m")
    assert editor.line(40)[0] == [("text", "a\\x1b[31m")]
