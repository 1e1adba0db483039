"""Metrics as the answer to who asks for them over HTTP."""

from collections.abc import Callable, Iterable
from functools import partial

from evtools.cam.http import Request, Response, Route
from evtools.cam.metrics.exposition import Family, Format, render

Families = Callable[[], Iterable[Family]]


def scrape(families: Families) -> Route:
    """Return what answers with the metrics that `families` returns then."""
    return partial(_answer, families)


def _answer(families: Families, request: Request) -> Response:
    form = Format.accepted(request.accept)
    return Response(200, render(families(), form), form.value)
