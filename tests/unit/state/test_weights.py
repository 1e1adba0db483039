"""Weights: an estimate that no value can make fail."""

from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st

from evtools.state.weights import weigh

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_a_text_weighs_what_it_takes():
    assert weigh("x" * 1000) == getsizeof("x" * 1000)


def test_what_a_list_holds_weighs_too():
    assert weigh(["x" * 1000] * 3) >= 3 * weigh("x" * 1000)
    assert weigh(("x" * 1000,)) == getsizeof((None,)) + weigh("x" * 1000)


def test_the_names_and_the_values_of_a_dictionary_weigh():
    fields = {"n" * 1000: "v" * 2000}
    assert weigh(fields) == (getsizeof(fields) + weigh("n" * 1000) + weigh("v" * 2000))


def test_no_depth_is_too_deep():
    value = []
    for _ in range(100_000):
        value = [value]
    assert weigh(value) > 100_000 * getsizeof([])


@given(json_values, json_values)
def test_more_weighs_more(one, other):
    assert weigh([one, other]) > weigh([one]) > weigh([])
    assert weigh({"a": one, "b": other}) >= weigh(one) + weigh(other)
