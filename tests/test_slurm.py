"""The batch scripts on a real SLURM of two nodes: what is requeued, told to stop or killed ends like what was not."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import vllm_server
import yaml
from launching import BIN, ROOT, losses, write_recipe, write_rows
from slurm_cluster import SlurmCluster, slurm  # noqa: F401 - the fixture
from test_loop import write_run

pytestmark = pytest.mark.slow

SCRIPTS = ROOT / "scripts" / "slurm"
STEPS, SAVE_EVERY = 30, 10
# What the jobs see beside SLURM's own variables. One thread a rank: two ranks share the machine.
ENVIRONMENT = {
    "LEMMA_VENV": sys.prefix,
    "LEMMA_ACCELERATE_CONFIG": "accelerate_configs/cpu_zero3.yaml",
    "LEMMA_CLUSTER_ENV": os.devnull,
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


def submit(slurm: SlurmCluster, script: str, *arguments, options=(), **env: str) -> str:  # noqa: F811
    folder = Path(env.pop("logs"))
    folder.mkdir(parents=True, exist_ok=True)
    call = ["sbatch", "--parsable", f"--output={folder}/%x-%j.out", *options, str(SCRIPTS / script), *arguments]
    return slurm.call(*call, **{**ENVIRONMENT, **env}).strip()


def train(slurm: SlurmCluster, folder: Path, model: Path, *options: str, **keys) -> str:  # noqa: F811
    """Submit a training on two nodes with one rank each; the rows are prepared in every folder anew."""
    folder.mkdir()
    keys = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": SAVE_EVERY, "save_total_limit": 2, **keys}
    recipe = write_recipe(folder, model, write_rows(folder / "rows.jsonl", 96), **keys)
    return submit(slurm, "train.sbatch", recipe, options=["--nodes=2", *options], logs=str(folder))


def trained(folder: Path) -> int:
    """The last step whose loss is on the disk."""
    return len(losses(folder / "out")) if (folder / "out" / "metrics.jsonl").exists() else 0


def until(ready, slurm: SlurmCluster, folder: Path, seconds: float = 600) -> None:  # noqa: F811
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, said(folder) + slurm.last_words()
        time.sleep(0.05)


def said(folder: Path) -> str:
    """Everything that the jobs of a folder have said, for failed tests."""
    logs = [*folder.glob("*.out"), *folder.glob("out/logs/*/*.log")]
    return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-2500:]}" for log in logs)


def summary(folder: Path) -> str:
    return (folder / "out" / "logs" / "summary.log").read_text(encoding="utf-8")


def weights(folder: Path) -> bytes:
    return (folder / "out" / "final" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(slurm, tiny_llama, tmp_path_factory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    job = train(slurm, folder, tiny_llama)
    ended = slurm.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "0"), said(folder)
    return folder


def assert_same_end(slurm, job: str, folder: Path, undisturbed: Path) -> str:  # noqa: F811
    """The job went on by itself and ended like the undisturbed one, to the bit; where it went on from."""
    ended = slurm.wait(job)
    assert ended["JobState"] == "COMPLETED" and int(ended["Restarts"]) >= 1, said(folder)
    assert len(losses(folder / "out")) == STEPS
    assert losses(folder / "out") == losses(undisturbed / "out")
    assert weights(folder) == weights(undisturbed)
    record = json.loads((folder / "out" / "run.json").read_text())
    return Path(record["resumed_from"]).name


def test_two_nodes_find_each_other_and_train_one_model(undisturbed):
    record = json.loads((undisturbed / "out" / "run.json").read_text())
    assert record["course"]["processes"] == 2 and record["course"]["zero_stage"] == 3
    assert len(losses(undisturbed / "out")) == STEPS
    (logs,) = [path for path in (undisturbed / "out" / "logs").iterdir() if path.is_dir()]
    assert {"rank-0.log", "rank-1.log", "node-0.log", "node-1.log"} <= {path.name for path in logs.iterdir()}
    nodes = [(logs / f"node-{i}.log").read_text() for i in (0, 1)]
    assert "(n1), =lo, first node 127.0.0.1:" in nodes[0] and "(n2), =lo, first node 127.0.0.1:" in nodes[1]
    assert "2 processes on 2 node(s)" in summary(undisturbed) and "done" in summary(undisturbed).splitlines()[-1]


def test_a_requeued_job_loses_no_step_and_ends_in_the_same_bits(slurm, tiny_llama, tmp_path, undisturbed):  # noqa: F811
    folder = tmp_path / "run"
    job = train(slurm, folder, tiny_llama)
    until(lambda: trained(folder) >= SAVE_EVERY + 3, slurm, folder)
    seen = trained(folder)
    slurm.call("scontrol", "requeue", job)
    step = int(assert_same_end(slurm, job, folder, undisturbed).removeprefix("checkpoint-"))
    assert step >= seen and step % SAVE_EVERY, "it went on from a checkpoint that was due anyway"
    assert "SIGTERM: SLURM is ending this job" in summary(folder)


def test_a_job_told_of_its_time_limit_requeues_itself(slurm, tiny_llama, tmp_path, undisturbed):  # noqa: F811
    folder = tmp_path / "run"
    # SLURM looks at time limits every 30 seconds, so the signal comes 90 to 120 seconds after the start, when a slow
    # machine trains, too. A rank that is held in the meantime holds the others, however fast the machine is.
    job = train(slurm, folder, tiny_llama, "--time=3", "--signal=B:USR1@60")
    until(lambda: trained(folder) >= SAVE_EVERY + 3, slurm, folder)
    rank = int((folder / "out" / "logs" / f"{job}.0" / "pids-1" / "1").read_text())
    os.kill(rank, signal.SIGSTOP)
    try:
        until(lambda: "SIGUSR1: the time limit is near" in summary(folder), slurm, folder)
        until(lambda: "told rank 1" in (folder / f"out/logs/{job}.0/node-1.log").read_text(), slurm, folder)
    finally:
        os.kill(rank, signal.SIGCONT)
    # On a slow machine the limit strikes the second start as well.
    step = int(assert_same_end(slurm, job, folder, undisturbed).removeprefix("checkpoint-"))
    assert f"goes on in a new start: stopped at step {step}\n" in summary(folder) and step > SAVE_EVERY


def test_a_job_told_to_stop_while_a_rank_hangs_in_its_start_goes_on(slurm, tiny_llama, tmp_path, undisturbed):  # noqa: F811
    folder = tmp_path / "run"
    job = train(slurm, folder, tiny_llama, "--export=ALL,LEMMA_STOP_GRACE=5")
    logs = folder / "out" / "logs" / f"{job}.0"
    pids = [logs / f"pids-{rank}" / str(rank) for rank in (0, 1)]
    until(lambda: all(file.is_file() and file.read_text() for file in pids), slurm, folder)
    os.kill(int(pids[0].read_text()), signal.SIGSTOP)  # as deaf as within a library's call
    slurm.call("scancel", "--signal=USR1", "--batch", job)
    ended = slurm.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), said(folder)
    assert "ended rank 0, which did not stop" in (logs / "node-0.log").read_text()
    assert "goes on in a new start: stopped at step 0\n" in summary(folder)
    assert losses(folder / "out") == losses(undisturbed / "out")


def test_a_killed_rank_costs_the_steps_since_the_last_checkpoint_only(slurm, tiny_llama, tmp_path, undisturbed):  # noqa: F811
    folder = tmp_path / "run"
    job = train(slurm, folder, tiny_llama)
    until(lambda: trained(folder) >= SAVE_EVERY + 3, slurm, folder)
    os.kill(int((folder / "out" / "logs" / f"{job}.0" / "pids-1" / "1").read_text()), signal.SIGKILL)
    assert assert_same_end(slurm, job, folder, undisturbed) == f"checkpoint-{SAVE_EVERY}"
    assert re.search(r"goes on in a new start: ended with status \d+; the newest checkpoint: 10", summary(folder))


def collection(folder: Path, output: Path) -> Path:
    values = yaml.safe_load((ROOT / "recipes" / "collect" / "offline_demo.yaml").read_text())
    path = folder / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump({**values, "output_dir": str(output)}))
    return path


def shard_process(recipe: Path, shard: str) -> int | None:
    """The process that collects a shard, by its command line."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(recipe).encode() in words and shard.encode() in words and b"lemma_train.cli" in words:
            return int(place.parent.name)
    return None


