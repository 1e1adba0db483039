"""Commands that change the cluster: menu, questions, dialog, request."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from evtools.errors import UsageError
from evtools.text import clip
from evtools.top.actions import ACTIONS, BY_NAME, Action, actions_for, target_of
from evtools.top.arguments import Argument
from evtools.top.request import Request, prepare
from evtools.top.session import Session
from evtools.top.verbs.verb import Verb
from evtools.top.widgets.dialog import Dialog
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.menu import Choice
from evtools.top.widgets.prompt import Prompt

#: How many targets a dialog names.
_NAMED: Final = 5
_NAME_COLS: Final = 70


def _actions(session: Session, name: str) -> None:
    if name:
        act(session, name)
        return
    _require_desk(session)
    choices = [
        Choice(
            f"{action.title}  ({_about(session, action)})",
            lambda name=action.name: act(session, name),  # type: ignore[misc]
            action.key,
        )
        for action in _possible(session)
    ]
    if not choices:
        raise UsageError("nothing can be done to this row")
    session.menu("actions", choices)


def _possible(session: Session) -> Iterator[Action]:
    seen = set[str]()
    for action in actions_for(session.view, read_only=session.desk is None):
        if action.key not in seen and _targets(session, action):
            seen.add(action.key)
            yield action


def _about(session: Session, action: Action) -> str:
    """Return which targets an action would have, in a few columns."""
    targets = _targets(session, action)
    one = clip(targets[0], _NAME_COLS // 2)
    return one if len(targets) == 1 else f"{len(targets)} {action.kind}s"


def _require_desk(session: Session) -> None:
    if session.desk is None:
        raise UsageError("nothing is changed: read-only mode", "leave out --read-only to act")


def _targets(session: Session, action: Action) -> list[str]:
    """Return what an action would be done to: the marks, or the row."""
    table = session.table
    found = (target_of(action, session.view, key, table.values(key)) for key in table.targets())
    return list(dict.fromkeys(one for one in found if one is not None))


def act(session: Session, name: str) -> None:
    """Ask what an action needs, ask whether it is meant, and send it.

    The targets are those of this moment, whatever moves under the cursor.
    """
    _require_desk(session)
    action = BY_NAME.get(name)
    if action is None:
        raise UsageError(f"there is no action {name}")
    if action not in actions_for(session.view, read_only=False):
        raise UsageError(f"{action.title} is not for {session.table.title.lower()}")
    request = prepare(
        session.model.state, name, _targets(session, action), now=session.clock.wall()
    )
    _Asking(session, request).go_on()


class _Asking:
    """The questions of an action, one after another."""

    def __init__(self, session: Session, request: Request) -> None:
        self._session = session
        self._request = request
        self._answers: dict[str, str] = {}

    def go_on(self) -> None:
        """Ask the next question, or for the confirmation."""
        for argument in self._request.action.arguments:
            if argument.name not in self._answers:
                self._ask(argument)
                return
        self._confirm(self._request.answered(self._answers))

    def _ask(self, argument: Argument) -> None:
        if argument.choices:
            self._session.menu(
                f"{self._request.action.title}: {argument.title}",
                [Choice(choice, self._answer(argument, choice)) for choice in argument.choices],
            )
            return
        prompt = Prompt(
            f"{argument.title}> ",
            Editor(argument.default),
            lambda text: self._take(argument, text, prompt),
        )
        prompt.error = [("hint", argument.about)]
        self._session.ask(prompt)

    def _answer(self, argument: Argument, text: str) -> Callable[[], None]:
        def answer() -> None:
            self._answers[argument.name] = text
            self.go_on()

        return answer

    def _take(self, argument: Argument, text: str, prompt: Prompt) -> bool:
        """Take an answer if it is good; otherwise say why not and ask on."""
        try:
            argument.parse(text)
        except ValueError as error:
            prompt.error = [("error", f"{error} ({argument.about})")]
            return False
        self._answers[argument.name] = text
        # The prompt closes first.
        self._session.close(prompt)
        self.go_on()
        return False

    def _confirm(self, request: Request) -> None:
        word = request.confirmation
        if not word:
            _send(self._session, request)
            return
        self._session.layers.append(
            Dialog(
                request.action.title,
                [*_named(request), *_answered(request), request.action.consequence],
                lambda: _send(self._session, request),
                word="" if word == "y" else word,
                yes=request.action.title,
            )
        )


def _named(request: Request) -> Sequence[str]:
    names = [clip(label, _NAME_COLS) for label in request.labels[:_NAMED]]
    more = len(request.labels) - len(names)
    return [*names, f"and {more} more"] if more else names


def _answered(request: Request) -> Iterator[str]:
    for argument in request.action.arguments:
        value = request.values.get(argument.name)
        yield f"{argument.title}: {'none' if value is None else value}"


def _send(session: Session, request: Request) -> None:
    assert session.desk is not None
    session.desk.submit(request)
    session.say(f"{request.action.title}, {request.summary}: sent ...")


VERBS: Final = (
    Verb("actions", "what can be done to this row", _actions, "[ACTION]"),
    *(
        Verb(action.name, action.title, lambda s, _, name=action.name: act(s, name))  # type: ignore[misc]
        for action in ACTIONS
    ),
)
