"""Where all threads of the process are, as text."""

import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from types import FrameType


def stacks() -> str:
    """Return the stacks of all threads, the main thread's first."""
    frames = sys._current_frames()  # noqa: SLF001  (its documented use)
    main = threading.main_thread()
    threads = sorted(threading.enumerate(), key=lambda thread: thread is not main)
    return "\n".join(_lines(threads, frames))


def _lines(threads: list[threading.Thread], frames: Mapping[int, FrameType]) -> Iterator[str]:
    for thread in threads:
        frame = frames.get(thread.ident or 0)
        yield f"thread {thread.name}{' (daemon)' if thread.daemon else ''}:"
        if frame is not None:
            yield "".join(traceback.format_stack(frame)).rstrip()
