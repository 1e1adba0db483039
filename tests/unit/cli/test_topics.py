import subprocess
import sys

import pytest

from evtools.cli.topics import TOPICS
from evtools.top.bindings import BINDINGS, CONTEXTS
from evtools.top.keymap import keys_text


def test_the_page_of_filters_is_that_of_the_language():
    from evtools.filters.help import page

    assert TOPICS["filter"].page() == page()


def test_the_page_of_keys_has_every_key_and_command():
    lines = TOPICS["keys"].page().splitlines()
    assert [line for line in lines if line in CONTEXTS.values()] == [*CONTEXTS.values()]
    for binding in BINDINGS:
        (line,) = [line for line in lines if line.endswith(f" ({binding.command})")]
        assert line.startswith(f"  {keys_text(binding)} ")
        assert f" {binding.help} (" in line


@pytest.mark.parametrize("topic", TOPICS.values())
def test_every_page_fits_a_terminal(topic):
    assert topic.what
    assert max(map(len, topic.page().splitlines())) < 80


def test_no_page_needs_a_broker_or_a_screen():
    code = (
        "import sys\n"
        "from evtools.cli.topics import TOPICS\n"
        "[topic.page() for topic in TOPICS.values()]\n"
        "print(*{'kombu', 'urwid', 'click'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