def test_an_array_of_shards_one_killed_merges_to_the_bytes_of_a_single_run(slurm, tmp_path):  # noqa: F811
    whole, spread = tmp_path / "whole", tmp_path / "spread"
    recipe = collection(tmp_path, spread)
    logs = ["--export=ALL", f"--output={tmp_path}/%x-%A_%a.out"]
    env = {**ENVIRONMENT, "LEMMA_CPU_SBATCH": " ".join(logs)}
    lines = slurm.call(SCRIPTS / "submit.sh", "--shards", "4", "collect", recipe, **env).split()
    jobs = dict(zip(lines[::2], lines[1::2], strict=True))
    # Killed once the shard has written something.
    begun = spread / "shards" / "2-of-4" / "stages"
    until(lambda: begun.is_dir() and any(begun.iterdir()), slurm, tmp_path)
    os.kill(shard_process(recipe, "2/4"), signal.SIGKILL)
    single = [str(BIN / "lemma"), "collect", str(collection(tmp_path, whole))]
    assert subprocess.run(single, capture_output=True).returncode == 0
    assert slurm.wait(jobs["merge"])["JobState"] == "COMPLETED", said(tmp_path)
    restarts = [slurm.show(f"{jobs['collect']}_{i}")["Restarts"] for i in range(4)]
    assert restarts == ["0", "0", "1", "0"]
    for name in ("dataset.jsonl", "dataset.parquet"):
        assert (spread / name).read_bytes() == (whole / name).read_bytes()


