"""What came of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from evtools.text import human_duration, sanitize
from evtools.top.request import Request
from evtools.transport import Replies

_REPLY_CHARS: Final = 200
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Reply:
    """What one worker answered, as text; `target` is what it was asked about."""

    worker: str
    target: str
    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """The replies to a request, each worker's, and how long they took.

    `error` says why it could not be sent, "" if it was.  `expected` is how
    many workers were likely to answer, None if nobody knows.  `unread` counts the
    replies that could not be read, by the reason.
    """

    request: Request
    replies: tuple[Reply, ...]
    expected: int | None
    seconds: float
    error: str = ""
    unread: Mapping[str, int] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """How many workers replied."""
        return len({reply.worker for reply in self.replies})

    @property
    def failures(self) -> tuple[Reply, ...]:
        """The replies of workers that could not or would not."""
        return tuple(reply for reply in self.replies if reply.failed)

    @property
    def good(self) -> bool:
        """Whether it was sent, nobody refused and nobody was silent."""
        missing = self.expected is not None and self.answered < self.expected
        return not (self.error or self.failures or missing)

    def sentence(self) -> str:
        """Return one line that says how it went."""
        title = f"{self.request.action.title}, {self.request.summary}"
        if self.error:
            return f"{title}: not sent: {self.error}"
        if not self.request.action.answers:
            return f"{title}: sent; workers do not answer this"
        parts = [f"{title}: {self._count()} replied in {human_duration(self.seconds)}"]
        parts += [f"{reply.worker}: {reply.text}" for reply in self.failures[:_SHOWN]]
        more = len(self.failures) - _SHOWN
        if more > 0:
            parts.append(f"and {more} more failures")
        parts += unread_replies(self.unread)
        return "; ".join(parts)

    def _count(self) -> str:
        # A worker that we have not heard of answers as well as any other.
        known = self.expected is not None and self.expected >= self.answered
        most = self.expected if known else self.answered
        noun = "worker" if most == 1 else "workers"
        return f"{self.answered} of {most} {noun}" if known else f"{most} {noun}"


def unread_replies(unread: Mapping[str, int]) -> list[str]:
    """Return what to say of replies that could not be read."""
    return [
        f"{count} {'reply' if count == 1 else 'replies'} could not be read: {kind}"
        for kind, count in unread.items()
    ]


def replies_of(replies: Replies, target: str) -> list[Reply]:
    """Return what workers answered, made fit to be shown."""
    return [
        _reply(sanitize(str(worker)[:_REPLY_CHARS]), target, answer)
        for worker, answer in sorted(replies.by_node.items())
    ]


def _reply(worker: str, target: str, answer: Any) -> Reply:
    failed, value = False, answer
    if isinstance(answer, Mapping):
        failed = "error" in answer
        value = answer.get("error" if failed else "ok", answer)
    return Reply(worker, target, sanitize(str(value)[:_REPLY_CHARS]), failed)
