from evtools.cli.completions import fish


def test_each_option_is_a_line_for_the_program_and_for_evtools(programs):
    lines = fish.script(programs).splitlines()
    for rest in (
        r"-s b -l broker -x -a 'redis://' -d 'It\'s a [URL]'",
        "-l tls-ca -r -F -d 'CAs'",
        "-l workdir -x -a '(__fish_complete_directories)' -d 'There'",
        "-l uid -x -a '(__fish_complete_users)' -d 'Who'",
        "-l view -x -a 'tasks types' -d 'View: one'",
        "-s x -x -d 'Leave out'",
        "-a 'state: name:'",
    ):
        assert f"complete -c evtop {rest}" in lines
        assert f"complete -c evtools -n '__evtools_is top evtop' {rest}" in lines


def test_help_is_of_tools_and_of_topics(programs):
    lines = fish.script(programs).splitlines()
    what = "keys -d 'the keys of evtop'"
    assert f"complete -c evtools -n __evtools_wants_topic -a {what}" in lines


def test_a_part_of_evtools_is_completed_there_only(programs):
    text = fish.script(programs)
    assert "-n '__evtools_is doctor' -l fix -d 'Remove'" in text
    assert "complete -c evtools doctor" not in text
    assert r"-a top -d 'the cluster\'s screen'" in text
