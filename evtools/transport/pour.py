"""All of some bytes into a file descriptor, however little it takes at once."""

import os
import select


def pour(fd: int, data: bytes | bytearray) -> tuple[int, OSError | None]:
    """Write `data`; return how many bytes went out, and what stopped it.

    Waits where the descriptor is non-blocking and full: whoever shares our
    terminal or pipe may have made it so.
    """
    done = 0
    with memoryview(data) as view:
        while done < len(view):
            try:
                done += os.write(fd, view[done:])
            except BlockingIOError:
                select.select([], [fd], [])
            except OSError as error:
                return done, error
    return done, None
