"""What is done to rows: actions on the cluster, and programs of the user."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn

from evtools.clock import Clock
from evtools.errors import UsageError
from evtools.filters import compile_filter
from evtools.text import clip
from evtools.top import rerun
from evtools.top.clusters import Cluster, row_name
from evtools.top.control import (
    ACTIONS,
    BY_NAME,
    Action,
    Argument,
    Request,
    actions_for,
    prepare,
    target_of,
)
from evtools.top.model import Model
from evtools.top.options import View
from evtools.top.programs import Program, Programs, runs_of
from evtools.top.table import TableModel
from evtools.top.ui import widgets as ui
from evtools.top.ui.terminal import Display

AGAIN: Final = BY_NAME["run-again"]
#: Lines that send a task again, in the clipboard.
CALLS: Final = {
    "python": ("p", "copy a line of Python that sends the task"),
    "celery-call": ("l", "copy a celery call command that does"),
}
#: How many targets a dialog names.
_NAMED_MAX: Final = 5
_NAME_COLS: Final = 70


class Actions(ABC):
    """The part of a session that asks what is to be done, to which rows, and has it done."""

    model: Model
    view: View
    layers: list[ui.Layer]
    display: Display
    programs: Programs
    clock: Clock

    @property
    @abstractmethod
    def table(self) -> TableModel:
        """The table of the view."""

    @abstractmethod
    def say(self, text: str, style: str = "note") -> None:
        """Show a message."""

    @abstractmethod
    def copy_calls(self, kind: str, cluster: Cluster, uuids: Iterable[str]) -> None:
        """Copy the lines that send tasks again, of one of the kinds of `CALLS`."""

    @property
    def can_act(self) -> bool:
        """Whether anything can be changed: not in read-only mode, nor in a replay."""
        return any(cluster.control is not None for cluster in self.model.clusters.values())

    # --- changes to the cluster -------------------------------------------------------------

    def act(self, name: str) -> None:
        """Begin an action; without a name it is chosen from a menu.

        The targets, the marks or else the row, are those of this moment, whatever moves under the
        cursor.  Raise UsageError if it is not for these.
        """
        if not self.can_act:
            if not name and any(self._programs()):
                self.run_program("")
                return
            raise UsageError("nothing is changed: read-only mode", "leave out --read-only to act")
        table, keys = self.table, self.table.targets()
        if table.grouped_by:
            raise UsageError("rows of groups have no actions", "Enter shows the tasks of one")
        cluster, names = self.of_one_cluster(keys)
        rows = list(zip(names, map(table.values, keys), strict=True))
        offered: dict[Action, list[str]] = {}
        for action in actions_for(self.view):
            found = (target_of(action, self.view, *row) for row in rows if action.target is None)
            offered[action] = list(dict.fromkeys(one for one in found if one is not None))
        if self.view == "errors":
            offered[AGAIN] = self._failed(keys)
        if not name:
            self._offer(offered)
            return
        chosen = next((action for action in ACTIONS if action.name == name), None)
        if chosen is None:
            raise UsageError(f"there is no action {name}")
        if chosen not in offered:
            raise UsageError(f"{chosen.title} is not for {table.title.lower()}")
        begin = partial(self._begin, cluster, chosen)
        if chosen.target is None:
            begin(*offered[chosen])
        else:
            self._question(chosen, chosen.target, begin)

    def _offer(self, offered: Mapping[Action, Sequence[str]]) -> None:
        # Actions with their targets, and programs, in a menu.
        choices = []
        for action, targets in offered.items():
            do = partial(self.act, action.name)
            if action.target is not None:
                choices.append(ui.Choice(f"{action.title}  ...", do, action.key))
            elif targets:
                many = f"{len(targets)} {action.kind}s"
                about = clip(targets[0], _NAME_COLS // 2) if len(targets) == 1 else many
                choices.append(ui.Choice(f"{action.title}  ({about})", do, action.key))
        choices += self._program_choices({one.key for one in choices})
        if not choices:
            raise UsageError("there are no actions on this row")
        self.layers.append(ui.Menu("actions", choices))

    def _failed(self, keys: Iterable[str]) -> list[str]:
        # The tasks that rows of errors lead to, as Enter would show them.
        tasks, found = self.model.views["tasks"], dict[str, None]()
        for _, text in filter(None, map(self.table.drill, keys)):
            zone = tasks.context.zone
            matches = compile_filter(text, fields=tasks.fields, zone=zone, now=tasks.now).matches
            found |= dict.fromkeys(task.uuid for task in tasks.rows.values() if matches(task))
        return [*found]

    def of_one_cluster(self, keys: Iterable[str]) -> tuple[Cluster, list[str]]:
        """Return the cluster of some rows, and their keys in it: what is done is done in one.

        Raise UsageError if they are of several.
        """
        clusters, names, found = self.model.clusters, list[str](), set[str]()
        for key in keys:
            name = getattr(self.table.subject(key), "cluster", "") or ""
            found.add(name)
            names.append(row_name(name, key))
        if not found and len(clusters) == 1:
            found.update(clusters)
        if len(found) != 1:
            hint = f"there are {', '.join(clusters)}: go to a row of one, or filter cluster:NAME"
            what = "these rows are of several clusters" if found else "no row says which cluster"
            raise UsageError(what, hint)
        return clusters.of(found.pop()), names

    def _begin(self, cluster: Cluster, action: Action, *targets: str) -> None:
        state, now = cluster.state, self.clock.wall()
        if action is AGAIN:
            self._run_again(rerun.prepare_again(state, action, targets, now=now))
        else:
            request = prepare(state, action, targets, now=now)
            if action.kind == "queue":
                # How much there is to lose.
                labels, depths = list(request.labels), cluster.broker_facts().depths
                for at, queue in enumerate(request.targets):
                    if queue in depths and (ready := depths[queue].ready) is not None:
                        labels[at] += f", {ready} ready"
                request = replace(request, labels=tuple(labels))
            self._answer(request, {})

    def _run_again(self, request: Request) -> None:
        # Ask for the queues that no event has, and then for the confirmation.
        cluster = self.model.clusters.of(request.cluster)
        state, survey = cluster.state, cluster.survey
        question = rerun.question(request, state, survey)
        if not request.calls:
            self._refuse(request)
        elif question is not None:
            name = question.name
            self._question(
                request.action,
                question,
                lambda queue: self._run_again(rerun.with_queue(request, name, queue)),
            )
        else:
            self._confirm(request, rerun.dialog(request, state, survey, now=self.clock.wall()))

    def _refuse(self, request: Request) -> None:
        # Why none of the tasks can be run again, and lines to do it by hand.
        lines = []
        for _, label, reason in request.refused[:_NAMED_MAX]:
            lines += [ui.Choice(label, None), ui.Choice(f"  {reason}", None)]
        if len(request.refused) > _NAMED_MAX:
            lines.append(ui.Choice(f"and {len(request.refused) - _NAMED_MAX} more", None))
        uuids = [uuid for uuid, _, _ in request.refused]
        cluster = self.model.clusters.of(request.cluster)
        choices = [
            ui.Choice(text, partial(self.copy_calls, kind, cluster, uuids), key)
            for kind, (key, text) in CALLS.items()
        ]
        title = "not run again"
        self.layers.append(ui.Menu(title, [*lines, *choices], at=len(lines)))

    def _answer(self, request: Request, answers: dict[str, str]) -> None:
        # Ask the next question of a request, or for its confirmation if there is none left.
        action = request.action
        argument = next((one for one in action.arguments if one.name not in answers), None)
        if argument is None:
            self._confirm(request.answered(answers))
            return
        name = argument.name
        self._question(
            action, argument, lambda text: self._answer(request, {**answers, name: text})
        )

    def _question(self, action: Action, argument: Argument, then: Callable[[str], None]) -> None:
        # Ask until the answer is one.
        def accepted(text: str) -> ui.OnClose:
            try:
                argument.parse(text.strip())
            except ValueError as error:
                prompt.notes = [("error", f"{error} ({argument.question})")]
                return None
            return partial(then, text.strip())

        if argument.choices:
            choices = [ui.Choice(choice, partial(then, choice)) for choice in argument.choices]
            self.layers.append(ui.Menu(f"{action.title}: {argument.title}", choices))
        else:
            label, hint = f"{argument.title}> ", f"{argument.question}:"
            prompt = ui.Prompt(label, accepted, ui.Editor(argument.default), hint=hint)
            self.layers.append(prompt)

    def _confirm(
        self, request: Request, about: Iterable[str | tuple[str, str]] | None = None
    ) -> None:
        # `about` has what is to be confirmed, by default the targets and the answers.
        action, word, labels = request.action, request.confirmation, request.labels

        def send() -> None:
            control = self.model.clusters.of(request.cluster).control
            assert control is not None
            control.submit(request)
            self.say(f"{request.summary}: sent ...")

        if not word:
            send()
            return
        if about is None:
            text = [f"in cluster {request.cluster}"] if request.cluster else []
            text += [clip(label, _NAME_COLS) for label in labels[:_NAMED_MAX]]
            if len(labels) > _NAMED_MAX:
                text.append(f"and {len(labels) - _NAMED_MAX} more")
            for argument in action.arguments:
                value = request.values.get(argument.name)
                text.append(f"{argument.title}: {'none' if value is None else value}")
            about = [*text, action.consequence]
        word = "" if word == "y" else word
        self.layers.append(ui.Dialog(action.title, [*about], send, word=word, yes=action.title))

    # --- programs of the user ---------------------------------------------------------------

    def run_program(self, name: str) -> None:
        """Run a program of the user; without a name it is chosen from a menu.

        The marked rows, or the row, are those of this moment.  Raise UsageError if it is not for
        these.
        """
        offered = {one.name: one for one in self._programs()}
        if not name:
            if not offered:
                hint = "a [command.NAME] in the settings file is one; see evtools.toml(5)"
                raise UsageError(f"there are no programs for {self.table.title.lower()}", hint)
            self.layers.append(ui.Menu("programs", [*self._program_choices(())]))
            return
        if name not in offered:
            self._refuse_program(name)
        program = offered[name]
        runs = runs_of(program, self.table, self.table.targets())

        def begin() -> None:
            if program.background:
                self.programs.begin(program, runs)
                self.say(f"{name}: running ...")
                return
            with self.display.lent():
                outcome = self.programs.run_here(program, runs)
            self.say(outcome.text, "note" if outcome.good else "warning")

        if not program.confirm:
            begin()
            return
        lines = [clip(run.shown, _NAME_COLS) for run in runs[:_NAMED_MAX]]
        if len(runs) == 1:
            # All of it, if possible: the end of a long one may be the worst of it.
            shown = runs[0].shown
            ends = range(0, min(len(shown), _NAMED_MAX * _NAME_COLS), _NAME_COLS)
            lines = [shown[at : at + _NAME_COLS] for at in ends]
            if len(shown) > _NAMED_MAX * _NAME_COLS:
                lines.append(f"and {len(shown) - _NAMED_MAX * _NAME_COLS} characters more")
        elif len(runs) > _NAMED_MAX:
            lines.append(f"and {len(runs) - _NAMED_MAX} more")
        if program.stdin:
            count = len(self.table.targets())
            lines.append(f"with {count} row{'s' if count != 1 else ''} as JSON on its input")
        self.layers.append(ui.Dialog(f"run {program.title}?", lines, begin, yes="Run"))

    def _refuse_program(self, name: str) -> NoReturn:
        named = self.programs.named
        if name not in named:
            hint = f"there are {', '.join(named) or 'none'}"
            raise UsageError(f"there is no program {name}", hint)
        if self.view not in named[name].views:
            views = ", ".join(named[name].views)
            raise UsageError(f"{name} is not for {self.table.title.lower()}", f"it is for {views}")
        hint = "safe = true in the settings file lets it run all the same"
        raise UsageError(f"{name} is not run in read-only mode", hint)

    def _programs(self) -> Iterator[Program]:
        return self.programs.of_view(self.view, can_act=self.can_act)

    def _program_choices(self, taken: Container[str]) -> Iterator[ui.Choice]:
        for one in self._programs():
            key = one.key if len(one.key) == 1 and one.key not in taken else ""
            do = partial(self.run_program, one.name)
            yield ui.Choice(f"{one.title}  ({one.run[0]})", do, key)
