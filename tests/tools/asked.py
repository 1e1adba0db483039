"""Workers that answer what a test made, instead of the thread that asks real ones."""

from __future__ import annotations

from typing import Any

from evtools.top.survey import Answer, Inquiry
from tools.told import UUID

STATS = {"pid": 77, "pool": {"max-concurrency": 4, "processes": [78, 79]}}
QUEUES = [{"name": "mail", "exchange": {}}, {"name": "celery"}]
ACTIVE = {"id": UUID, "name": "shop.pay", "args": "(1,)", "kwargs": "{}", "time_start": 11.0}


class AskedWorkers:
    """Keep the inquiries, and give out the answers that were put in."""

    def __init__(self) -> None:
        self.inquiries: list[Inquiry] = []
        self.answers: list[Answer] = []

    def ask(self, inquiry: Inquiry) -> None:
        self.inquiries.append(inquiry)

    def take(self) -> Answer | None:
        return self.answers.pop(0) if self.answers else None

    def answer(
        self,
        command: str,
        by_node: dict[str, Any],
        *,
        over: bool = True,
        error: str = "",
        inquiry: Inquiry | None = None,
    ) -> None:
        """Answer the last inquiry of a command, or the one that is given."""
        found = [one for one in self.inquiries if one.command == command]
        inquiry = inquiry or (found[-1] if found else Inquiry(command))
        self.answers.append(Answer(inquiry, by_node, 15.0, len(by_node), over, error))

    def answer_all(self, **by_command: dict[str, Any]) -> None:
        """Answer all inquiries, with what there is for their commands."""
        for inquiry in self.take_inquiries():
            self.answer(inquiry.command, by_command.get(inquiry.command, {}), inquiry=inquiry)

    def take_inquiries(self) -> list[Inquiry]:
        """Return the inquiries since the last call."""
        inquiries, self.inquiries = self.inquiries, []
        return inquiries
