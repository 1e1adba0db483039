"""What is known of a task, as text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from evtools.wire.known import NOTHING_KNOWN, KnownFields, known

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
fields = st.dictionaries(
    st.sampled_from(["name", "args", "retries", "joined"]) | st.text(max_size=3), values
)


@given(fields)
def test_fields_come_back_as_they_were(given_fields):
    made = known(given_fields)
    assert made.fields() == given_fields
    assert list(made.fields()) == list(given_fields) == list(made.names.all)


@given(fields.filter(bool))
def test_the_text_ends_a_line(given_fields):
    made = known(given_fields)
    line = b'{"type":"task-x"' + made.members + made.names.end
    assert line.endswith(b"}\n")
    assert json.loads(line)["joined"] == list(given_fields)


def test_nothing_ends_a_line_too():
    assert known({}) is NOTHING_KNOWN
    line = b'{"v":1' + NOTHING_KNOWN.members + NOTHING_KNOWN.names.end
    assert json.loads(line) == {"v": 1}
    assert NOTHING_KNOWN.fields() == {}


def test_a_start_is_added_at_the_end():
    made = known({"name": "proj.add"}).started(2.5)
    assert made.fields() == {"name": "proj.add", "started": 2.5}
    assert made.names.all == ("name", "started")
    again = known({"name": "proj.mul"}).started(3.5)
    assert again.fields() == {"name": "proj.mul", "started": 3.5}
    assert again.names is made.names
    assert again.names.tell_start
    assert not known({"name": "proj.add"}).names.tell_start


def test_a_text_that_json_cannot_say_is_kept_as_one_that_it_can():
    assert known({"name": "\ud800"}).fields() == {"name": "\\ud800"}


@given(
    st.tuples(values, values, values).filter(
        lambda row: set(row) != {None} if all(isinstance(v, str | None) for v in row) else True
    )
)
def test_fields_of_fixed_names_leave_out_what_is_none(row):
    names = ("name", "args", "eta")
    said = dict(zip(names, row, strict=True))
    said = {name: value for name, value in said.items() if value is not None}
    made = KnownFields(names).known(row, tuple(value is None for value in row))
    assert made == known(said)
