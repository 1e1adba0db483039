"""A table of a few things, without a cluster behind it."""

import pytest

from evtools.filters import Kind
from evtools.top.columns import Column, fields_of
from evtools.top.table import TableModel


class Things(TableModel):
    """Rows with a name, a state and a number, in the order they are given."""

    name = "tasks"
    title = "Things"
    noun = "things"
    default_sort = "name"

    def __init__(self, things):
        self.things = dict(things)
        super().__init__(lambda: 0.0)
        self.refresh(self.context)

    @property
    def columns(self):
        def value(name):
            return lambda thing, _: thing[name]

        return (
            Column("state", "STATE", "its state", Kind.TEXT, 6, value("state")),
            Column("name", "NAME", "its name", Kind.TEXT, 10, value("name"), flex=1),
            Column(
                "number", "NUMBER", "its number", Kind.NUMBER, 6, value("number"), align="right"
            ),
        )

    @property
    def fields(self):
        return fields_of(self.columns, self.now)

    @property
    def total(self):
        return len(self.things)

    def subject(self, key):
        return self.things.get(key)

    def style_of(self, subject):
        return subject.get("style", "")

    def _load(self):
        pass

    def _arranged(self):
        return [key for key in self.things if self.matches(self.things[key])]


def thing(number, **more):
    return {"name": f"thing {number}", "state": "OK", "number": number, **more}


@pytest.fixture
def things():
    """Return what makes a table of so many things."""
    return lambda count: Things({f"key{n}": thing(n) for n in range(count)})
