"""The least of a shell: one job in the foreground of the terminal on stdin.

`python job.py DESCRIPTOR COMMAND...` writes the job's process number to DESCRIPTOR and
ends as the job ended. A job without a parent in its session could not be stopped with
Ctrl-Z; when it continues, it is in the foreground again. A SIGUSR1 is what `fg` is in
a shell: the job has the terminal before it continues.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios


def main(told: int, argv: list[str]) -> int:
    """Run the job and return its exit status."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # In the background while the job runs, we change the foreground all the same.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    go, gone = os.pipe()
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.close(gone)
        os.close(told)
        os.read(go, 1)
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(argv[0], argv)
    os.close(go)
    os.setpgid(job, job)
    os.tcsetpgrp(0, job)
    os.close(gone)

    def to_foreground(*_: object) -> None:
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)

    signal.signal(signal.SIGUSR1, to_foreground)
    os.write(told, str(job).encode())
    os.close(told)
    return follow(job)


def follow(job: int) -> int:
    """Wait for the end of the job, through all its stops."""
    while True:
        _, status = os.waitpid(job, os.WUNTRACED | os.WCONTINUED)
        if os.WIFSTOPPED(status):
            os.tcsetpgrp(0, os.getpgrp())
        elif os.WIFCONTINUED(status):
            os.tcsetpgrp(0, job)
        elif os.WIFSIGNALED(status):
            end_with(os.WTERMSIG(status))
        else:
            return os.waitstatus_to_exitcode(status)


def end_with(number: int) -> None:
    """End from the signal that ended the job."""
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
