"""Prompts: what the teacher reads, what stays the same for all rows, and templates that are at fault."""

import json
import shutil

import pytest
import yaml

from lemma_train.collection.filters import fault_of
from lemma_train.collection.prompting import INPUTS, TASKS, Prompts, retry_messages
from lemma_train.collection.records import Draft
from lemma_train.collection.replies import parse_reply
from lemma_train.collection.reply_checks import check_analysis, check_correction, check_injection, check_smoothing
from lemma_train.collection.steps import split_steps
from lemma_train.collection.taxonomy import PACKAGED_PROMPTS
from lemma_train.errors import InputError

EXAMPLES = yaml.safe_load((PACKAGED_PROMPTS / "examples.yaml").read_text(encoding="utf-8"))


def inputs_of(task, **changes):
    return {**EXAMPLES[task][0]["inputs"], **changes}


@pytest.fixture
def own_folder(tmp_path):
    """The user's folder with all packaged files, to be changed."""
    folder = tmp_path / "prompts"
    shutil.copytree(PACKAGED_PROMPTS, folder)
    return folder


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("task", TASKS)
def test_the_system_turn_is_the_same_for_all_rows_and_the_user_turn_holds_the_values(task):
    prompts = Prompts()
    ids = {name: f"value-{number}" for number, name in enumerate(INPUTS[task])}
    ids |= {"steps": ["step-1", "step-2"]} if task == "analysis" else {}
    system, user = prompts.messages(task, ids)
    other_system, _ = prompts.messages(task, inputs_of(task))
    assert system["role"] == "system" and user["role"] == "user"
    assert system == other_system and "value-" not in system["content"]
    hidden = {"analysis": {"solution", "steps"}, "smoothing": {"strategy"}}.get(task, {"error_type"} - {task})
    shown = set(INPUTS[task]) - (hidden if task != "injection" else set())
    assert all(ids[name] in user["content"] for name in shown)
    assert "JSON" in system["content"]
    assert all(name in system["content"] for name in prompts.schema(task)["required"])
    assert all(f"{name.upper()}:" in system["content"] for name in prompts.schema(task)["required"])


def test_the_analysis_shows_numbered_steps_and_the_error_types():
    system, user = Prompts().messages("analysis", inputs_of("analysis"))
    assert "[2] 84 - 50 = 44 rolls are not sold." in user["content"]
    assert "- counting_error: Things are counted wrongly." in system["content"]
    few = [{"name": "slip", "meaning": "A slip."}]
    system, _ = Prompts().messages("analysis", inputs_of("analysis", error_types=few))
    assert "- slip: A slip." in system["content"] and "counting_error" not in system["content"]


def test_absent_values_leave_out_their_section():
    for task, name in (("fix_and_continue", "reference_solution"), ("fresh_and_restart", "right_solution")):
        _, user = Prompts().messages(task, inputs_of(task, **{name: None}))
        assert "right_solution" not in user["content"] and "None" not in user["content"]
    _, user = Prompts().messages("analysis", inputs_of("analysis", extracted=None, reference_solution=None))
    assert "(none found)" in user["content"] and "None" not in user["content"]


def test_values_of_a_row_are_never_read_as_a_template():
    hostile = (
        "{{ 7*7 }} {% for x in range(10**9) %}x{% endfor %} {{ ''.__class__.__mro__ }} {# gone #} <b> & \\frac{1}{2}"
    )
    for task in TASKS:
        _, user = Prompts().messages(task, inputs_of(task, question=hostile))
        assert hostile in user["content"] and "49" not in user["content"]


def test_without_system_turn_the_system_text_stands_in_front_of_the_users():
    system, user = Prompts().messages("smoothing", inputs_of("smoothing"))
    (only,) = Prompts(system_turn=False).messages("smoothing", inputs_of("smoothing"))
    assert only == {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}


