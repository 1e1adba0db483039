"""Options that several tools have alike, each under a variable of its own."""

from functools import partial
from typing import Final

from evtools.cli import params
from evtools.cli.options import option

_MEBIBYTE: Final = 1024 * 1024

# Each lacks its `prefix`, and may be given another group or help.

demo = partial(
    option,
    "--demo",
    group="Other",
    is_flag=True,
    in_file=False,
    help="Show a simulated cluster; no broker is needed.",
)
json_output = partial(
    option,
    *("--json", "json_output"),
    group="Output",
    is_flag=True,
    in_file=False,
    envvar=(),
    help="The same as -o json.",
)
max_tasks = partial(
    option,
    "--max-tasks",
    type=params.COUNT,
    default=100_000,
    metavar="N",
    help="Remember so many tasks; finished ones are forgotten first.  [100000]",
)
max_memory = partial(
    option,
    "--max-memory",
    type=params.SIZE,
    default=256 * _MEBIBYTE,
    help="Memory for tasks and workers; what exceeds it is forgotten.  [256M]",
)
_moment = partial(option, group="Recording", in_file=False, type=params.MOMENT)
since = partial(
    _moment,
    *("-S", "--since"),
    help="With -r, start at this time: 14:30 (of the recording), 10m (ago), 2026-11-20T14:00Z.",
)
until = partial(_moment, *("-U", "--until"), help="With -r, stop after this time.")
read = partial(
    option,
    group="Recording",
    in_file=False,
    multiple=True,
    type=params.RECORDING,
    metavar="FILE",
    help="Take the events of a recording instead of a broker's; -: stdin."
    " Repeatable, and 'rec-*.jsonl' takes several, in order of time.",
)
