"""What strangers can send and what it must not do: rows, answers, prompts, files, recipes, and servers.

The promises, and where each is kept (docs/reliability.md has the faults that nobody means):

| from | must not | tested in |
|---|---|---|
| a row | be read as a special token | test_template.py, test_lint.py |
| a row | steer the terminal, hide text or end in a traceback | here; test_trace.py, test_compare.py |
| a model's answer | run, write a file, or cost time without end | test_grading_hostile.py, test_properties_grading.py |
| a model's answer | be read as a template of the next prompt, or as HTML | test_prompting.py, test_report_page.py |
| a prompts folder | reach Python's attributes, or another file | test_prompting.py; its YAML here |
| a name or a link | lead out of the folder that is written to | here |
| a recipe | make an object, or values without end | here; test_properties_recipes.py |
| a server | get the key into a file, a log or a message | here; test_collect.py, test_openai_api.py |
| offline | ask the network | here |
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from launching import ROOT, write_recipe, write_rows
from teacher_server import TeacherServer, error

from lemma_train.ablation.ablate import Ablation
from lemma_train.cli import main
from lemma_train.collection.collect import collect
from lemma_train.collection.prompting import Prompts
from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.errors import InputError
from lemma_train.evaluation.few_shot import load_shots
from lemma_train.evaluation.recipe import load_evaluate_recipe
from lemma_train.evaluation.run import evaluate
from lemma_train.training.plan_launch import find_launch
from lemma_train.training.recipe import load_recipe
from lemma_train.training.sources import Source, iterate

# Clears the screen, renames the window, writes over the line before; turns the direction of text; hides.
STEERING = "\x1b[2J\x1b]0;owned\x07\r\x9b1A\u202e\u2066\u200b\ufeff\u2028"
SECRET = "sk-very-secret-4711"


def listed(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_tame(told: str) -> bool:
    return all(sign.isprintable() or sign in "\n\t" for sign in told)


@pytest.fixture
def nobody(monkeypatch):
    """A key in the environment, of the name that recipes use, that must never be seen again."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def test_hostile_rows_are_counted_and_shown_harmlessly(tmp_path, smollm2_folder, capsys):
    rows = tmp_path / "rows.jsonl"
    kept = [
        {"id": f"r{n} {STEERING}", "instruction": f"{STEERING} {n} + 3?", "output": f"{n} {STEERING}"} for n in range(4)
    ]
    deep = "[" * 900 + "]" * 900
    hostile = [
        json.dumps({f"key {STEERING}": 1}),
        json.dumps({"instruction": f"{STEERING}", "output": 5}),
        f'{{"instruction": "q", "output": "a", "error_span": {deep}}}',
        f'{{"messages": [{{"role": {deep}, "content": "q"}}]}}',
        f'{{"instruction": "q", "output": "a", "id": {"9" * 5000}}}',
        '{"instruction": "\\ud800", "output": "a"}',
        '{"instruction": "q", "output": "<|im_end|>"}',
        "[" * 100_000,
        '{"instruction": NaN, "output": -Infinity}',
    ]
    rows.write_text("\n".join([*map(json.dumps, kept), *hostile]), encoding="utf-8")
    recipe = write_recipe(tmp_path, smollm2_folder, rows)
    main(["prepare", str(recipe), "--max_bad_share", "1"])
    told = capsys.readouterr().out
    assert "rejected           9 " in told and "special_token_text" in told
    assert is_tame(told) and "\\x1b[2J" in told
    # The first fault is quoted where too many rows are bad.
    with pytest.raises(SystemExit) as left:
        main(["prepare", str(recipe), "--max_bad_share", "0.01", "--output_dir", str(tmp_path / "strict")])
    told = capsys.readouterr().err
    assert left.value.code == 2 and "unknown_format" in told and is_tame(told) and "Traceback" not in told


def test_a_hostile_file_of_answers_is_graded_or_refused_with_its_line(tmp_path, capsys):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    deep = "[" * 900 + "]" * 900
    for extra, line in ((f'"extra": {deep}', None), (f'"reference": {deep}', 1), ('"reference": "5\\ud800"', None)):
        source.write_text(f'{{"response": "It is 5.", "reference": "5", {extra}}}\n')
        if line is None:
            main(["grade", str(source), "-o", str(out)])
            assert json.loads(out.read_text())["extracted"] == "5"
            continue
        with pytest.raises(SystemExit) as left:
            main(["grade", str(source), "-o", str(out)])
        assert left.value.code == 2 and f"in.jsonl:{line}" in capsys.readouterr().err


TAGGED = [
    "!!python/object/apply:os.system ['touch PWNED']",
    "!!python/object/new:os.system ['touch PWNED']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!<tag:yaml.org,2002:python/object/apply:subprocess.check_output> [['touch', 'PWNED']]",
]


