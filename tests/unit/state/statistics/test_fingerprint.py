import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.statistics.failures import TEXT_MAX, Fingerprint, blank, fingerprint


@pytest.mark.parametrize(
    ("exception", "kind", "message"),
    [
        ("CardError('declined')", "CardError", "declined"),
        ('CardError("declined")', "CardError", "declined"),
        ("shop.CardError('declined')", "shop.CardError", "declined"),
        ("MemoryError()", "MemoryError", ""),
        ("MemoryError", "MemoryError", ""),
        ("OSError(2, 'No such file')", "OSError", "*, No such file"),
        ("TimeLimitExceeded(30,)", "TimeLimitExceeded", "*"),
        ("KeyError('user-42')", "KeyError", "*"),
        ("ValueError('cut by the sen", "ValueError", "'cut by the sen"),
        ("it broke after 3 tries", "", "it broke after * tries"),
        ("", "", ""),
    ],
)
def test_an_exception_is_its_type_and_its_message(exception, kind, message):
    assert fingerprint("t", exception, None) == Fingerprint("t", kind, message)


@pytest.mark.parametrize(
    ("message", "blanked"),
    [
        ("timed out after 30.5s", "timed out after *"),
        ("1 of -3.5e-10 at 0x7f3a", "* of * at *"),
        ("<Order object at 0x7fdeadbeef>", "<Order object at *>"),
        ("order 7a8b8d37-ebe5-4d26-8057-17bb6963e503 is gone", "order * is gone"),
        ("token eyJhbGciOiJIUzI1NiJ9 expired", "token * expired"),
        ("no route to 10.0.0.5:6379", "no route to *"),
        ("no route to 2001:db8::ff", "no route to *"),
        ("no route to w3@ip-10-2", "no route to *"),
        ("mail to joe@example.org bounced", "mail to * bounced"),
        ("at 2026-11-20T14:00:05.123Z.", "at *."),
        ("https://api.example.org/orders/7781?x=1", "https://api.example.org/orders/*?x=*"),
        ("line:42", "line:*"),
        ("no key 'abc' in \"def\"", "no key '*' in \"*\""),
        ("can't find user's file", "can't find user's file"),
        ("ids [1, 2, 3] are gone", "ids [*] are gone"),
        ("two\n  lines", "two lines"),
        ("nothing to see", "nothing to see"),
    ],
)  # fmt: skip
def test_variable_parts_are_blanked(message, blanked):
    assert blank(message) == blanked


def test_what_differs_in_details_is_of_one_kind():
    kinds = {
        fingerprint("t", f"HTTPError('503 from 10.0.0.{n}: \"{n:x}\"')", None) for n in range(50)
    }
    assert len(kinds) == 1


def test_what_differs_in_words_is_not():
    assert fingerprint("t", "E('a')", None) != fingerprint("t", "E('b')", None)
    assert fingerprint("t", "E('a')", None) != fingerprint("u", "E('a')", None)
    assert fingerprint("t", "E('a')", None) != fingerprint("t", "F('a')", None)


def test_the_traceback_names_what_a_hard_time_limit_hid():
    traceback = (
        "Traceback (most recent call last):\n  ...\n"
        "billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(30,)\n"
    )
    assert fingerprint("t", "ExceptionWithTraceback()", traceback) == Fingerprint(
        "t", "TimeLimitExceeded", "TimeLimitExceeded(*,)"
    )
    assert fingerprint("t", "E('x')", traceback) == Fingerprint("t", "E", "x")


@pytest.mark.parametrize("traceback", [None, "", "\n", "  ^^^^\n", 7, ["x"]])
def test_a_wrapper_without_a_usable_traceback_stands_for_itself(traceback):
    assert fingerprint("t", "ExceptionWithTraceback()", traceback) == Fingerprint(
        "t", "ExceptionWithTraceback", ""
    )


@pytest.mark.parametrize("exception", [None, 7, [], {"a": 1}, True])
def test_an_exception_that_is_no_text_is_nothing(exception):
    assert fingerprint("t", exception, None) == Fingerprint("t", "", "")


@given(st.text(), st.text())
def test_any_text_has_a_fingerprint_of_bounded_length(exception, traceback):
    found = fingerprint("t", exception * 50, traceback)
    assert len(found.exception) <= TEXT_MAX
    assert len(found.message) <= TEXT_MAX


@given(st.text(alphabet="ab1'\"(), \n@.:-\\", max_size=80))
def test_no_digit_is_left(message):
    assert "1" not in blank(message)
