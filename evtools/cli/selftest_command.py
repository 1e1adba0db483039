"""The selftest command: every check, one line each."""

import json
from typing import Final

import click

from evtools.cli.command import CONTEXT
from evtools.cli.selftest_checks import CHECKS, Finding, findings
from evtools.text import sanitize

_NAME_WIDTH: Final = max(map(len, CHECKS))
_FAILED: Final = 1


@click.command("selftest", context_settings={**CONTEXT})
@click.option(
    *("-o", "--output"),
    type=click.Choice(["text", "json"]),
    default="text",
    metavar="FORMAT",
    help="text or json.  [text]",
)
def selftest(output: str) -> int:
    """Check that this program is whole: that all it promises is inside and works.

    No broker is needed and nothing is changed.  It ends with status 1 if one
    of the checks fails.
    """
    found = []
    for finding in findings():
        found.append(finding)
        if output == "text":
            click.echo(_line(finding))
    if output == "json":
        click.echo(json.dumps([finding.as_dict() for finding in found]))
    return 0 if all(finding.ok for finding in found) else _FAILED


def _line(finding: Finding) -> str:
    mark = "ok    " if finding.ok else "FAILED"
    return f"{mark}  {finding.name:<{_NAME_WIDTH}}  {sanitize(finding.text)}"
