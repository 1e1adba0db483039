from evtools.transport.examination import Ground, Leftover, Right, Search


def test_values_say_the_good_unless_told_otherwise():
    assert Ground("x").exists
    assert Ground("x").may_declare
    assert Right("x", granted=True).why == ""
    assert Leftover("list", "x", free=True).messages is None
    assert Search() == Search([], "")
