"""A real vLLM server for the tests: started on this machine's CPU, waited for, and always ended with its children."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
READY_SECONDS = 600  # about 50 s on two idle cores


@dataclass(frozen=True)
class VllmServer:
    """base_url: ends in /v1, as OpenAI clients want it. model: the name under which the model is served."""

    base_url: str
    model: str

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.base_url}/{path}",
            data=json.dumps({"model": self.model, **body}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)


@contextmanager
def serve(model: Path) -> Iterator[VllmServer]:
    """Serve a model folder on 127.0.0.1 and a free port.

    The server has a session of its own, so that every process it starts ends with its process group.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", "student", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "bfloat16", "--max-model-len", "4096", "--enforce-eager"]
    # vLLM 0.32 on the CPU dies over a seeded request whose prompt is read in parts ("CPU Generator does not use offset"
    # in gpu_model_runner._bookkeeping_sync): prompts are read whole.
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"]
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        # kernels that are compiled at the start are found here
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True) as process,
    ):
        try:
            _wait_until_ready(process, port, log)
            yield VllmServer(f"http://127.0.0.1:{port}/v1", "student")
        finally:
            _end(process)


def _wait_until_ready(process: subprocess.Popen, port: int, log: Any) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with (
            suppress(urllib.error.URLError, TimeoutError, ConnectionError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.5)
    state = "did not get ready" if process.poll() is None else f"ended with status {process.returncode}"
    log.seek(0)
    pytest.fail(f"vLLM's server {state}; its last words:\n{log.read().decode(errors='replace')[-4000:]}")


def _end(process: subprocess.Popen) -> None:
    """End the group: gently first, because the engine's processes leave shared memory behind when they are killed."""
    for sign, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process.poll()  # reaps the leader; its children are reaped by init
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
    pytest.fail(f"processes of vLLM's server (group {process.pid}) could not be ended")


@pytest.fixture(scope="module")
def vllm_server(smollm2_folder: Path) -> Iterator[VllmServer]:
    """SmolLM2-135M-Instruct behind vLLM. Import this fixture where it is wanted, and mark the tests slow."""
    if not PYTHON.is_file():
        pytest.skip("vLLM is not installed; run: bash scripts/install_vllm_cpu.sh")
    with serve(smollm2_folder) as server:
        yield server
