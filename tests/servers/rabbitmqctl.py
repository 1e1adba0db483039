"""rabbitmqctl in one Erlang that stays: a start of its own takes a second of CPU, a call 20 ms."""

from __future__ import annotations

import base64
import os
import select
import subprocess
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from servers.process import broker_argv

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Debian's scripts on PATH change the user; the real ones are here.
SCRIPTS = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/usr/sbin")

_END = "--- status "
#: The program's own `main`, but for its end: for each line of arguments, run the command,
#: print what it prints, and then its status.
_LOOP = (
    """
    {ok, _} = application:ensure_all_started(elixir),
    ok = application:load(rabbitmqctl),
    Print = fun(Output, Command, Options) ->
        Formatter = 'Elixir.RabbitMQ.CLI.Core.Config':get_formatter(Command, Options),
        Printer = 'Elixir.RabbitMQ.CLI.Core.Config':get_printer(Command, Options),
        Text = 'Elixir.RabbitMQ.CLI.Core.Output':format_output(Output, Formatter, Options),
        'Elixir.RabbitMQ.CLI.Core.Output':print_output(Text, Printer, Options)
    end,
    Loop = fun Loop() ->
        case io:get_line("") of
            eof -> halt(0);
            Line ->
                Words = string:lexemes(unicode:characters_to_list(Line), " \\n"),
                Args = [base64:decode(tl(Word)) || Word <- Words],
                case catch 'Elixir.RabbitMQCtl':exec_command(Args, Print) of
                    {error, Status, Error} when is_binary(Error) ->
                        io:put_chars([Error, 10]);
                    {ok, Status} -> ok;
                    ok -> Status = 0;
                    Other -> Status = 70, io:format("~p~n", [Other])
                end,
                io:format("~n"""
    + _END
    + """~p~n", [Status]),
                Loop()
        end
    end,
    Loop().
    """
)


class Control:
    """Run commands of rabbitmqctl, with its own code."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder / "rabbitmqctl"
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *args: str, deadline: float) -> tuple[int, str]:
        """Return the exit status of a command, and what it prints."""
        line = b" ".join(b"=" + base64.b64encode(arg.encode()) for arg in args)
        with self._lock:
            if self._process is None:
                self._process = self._started()
            assert self._process.stdin is not None
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
            text, found, status = self._answer(deadline).rpartition("\n" + _END)
        assert found, text
        return int(status), text

    def end(self) -> None:
        """Leave nothing behind."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.communicate()
                self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        *before, script = broker_argv("rabbitmqctl", *SCRIPTS)
        root = before[1] if before else ""
        home = Path(f"{root}{script}").resolve().parent.parent
        with zipfile.ZipFile(home / "escript" / "rabbitmqctl") as archive:
            archive.extractall(self._folder)
        places = {str(each.parent) for each in self._folder.glob("**/*.beam")}
        return subprocess.Popen(
            [
                *broker_argv("erl"),
                *("-boot", "start_clean", "-noshell", "-hidden", "+S", "1:1", "+A", "1"),
                *("-pa", *places, "-eval", _LOOP, "-extra", "rabbitmqctl"),
            ],
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _answer(self, deadline: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe, answer = self._process.stdout.fileno(), b""
        end = time.monotonic() + deadline
        # The status is a number with its line.
        while _END.encode() not in answer or not answer.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise AssertionError(f"rabbitmqctl has not answered: {answer!r}")
            data = os.read(pipe, 65536)
            assert data, answer
            answer += data
        return answer.decode()
