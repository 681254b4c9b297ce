"""A real SLURM for the tests: a controller and two nodes, n1 and n2, as daemons of this machine, and always ended.

Enters: nothing. Leaves: the environment under which sbatch, srun and scontrol speak to this cluster and no other. All
of it lies in a folder of its own, on ports of its own; the machine's configuration is neither read nor changed.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NODES = ("n1", "n2")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
_ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL"}

# Every number that makes SLURM patient on a real cluster is small here: a requeued job waits cred_expire seconds before
# it starts again (120 by default), and the scheduler looks every second.
CONFIG = """
ClusterName=lemma
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,default_queue_depth=100
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
KillWait=30
MinJobAge=3600
ReturnToService=2
MailProg=/bin/true
{nodes}
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class SlurmCluster:
    """folder: configuration and logs of the daemons. environment: for SLURM's commands and for what calls them."""

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str | Path, check: bool = True, **env: str) -> str:
        """Run a command against this cluster; its output, both streams together."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**self.environment, **env},
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    def show(self, job: str) -> dict[str, str]:
        """What SLURM knows about a job (or an element of an array, 12_3): JobState, Restarts, Reason, ExitCode, ..."""
        line = self.call("scontrol", "-o", "show", "job", job)
        return dict(re.findall(r"(?:^| )([A-Za-z:/]+)=(\S*)", line.splitlines()[0]))

    def wait(self, job: str, seconds: float = 600) -> dict[str, str]:
        """Wait until a job has ended for good; what SLURM knows about it then."""
        deadline = time.monotonic() + seconds
        while (found := self.show(job))["JobState"] not in _ENDED:
            assert time.monotonic() < deadline, f"job {job} did not end: {found}\n{self.last_words()}"
            time.sleep(0.2)
        return found

    def last_words(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)


@contextmanager
def started() -> Iterator[SlurmCluster]:
    """Start the daemons, wait until both nodes are idle, and end everything afterwards."""
    # Not pytest's folder: the path of a Unix socket may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="lemma-slurm-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        ports = _free_ports(1 + len(NODES))
        host = socket.gethostname()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=1000000"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        config = folder / "slurm.conf"
        config.write_text(CONFIG.format(folder=folder, host=host, controller_port=ports[0], nodes=nodes))
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        cluster = SlurmCluster(folder, _environment(config))
        munge = [f"--{name}={folder}/munge.{end}" for name, end in _MUNGE_FILES.items()]
        _start(stack, cluster, "munged", ["munged", "--foreground", "--force", "--num-threads=2", *munge])
        _until(lambda: (folder / "munge.socket").exists(), cluster, "munge's socket")
        _start(stack, cluster, "slurmctld", ["slurmctld", "-D", "-c", "-f", str(config)])
        for node in NODES:
            _start(stack, cluster, node, ["slurmd", "-D", "-N", node, "-f", str(config)])
        stack.callback(_end_jobs, cluster)
        _until(lambda: cluster.call("sinfo", "-h", "-o", "%D %t", check=False) == "2 idle\n", cluster, "the nodes")
        yield cluster


_MUNGE_FILES = {
    "key-file": "key",
    "socket": "socket",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def _environment(config: Path) -> dict[str, str]:
    foreign = ("SLURM_", "SBATCH_", "SRUN_", "LEMMA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "SLURM_CONF": str(config), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def _start(stack: ExitStack, cluster: SlurmCluster, name: str, command: list[str]) -> None:
    log = stack.enter_context((cluster.folder / f"{name}.out").open("wb"))
    process = subprocess.Popen(
        command, env=cluster.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)


def _end_jobs(cluster: SlurmCluster) -> None:
    """Kill what still runs: a daemon that ends leaves the processes of its jobs behind."""
    cluster.call("scancel", "--signal=KILL", "--full", "--user=root", check=False)
    cluster.call("scancel", "--user=root", check=False)
    deadline = time.monotonic() + 15
    while cluster.call("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
        time.sleep(0.2)


def _until(ready, cluster: SlurmCluster, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            outs = "\n".join(out.read_text(errors="replace")[-1000:] for out in cluster.folder.glob("*.out"))
            raise RuntimeError(f"SLURM: {what} not ready after {seconds} s\n{outs}\n{cluster.last_words()}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """The cluster. Import this fixture where it is wanted, and mark the tests slow.

    It lives in a process of its own, which ends it when its standard input closes: also where pytest is killed.
    """
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [name for name in _PROGRAMS if shutil.which(name, path=path) is None]:
        pytest.skip(f"SLURM is not installed ({missing[0]}): apt-get install --no-install-recommends slurm-wlm munge")
    if os.geteuid():
        pytest.skip("SLURM's daemons are started by root only")
    keeper = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    with keeper:
        assert keeper.stdin and keeper.stdout
        told = keeper.stdout.readline()
        if not told:
            pytest.fail(f"SLURM did not start (exit status {keeper.wait()}); its words are above")
        config = Path(told.strip().partition("SLURM_CONF=")[2])
        yield SlurmCluster(config.parent, _environment(config))
        keeper.stdin.close()
        keeper.wait(60)


if __name__ == "__main__":  # a cluster to try things on: prints how to speak to it, and ends at the end of its input
    for number in (signal.SIGTERM, signal.SIGHUP):  # by themselves they would end this process and leave the daemons
        signal.signal(number, lambda *_: sys.exit(1))
    with started() as held:
        print(f"export SLURM_CONF={held.environment['SLURM_CONF']}", flush=True)
        sys.stdin.read()
