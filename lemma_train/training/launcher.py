"""What this process owes to, and needs from, the launcher that started it.

Enters: the environment variables of `accelerate launch` or `torchrun`. Leaves: nothing but settings of this process.
"""

import ctypes
import os
import signal
import socket

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_launcher() -> None:
    """Have the kernel end this rank when its launcher dies, even of SIGKILL.

    Launchers start their ranks in sessions of their own: without this, killing the launcher would leave ranks that
    go on training and writing beside the run that is started next.
    """
    launched = "TORCHELASTIC_RUN_ID" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ
    if launched and hasattr(ctypes, "CDLL") and os.uname().sysname == "Linux":
        launcher = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # it died before the kernel was told
            os.kill(os.getpid(), signal.SIGKILL)


def stand_alone_process_group() -> None:
    """Give DeepSpeed the variables of a process group of one where no launcher has set them.

    `accelerate launch` on a single GPU starts a plain process; DeepSpeed would look for MPI then.
    """
    if "WORLD_SIZE" in os.environ:
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
