import dataclasses

from evtools.cli.completions import zsh
from evtools.cli.completions.grammar import Value


def test_each_tool_has_a_function_with_its_options(programs):
    text = zsh.script(programs)
    assert text.startswith("#compdef evtools evtop evdump evcam\n")
    assert "_evtools_evtop() {" in text
    assert "_evtools_evdoctor() {" in text
    assert "'top:the cluster'\\''s screen'" in text
    for spec in (
        r"'(-b --broker)-b+[It'\''s a \[URL\]]:URL:compadd -S '\'''\'' - redis\://'",
        r"'(-b --broker)--broker=[It'\''s a \[URL\]]:",
        "'(--tls-ca)--tls-ca=[CAs]:FILE:_files'",
        "'(--workdir)--workdir=[There]:DIR:_files -/'",
        "'(--uid)--uid=[Who]:USER:_users'",
        "'(--view)--view=[View: one]:NAME:compadd - tasks types'",
        r"'*-x+[Leave out]:A\:B: '",
        "'(--fix)--fix[Remove]'",
        r"'*:FILTER:compadd -S '\'''\'' - state\: name\:'",
    ):
        assert spec in text


def test_help_is_of_tools_and_of_topics(programs):
    text = zsh.script(programs)
    assert "        'doctor:" in text
    assert "        'keys:the keys of evtop'" in text
    assert "    _describe topic topics\n" in text


def test_arguments_that_are_not_completed_are_left_out(programs):
    programs[0] = dataclasses.replace(programs[0], rest=Value("QUEUE"))
    assert "QUEUE" not in zsh.script(programs)