@pytest.mark.parametrize("task", TASKS)
def test_schemas_are_strict_and_name_the_fields_of_the_reply(task):
    schema = Prompts().schema(task)
    assert schema["additionalProperties"] is False and schema["required"] == list(schema["properties"])
    assert set(schema["required"]) == set(EXAMPLES[task][0]["reply"])
    schema["properties"].clear()
    assert Prompts().schema(task)["properties"]


def test_the_schema_of_the_analysis_lists_the_types_of_the_taxonomy():
    prompts = Prompts()
    assert prompts.schema("analysis")["properties"]["error_type"]["enum"] == [*prompts.taxonomy.names, "none"]


def test_the_examples_are_replies_that_pass_their_own_checks():
    prompts = Prompts()
    for task, examples in EXAMPLES.items():
        for example in examples:
            inputs, reply = example["inputs"], example["reply"]
            fields = parse_reply(json.dumps(reply), prompts.schema(task))
            assert fields == reply
            if task == "analysis":
                assert [inputs["solution"][a:b] for a, b in split_steps(inputs["solution"])] == inputs["steps"]
                assert check_analysis(fields, inputs, prompts.taxonomy)[1] == reply["first_wrong_step"]
            elif task == "injection":
                assert check_injection(fields, inputs)[0] == reply["steps"]
                assert prompts.taxonomy.meaning(inputs["error_type"]) == inputs["error_type_meaning"]
            elif task == "smoothing":
                prefix, (start, end), _, _ = check_smoothing(fields, inputs)
                assert prefix[start:end] == "The pump then adds 8 + 4 = 12 liters."
            else:
                parts = check_correction(fields, inputs)
                assert parts == (reply["reflection"], reply["continuation"])
                span = (len(inputs["prefix"]) - len(inputs["wrong_step"]), len(inputs["prefix"]))
                named = ("p/s0/x", "p", "p/s0", task, "student", inputs["error_type"])
                assert fault_of(Draft(*named, inputs["prefix"], span, *parts), inputs["question"], None) is None
                assert prompts.taxonomy.meaning(inputs["error_type"]) == inputs["error_type_meaning"]
                assert inputs["prefix"].endswith(inputs["wrong_step"])


def test_fingerprints_change_with_what_the_prompt_is_made_of_and_only_then(own_folder):
    packaged = {task: Prompts().fingerprint(task) for task in TASKS}
    assert {task: Prompts(own_folder, system_turn=False).fingerprint(task) for task in TASKS} == packaged
    change(own_folder / "smoothing.jinja", "You edit a text", "You revise a text")
    change(own_folder / "examples.yaml", "A baker fills 6 trays", "A cook fills 6 trays")
    changed = Prompts(own_folder)
    assert {task for task in TASKS if changed.fingerprint(task) != packaged[task]} == {"smoothing", "analysis"}
    shutil.copy(PACKAGED_PROMPTS / "examples.yaml", own_folder)
    change(own_folder / "error_types.yaml", "Things are counted wrongly.", "Things are miscounted.")
    assert Prompts(own_folder).fingerprint("analysis") not in (packaged["analysis"], changed.fingerprint("analysis"))
    assert Prompts(own_folder).fingerprint("injection") == packaged["injection"]


def test_a_folder_with_one_file_takes_the_others_from_the_package(tmp_path):
    text = "{% set system %}Mend it.{% endset %}{% set user %}Q: {{ row.question }}{% endset %}"
    (tmp_path / "smoothing.jinja").write_text(text, encoding="utf-8")
    (tmp_path / ".DS_Store").write_bytes(b"")
    prompts = Prompts(tmp_path)
    contents = [turn["content"] for turn in prompts.messages("smoothing", inputs_of("smoothing", question="Why?"))]
    assert contents == ["Mend it.", "Q: Why?"]
    assert prompts.messages("analysis", inputs_of("analysis")) == Prompts().messages("analysis", inputs_of("analysis"))


