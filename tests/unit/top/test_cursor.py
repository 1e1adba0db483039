"""Tests for evtools.top.cursor."""

from evtools.top.cursor import HOLD, Cursor


def at(keys, index=0, *, newest_last=False):
    cursor = Cursor(newest_last=newest_last)
    cursor.place(list(keys))
    if index:
        cursor.to(index)
    return cursor


def test_it_begins_where_new_rows_come_in():
    assert at("abc").key == "a"
    assert at("abc", newest_last=True).key == "c"


def test_at_the_top_it_stays_at_the_top():
    cursor = at("bc")
    cursor.place(list("abc"))
    assert (cursor.key, cursor.index, cursor.pinned) == ("a", 0, False)


def test_elsewhere_it_stays_on_its_key():
    cursor = at("abc", 1)
    cursor.place(list("xyzabc"))
    assert (cursor.key, cursor.index) == ("b", 4)


def test_back_at_the_top_it_is_loose_again():
    cursor = at("abc", 1)
    cursor.to(-5)
    assert (cursor.key, cursor.pinned, cursor.held) == ("a", False, 0)
    cursor.to(99)
    assert cursor.key == "c"
    assert cursor.held == HOLD


def test_a_key_that_went_leaves_it_where_it_was():
    cursor = at("abc", 1)
    cursor.place(list("ac"))
    assert cursor.key == "c"
    cursor.place(["a"])
    assert cursor.key == "a"


def test_a_list_that_was_empty_for_a_while_has_its_key_again():
    cursor = at("abc", 1)
    cursor.place([])
    assert (cursor.key, cursor.index) == (None, 0)
    cursor.to(3)
    cursor.place(list("abc"))
    assert cursor.key == "b"


def test_it_goes_to_a_key():
    cursor = at("abc")
    assert cursor.to_key("c")
    assert not cursor.to_key("x")
    assert cursor.key == "c"
    assert cursor.to_key("a")
    cursor.place(list("xabc"))
    assert cursor.key == "a"


def test_it_can_wait_for_a_key():
    cursor = at("abc")
    cursor.expect("z")
    cursor.place(list("abz"))
    assert cursor.key == "z"


def test_following_a_row_holds_at_the_top_too():
    cursor = at("abc")
    cursor.toggle_follow()
    assert cursor.follow
    cursor.place(list("xabc"))
    assert cursor.key == "a"
    cursor.toggle_follow()
    assert not cursor.follow
    assert cursor.pinned
    cursor.to(0)
    assert not cursor.pinned


def test_what_is_followed_and_goes_is_followed_no_more():
    cursor = at("abc")
    cursor.toggle_follow()
    cursor.place(list("bc"))
    assert not cursor.follow
    assert cursor.key == "b"


def test_the_newest_of_a_stream_is_followed_until_the_cursor_moves():
    cursor = at("abc", newest_last=True)
    assert cursor.follow
    cursor.place(list("abcd"))
    assert cursor.key == "d"
    cursor.to(1)
    assert not cursor.follow
    cursor.place(list("abcde"))
    assert cursor.key == "b"
    cursor.toggle_follow()
    assert (cursor.key, cursor.follow) == ("e", True)
    cursor.toggle_follow()
    cursor.place(list("abcdef"))
    assert cursor.key == "e"
