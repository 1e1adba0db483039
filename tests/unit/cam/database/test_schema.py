"""Texts that every database takes."""

from hypothesis import example, given
from hypothesis import strategies as st

from evtools.cam.database.schema import (
    NAME_MAX,
    TEXT_MAX,
    clean,
    clean_end,
    clean_key,
    clean_name,
    clean_value,
)


@given(st.text(st.characters(codec=None) | st.sampled_from("\0\ud83d\ude00\udfff")))
@example("\ud800")
@example("a\0b")
def test_every_text_becomes_one_that_a_database_takes_and_stays_that(text):
    for made in (clean(text), clean_end(text), clean_name(text), clean_key(text)):
        assert "\0" not in made
        made.encode()
        assert clean(made) == clean_end(made) == clean_name(made) == clean_key(made) == made


def test_what_can_be_kept_is_kept_down_to_the_last_value():
    text = "ünï\tcödé\n\x1b[31m 😀"
    assert clean(text) == text
    dirty = {"a\0": ["b\0\ud800c", {"c": ("\ud800", 1, None, 2.5, True)}]}
    assert clean_value(dirty) == {"a�": ["b��c", {"c": ["�", 1, None, 2.5, True]}]}


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
