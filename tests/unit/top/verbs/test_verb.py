from evtools.top.verbs.verb import Verb, plain


def test_a_plain_command_ignores_what_stands_behind_it():
    done = []
    verb = plain("pause", "pause the picture", done.append)
    verb.do("session", "nonsense")
    assert done == ["session"]
    assert (verb.name, verb.about, verb.argument) == ("pause", "pause the picture", "")


def test_a_command_has_no_choices_unless_it_says_so():
    assert Verb("sort", "", lambda *_: None).choices("session") == ()