def test_an_array_trains_the_cells_of_an_ablation_and_the_table_names_the_failed_one(slurm, tiny_llama, tmp_path):  # noqa: F811
    keys = {"max_steps": 4, "eval_fraction": 0.2, "eval_strategy": "steps", "eval_steps": 4, "save_strategy": "no"}
    write_recipe(tmp_path, tiny_llama, use_peft=True, **keys)
    values = {"recipe": str(tmp_path / "recipe.yaml"), "output_dir": str(tmp_path / "out"), "measure": "eval_loss"}
    recipe = tmp_path / "ablation.yaml"
    recipe.write_text(yaml.safe_dump({**values, "grid": {"lora_r": [2, 4]}}))
    failing = tmp_path / "out" / "lora_r-4_seed-7"
    failing.mkdir(parents=True)
    (failing / "final").write_text("in the way")
    logs = f"--output={tmp_path}/%x-%A_%a.out"
    lines = slurm.call(SCRIPTS / "submit.sh", logs, "ablate", recipe, **ENVIRONMENT, LEMMA_CPU_SBATCH=logs).split()
    jobs = dict(zip(lines[::2], lines[1::2], strict=True))
    slurm.wait(jobs["gather"])
    told = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert (told["best"], told["failed"]) == ("lora_r-2", [failing.name]), said(tmp_path)
    states = [slurm.show(f"{jobs['ablate']}_{i}")["JobState"] for i in range(2)]
    assert states == ["COMPLETED", "FAILED"] and slurm.show(jobs["gather"])["JobState"] == "FAILED"
    assert f"FAILED: {failing.name}: status " in (tmp_path / "out" / "ablation.md").read_text()


def test_a_failed_preparation_stops_the_chain_and_says_why(slurm, tiny_llama, tmp_path):  # noqa: F811
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Q", "output": ""}\n')
    recipe = write_recipe(tmp_path, tiny_llama, rows)
    evaluation = ROOT / "recipes" / "evaluate" / "smollm2_gsm8k.yaml"
    call = [SCRIPTS / "submit.sh", "--nodes=2", "--evaluate", evaluation, "chain", recipe]
    lines = slurm.call(*call, **ENVIRONMENT).splitlines()
    jobs = dict(line.split() for line in lines if not line.startswith("chain:"))
    (chain,) = [Path(line.removeprefix("chain: ")) for line in lines if line.startswith("chain:")]
    try:
        slurm.wait(jobs["chain-end"])
        states = {name: slurm.show(job)["JobState"] for name, job in jobs.items()}
        assert states == {"prepare": "FAILED", "train": "CANCELLED", "evaluate": "CANCELLED", "chain-end": "FAILED"}
        verdict = chain.read_text()
        assert re.search(
            r"^prepare \(job \d+\): failed with status 2: .*train_files: 1 of 1 rows are bad .*empty", verdict, re.M
        )
        assert re.search(r"^train \(job \d+\): did not start, because a job before it failed", verdict, re.M)
        assert not (tmp_path / "out" / "final").exists()
    finally:
        chain.unlink()


