"""A table of a few things, without a cluster behind it."""

import pytest

from evtools.top.columns import column
from evtools.top.table import TableModel


class Things(TableModel):
    """Rows with a name, a state and a number, in the order they are given."""

    name = "tasks"
    default_sort = "name"
    columns = (
        column("text", "state", "STATE", "its state", lambda thing, _: thing["state"], cols=6),
        column("name", "name", "NAME", "its name", lambda thing, _: thing["name"], cols=10),
        column("count", "number", "NUMBER", "its number", lambda thing, _: thing["number"]),
    )

    def __init__(self, things):
        super().__init__()
        self.things = dict(things)
        self.refresh(self.context)

    def load(self):
        self.rows = self.things

    def matching(self):
        return list(self.things)

    def style_of(self, subject):
        return subject.get("style", "")


def thing(number, **more):
    return {"name": f"thing {number}", "state": "OK", "number": number, **more}


@pytest.fixture
def things():
    """Return what makes a table of so many things."""
    return lambda count: Things({f"key{n}": thing(n) for n in range(count)})
