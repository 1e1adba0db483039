"""Kin: children and families, and that nothing of a forgotten task stays."""

from hypothesis import given
from hypothesis import strategies as st

from evtools.state.kin import Kin


def test_children_and_families_are_in_the_order_we_heard_of_them():
    kin = Kin()
    for uuid in ("b", "a", "c"):
        kin.add(uuid, "parent", "root")
    assert kin.children("parent") == ("b", "a", "c")
    assert kin.family("root") == ("b", "a", "c")


def test_who_is_not_known_has_neither_children_nor_a_family():
    kin = Kin()
    assert kin.children("x") == ()
    assert kin.family("x") == ()


def test_a_task_that_is_its_own_root_is_alone():
    kin = Kin()
    kin.add("a", None, "a")
    assert kin.family("a") == ()
    assert len(kin) == 0


def test_what_is_told_later_replaces_what_was_told():
    kin = Kin()
    kin.add("a", "p1", "r1")
    kin.add("a", "p2", "r1")
    assert kin.children("p1") == ()
    assert kin.children("p2") == ("a",)
    assert kin.family("r1") == ("a",)


def test_what_is_told_again_moves_nobody():
    kin = Kin()
    kin.add("a", "p", None)
    kin.add("b", "p", None)
    kin.add("a", "p", None)
    assert kin.children("p") == ("a", "b")


def test_who_was_never_added_can_be_discarded():
    kin = Kin()
    kin.add("a", "p", "r")
    kin.discard("b")
    assert kin.children("p") == ("a",)


def test_a_task_may_have_only_a_parent_or_only_a_root():
    kin = Kin()
    kin.add("a", "p", None)
    kin.add("b", None, "r")
    assert kin.children("p") == ("a",)
    assert kin.family("r") == ("b",)
    kin.discard("a")
    kin.discard("b")
    assert len(kin) == 0


def test_all_can_be_forgotten():
    kin = Kin()
    kin.add("a", "p", "r")
    kin.clear()
    assert len(kin) == 0
    assert kin.children("p") == kin.family("r") == ()


_UUIDS = st.sampled_from("abcd")
_KEYS = st.none() | _UUIDS
_CHANGES = st.lists(st.tuples(_UUIDS, _KEYS, _KEYS) | st.tuples(_UUIDS), min_size=1, max_size=30)


@given(_CHANGES)
def test_it_holds_what_was_added_last_and_nothing_else(changes):
    kin, known = Kin(), {}
    for uuid, *keys in changes:
        if keys:
            kin.add(uuid, *keys)
            known[uuid] = keys
        else:
            kin.discard(uuid)
            known.pop(uuid, None)
    for key in "abcd":
        of_parent = {uuid for uuid, (parent, _) in known.items() if parent == key}
        of_root = {uuid for uuid, (_, root) in known.items() if root == key != uuid}
        assert set(kin.children(key)) == of_parent
        assert set(kin.family(key)) == of_root
    for uuid in known:
        kin.discard(uuid)
    assert vars(kin) == vars(Kin())
