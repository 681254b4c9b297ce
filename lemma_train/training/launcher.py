"""What this process owes to, and needs from, the launcher that started it.

Enters: the environment variables of `accelerate launch` or `torchrun`. Leaves: nothing but settings of this process.
"""

import ctypes
import os
import signal
import socket
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_launcher() -> None:
    """Have the kernel end this rank when its launcher dies, even of SIGKILL.

    Launchers start their ranks in sessions of their own: without this, killing the launcher would leave ranks that
    go on training and writing beside the run that is started next.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ:
        end_with(os.getppid())


def end_with(parent: int) -> None:
    """Have the kernel end this process when its parent, the process with this id, dies; on Linux alone."""
    if hasattr(ctypes, "CDLL") and os.uname().sysname == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            os.kill(os.getpid(), signal.SIGKILL)


def without_launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as it was before a launcher made this process one rank of many.

    Example:
        >>> without_launcher({"RANK": "1", "ACCELERATE_USE_CPU": "true", "HOME": "/root"})
        {'HOME': '/root'}
    """
    ours = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CROSS_RANK"}
    if int(environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        ours.add("OMP_NUM_THREADS")  # a rank's share of the cores
    prefixes = ("TORCHELASTIC_", "ACCELERATE_", "FSDP_", "GROUP_", "ROLE_")
    return {key: value for key, value in environ.items() if key not in ours and not key.startswith(prefixes)}


def has_siblings(environ: Mapping[str, str]) -> bool:
    """Whether this process is one rank of several, which their launcher ends with SIGTERM when one of them fails."""
    return int(environ.get("WORLD_SIZE", "1")) > 1


def lost_a_rank(error: BaseException) -> bool:
    """Whether a collective failed, which is what the end of one rank looks like on the others.

    Only the text tells: gloo raises a bare RuntimeError.
    """
    return type(error).__name__.startswith("Dist") or any(word in str(error) for word in ("gloo", "NCCL", "c10d"))


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
