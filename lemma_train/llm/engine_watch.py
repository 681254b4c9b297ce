"""Ends a dead process's children: vLLM's engine, which does not notice that the process it worked for was killed.

Enters: a process to watch. Leaves: nothing, or the end of its descendants. Run as a script, it is the watcher: a small
process of its own, because who was killed with SIGKILL can end nobody any more. Without it a killed evaluation would
leave its engine behind, with the GPU's memory that the next start needs.

It looks at the descendants once a second, since nobody could name them afterwards; the pipe to the watched process
breaks when that dies. It needs psutil, which vLLM brings, and nothing else of this project.
"""

import os
import select
import subprocess
import sys
from contextlib import suppress

_LOOK_SECONDS = 1.0
_GENTLE_SECONDS = 5.0


class EngineWatch:
    """Watches this process from its making until `leave`.

    Example:
        >>> watch = EngineWatch()                                                                   # doctest: +SKIP
        >>> watch.leave()                                                                           # doctest: +SKIP
    """

    def __init__(self) -> None:
        # -P: the script's folder holds modules that are not to hide installed ones. A session of its own: a Ctrl-C is
        # not meant for the watcher.
        command = [sys.executable, "-P", __file__, str(os.getpid())]
        self._watcher = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def leave(self) -> None:
        """Stop watching; nothing is ended."""
        with suppress(BrokenPipeError):
            self._watcher.communicate(b"leave")


def watch(pid: int, pipe: int) -> None:
    """Return when a byte comes through the pipe; when it breaks, end what descends from the process `pid`."""
    import psutil

    family: set[psutil.Process] = set()  # an object also knows when its process began: a number that was used again
    while not select.select([pipe], [], [], _LOOK_SECONDS)[0]:
        with suppress(psutil.NoSuchProcess):
            family.update(psutil.Process(pid).children(recursive=True))
    if os.read(pipe, 1):
        return
    left = [process for process in family if process.pid != os.getpid()]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(left, timeout=_GENTLE_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.stdin.fileno())