def test_a_file_that_nothing_reads_is_named(tmp_path):
    (tmp_path / "smothing.jinja").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"'smothing\.jinja', which nothing reads"):
        Prompts(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        Prompts(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("{{ row.question", "line 1"),
        ("{{ row.qestion }}", "has no attribute 'qestion'"),
        ("{{ question }}", "unknown name 'question'"),
        ("{{ ''.__class__.__mro__ }}", "cannot be filled in"),
        ("{{ row.question.__class__.__base__.__subclasses__() }}", "cannot be filled in"),
        ("{{ '{0.__class__}'.format(row) }}", "cannot be filled in"),
        ("{{ row.update(question='x') }}", "cannot be filled in"),
        ("{% for x in range(10**9) %}x{% endfor %}", "cannot be filled in"),
        ("{{ row.question + 1 }}", "cannot be filled in"),
        ("{{ cycler.__init__.__globals__ }}", "unknown name 'cycler'"),
        ("{% include '/etc/passwd' %}", "stands alone"),
        ("{% import 'x' as x %}", "stands alone"),
    ],
)
def test_a_template_at_fault_is_named_before_anything_is_asked(tmp_path, user, words):
    text = f"{{% set system %}}Mend.{{% endset %}}{{% set user %}}{user}{{% endset %}}"
    (tmp_path / "smoothing.jinja").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Prompts(tmp_path)
    assert words in str(caught.value) and "smoothing.jinja" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{% set user %}x{% endset %}", "must set 'system'"),
        ("{% set system %}x{% endset %}", "must set 'user'"),
        ("{% set system %}{{ row.question }}{% endset %}{% set user %}x{% endset %}", "the same for all rows"),
    ],
)
def test_both_texts_are_needed_and_the_system_text_holds_no_row(tmp_path, text, words):
    (tmp_path / "injection.jinja").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        Prompts(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("injection:\n", "injektion:\n", "under the names of tasks"),
        ("      number: 2\n", "", "example 1 of injection must have 'inputs'"),
        ("      first_wrong_step: 2\n", "", "example 1 of analysis must have 'reply'"),
        ("error_type: calculation_error\n", "error_type: sums\n", "names the error type 'sums'"),
    ],
)
def test_examples_at_fault_are_named(own_folder, old, new, words):
    change(own_folder / "examples.yaml", old, new)
    with pytest.raises(InputError, match=words):
        Prompts(own_folder)


def test_a_retry_shows_the_reply_and_the_reason():
    messages = Prompts().messages("smoothing", inputs_of("smoothing"))
    retry = retry_messages(messages, "So 5." * 10_000, "The prefix is missing.")
    assert retry[: len(messages)] == messages
    assert [turn["role"] for turn in retry[len(messages) :]] == ["assistant", "user"]
    assert len(retry[-2]["content"]) == 4000 and "The prefix is missing." in retry[-1]["content"]
    assert retry_messages(messages, " ", "It was empty.")[-2]["content"] == "(empty)"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{{ row|nofilter }}", "No filter named 'nofilter'"),
        ("{{ '\\ud800' }}", "analysis.jinja cannot be filled in: .*surrogates not allowed"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "analysis.jinja cannot be filled in: .*recursion"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
        ("{{ ''.__class__.__mro__ }}", "analysis.jinja cannot be filled in"),
    ],
)
def test_a_template_that_goes_wrong_is_named(tmp_path, written, words):
    text = "{% set system %}s{% endset %}{% set user %}" + written + "{{ row.question }}{% endset %}"
    (tmp_path / "analysis.jinja").write_text(text)
    with pytest.raises(InputError, match=words):
        Prompts(tmp_path)


def test_a_folder_in_place_of_a_prompt_is_named(tmp_path):
    (tmp_path / "analysis.jinja").mkdir()
    with pytest.raises(InputError, match=r"analysis\.jinja is no file"):
        Prompts(tmp_path)