def test_a_job_without_its_model_ends_before_anything_is_launched(slurm, tmp_path):  # noqa: F811
    folder = tmp_path / "run"
    job = train(slurm, folder, Path("/nowhere/model"))
    ended = slurm.wait(job)
    assert (ended["JobState"], ended["Restarts"], ended["ExitCode"]) == ("FAILED", "0", "2:0")
    out = (folder / f"train-{job}.out").read_text()
    assert re.search(r"FAILED with status 2: model_name_or_path: on \S+ there is no folder /nowhere/model\.", out)
    assert not (folder / "out").exists()


def test_an_evaluation_waits_for_its_server_and_finds_it(slurm, smollm2_folder, tmp_path):  # noqa: F811
    if not vllm_server.PYTHON.is_file():
        pytest.skip("vLLM is not installed; run: bash scripts/install_vllm_cpu.sh")
    values = {
        "model": {"engine": "openai", "model": "student", "tokenizer": str(smollm2_folder), "max_tokens": 16},
        "benchmarks": [{"source": "generated", "kind": "word_sums", "size": 4, "seed": 1}],
        "output_dir": str(tmp_path / "out"),
    }
    recipe = tmp_path / "evaluation.yaml"
    recipe.write_text(yaml.safe_dump(values))
    servers = {"LEMMA_SERVERS": str(tmp_path / "servers"), "LEMMA_VLLM_PYTHON": str(vllm_server.PYTHON)}
    env = {**servers, "LEMMA_MODEL_SERVER": "student", "VLLM_CPU_KVCACHE_SPACE": "1", "logs": str(tmp_path)}
    evaluation = submit(slurm, "evaluate.sbatch", recipe, **env)
    until(lambda: slurm.show(evaluation)["JobState"] == "RUNNING", slurm, tmp_path)
    options = ["--dtype", "bfloat16", "--max-model-len", "1024", "--enforce-eager"]
    options += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "2048"]
    server = submit(slurm, "serve_vllm.sbatch", "student", str(smollm2_folder), *options, **env)
    assert slurm.wait(evaluation)["JobState"] == "COMPLETED", said(tmp_path)
    (told,) = json.loads((tmp_path / "out" / "results.json").read_text())["benchmarks"].values()
    assert told["samples"] == 4
    address = tmp_path / "servers" / "student" / f"{server}.url"
    assert re.fullmatch(r"http://127\.0\.0\.1:2\d{4}/v1\n", address.read_text())
    slurm.call(SCRIPTS / "submit.sh", "stop", "student", **ENVIRONMENT, **servers)
    assert slurm.wait(server)["JobState"] == "CANCELLED"
    until(lambda: not address.exists(), slurm, tmp_path, 30)


def test_a_cluster_to_try_things_on_ends_with_the_process_that_started_it(slurm):  # noqa: F811
    with subprocess.Popen(
        [sys.executable, ROOT / "tests" / "slurm_cluster.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as keeper:
        folder = Path(keeper.stdout.readline().strip().partition("SLURM_CONF=")[2]).parent
        daemons = [line for line in _commands() if str(folder) in line]
        keeper.terminate()
        keeper.wait(60)
    assert len(daemons) == 4 and not folder.exists()
    assert not [line for line in _commands() if str(folder) in line]


def _commands() -> list[str]:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_whole_run_as_a_chain_of_jobs_ends_in_its_report(slurm, tiny_llama, tmp_path):  # noqa: F811
    recipe = write_run(tmp_path, tiny_llama)
    logs = f"--output={tmp_path}/%x-%j.out"
    lines = slurm.call(SCRIPTS / "submit.sh", logs, "run", recipe, **ENVIRONMENT, LEMMA_CPU_SBATCH=logs).split()
    jobs = dict(zip(lines[::2], lines[1::2], strict=True))
    assert [*jobs] == ["collect", "evaluate-base", "train-lemma_seed-7", "evaluate-lemma_seed-7", "report"]
    assert slurm.wait(jobs["report"])["JobState"] == "COMPLETED", said(tmp_path)
    accuracy = json.loads((tmp_path / "run" / "summary.json").read_text())["accuracy"]
    assert accuracy.keys() == {"base", "lemma_seed-7"} and (tmp_path / "run" / "report.html").is_file()
    listed = subprocess.run(
        [str(BIN / "lemma"), "run", str(recipe), "--list"], capture_output=True, text=True, cwd=ROOT
    )
    assert {line.split()[0] for line in listed.stdout.splitlines()} == {"done"}