@pytest.mark.parametrize("tag", TAGGED)
def test_no_yaml_file_makes_an_object(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(f"output_dir: {tag}\n")
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    doors = [load_recipe, load_collect_recipe, load_evaluate_recipe, lambda path: load_shots(1, path)]
    doors.append(lambda path: Ablation(path, [], say=print))
    for door in doors:
        with pytest.raises(InputError, match=r"valid YAML|cannot be read"):
            door(path)
    for name in ("examples.yaml", "error_types.yaml"):
        (prompts / name).write_text(f"- {tag}\n")
        with pytest.raises(InputError, match="valid YAML"):
            Prompts(prompts)
        (prompts / name).unlink()
    recipe = load_recipe(ROOT / "recipes" / "smollm2_135m.yaml", ["--run_name", tag])
    assert recipe["run_name"] == tag  # on the command line it is text
    with pytest.raises(InputError, match="valid YAML"):
        find_launch(recipe, config_file=path)
    assert not list(tmp_path.rglob("PWNED"))


@pytest.mark.parametrize("name", ["examples.yaml", "error_types.yaml"])
def test_aliases_of_a_prompts_folder_cannot_fill_the_memory(tmp_path, name):
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(12)]
    (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(InputError, match="too many values"):
        Prompts(tmp_path)


def test_links_in_a_folder_of_rows_lead_to_files_and_no_further(tmp_path):
    outside, rows = tmp_path / "outside", tmp_path / "rows"
    outside.mkdir()
    rows.mkdir()
    write_rows(rows / "a.jsonl", 2)
    write_rows(outside / "secret.jsonl", 3)
    (rows / "folder").symlink_to(outside)
    (rows / "round").symlink_to(rows)
    (rows / "self.jsonl").symlink_to(rows / "self.jsonl")
    (rows / "gone.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    (rows / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(rows / "pipe.jsonl")  # reading it would wait for ever
    assert [located.line for located in iterate(Source(str(rows)))] == [1, 2]
    # A link to a file of rows is followed: the Hub's own cache is made of them.
    (rows / "b.jsonl").symlink_to(outside / "secret.jsonl")
    assert len(list(iterate(Source(str(rows))))) == 5


def test_names_of_rows_and_benchmarks_lead_out_of_no_folder(tmp_path, smollm2_folder):
    names = ("../../evil", "/tmp/evil", "..", "a/../../evil", "~/evil")
    problems = tmp_path / "problems.jsonl"
    problems.write_text(
        "".join(
            json.dumps({"question": f"2 + {i}?", "answer": str(2 + i), "id": name, "source": name}) + "\n"
            for i, name in enumerate(names)
        )
    )
    before = listed(tmp_path)
    folder = tmp_path / "deep" / "er" / "out"
    recipe = tmp_path / "collect.yaml"
    entry = {"source": "file", "path": str(problems)}
    recipe.write_text(
        yaml.safe_dump(
            {
                "problems": [entry],
                "output_dir": str(folder),
                "student": {"engine": "offline"},
                "teacher": {"engine": "offline"},
            }
        )
    )
    for stage in ("problems", "sampling"):
        collect(load_collect_recipe(recipe), stage=stage)
    with TeacherServer() as server:
        model = {"engine": "openai", "model": "../evil", "tokenizer": str(smollm2_folder), "base_urls": [server.url]}
        told = {"model": model, "benchmarks": [{**entry, "label": "../../evil"}], "output_dir": str(folder / "e")}
        recipe.write_text(yaml.safe_dump({**told, "name": "../../evil"}))
        evaluate(load_evaluate_recipe(recipe))
    new = {path for path in listed(tmp_path) if path not in before and path != recipe}
    assert new and all(path.is_relative_to(folder) for path in new)
    assert not [path for path in new if "evil" in path.name]


@pytest.mark.usefixtures("nobody")
def test_the_key_stands_in_no_file_and_no_message_of_an_evaluation(tmp_path, smollm2_folder, capfd):
    def rule(body):
        return None if state["well"] else error(401, f"Incorrect API key provided: {SECRET}.")

    state = {"well": True}
    with TeacherServer(rule=rule) as server:
        model = {"engine": "openai", "model": "m", "tokenizer": str(smollm2_folder), "base_urls": [server.url]}
        entry = {"source": "generated", "kind": "word_sums", "size": 3}
        recipe = tmp_path / "evaluate.yaml"
        keys = {"benchmarks": [entry], "model": {**model, "api_key_env": "OPENAI_API_KEY"}}
        recipe.write_text(yaml.safe_dump({**keys, "output_dir": str(tmp_path / "out")}))
        main(["evaluate", str(recipe)])
        assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        state["well"] = False
        with pytest.raises(SystemExit) as left:
            main(["evaluate", str(recipe), "--output_dir", str(tmp_path / "refused")])
    told = "".join(capfd.readouterr())
    assert left.value.code == 2 and "OPENAI_API_KEY" in told and SECRET not in told
    assert [path for path, held in listed(tmp_path).items() if SECRET.encode() in held] == []


GUARD = """
import os, sys
def guard(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.sendto" or event == "socket.connect":
        if event == "socket.getaddrinfo" or isinstance(arguments[1], tuple):  # a pipe between processes has no tuple
            os.write(2, f"NETWORK {event} {arguments[1:]}".encode())
            os._exit(77)
sys.addaudithook(guard)
"""


@pytest.mark.parametrize("command", ["control", "plan", "prepare", "grade"])
def test_offline_nothing_asks_the_network(tmp_path, smollm2_folder, command):
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"response": r"So \boxed{x^2+1}.", "reference": "1+x^2"}) + "\n")
    recipe = write_recipe(tmp_path, smollm2_folder)
    arguments = {
        "control": ["-c", "import socket; socket.create_connection(('127.0.0.1', 9))"],
        "plan": ["-m", "lemma_train.cli", "plan", str(recipe), "--gpus", "1"],
        "prepare": ["-m", "lemma_train.cli", "prepare", str(recipe)],
        "grade": ["-m", "lemma_train.cli", "grade", str(answers)],
    }
    path = os.pathsep.join([str(tmp_path / "guard"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *arguments[command]],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path, "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (77 if command == "control" else 0), done.stderr[-3000:]
    assert ("NETWORK" in done.stderr) == (command == "control")
