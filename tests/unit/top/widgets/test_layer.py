from evtools.top.widgets.layer import nothing, typed


def test_keys_that_type_a_character():
    assert typed("a") == "a"
    assert typed("space") == " "
    assert typed("中") == "中"
    assert typed("enter") == typed("ctrl-a") == typed("f1") == ""


def test_nothing_comes_of_looking():
    assert nothing() is None
