"""The error types: one name each, many spellings, and a clear word about a file that is at fault."""

import pytest
import yaml

from lemma_train.collection.taxonomy import PACKAGED_PROMPTS, load_taxonomy
from lemma_train.errors import InputError

CANONICAL = {
    *("question_misinterpretation", "calculation_error", "confusing_concept_error", "missing_step"),
    *("confusing_formula_error", "counting_error", "nonsense_output_error", "referencing_context_value_error"),
    *("referencing_previous_step_value_error", "unit_conversion_error", "operator_error"),
    *("adding_irrelevant_information", "contradictory_step"),
}


def test_the_packaged_types_are_those_of_the_paper_each_with_a_meaning():
    taxonomy = load_taxonomy()
    assert set(taxonomy.names) == CANONICAL
    assert all(taxonomy.meaning(name).endswith(".") for name in taxonomy.names)
    assert set(taxonomy.injectable) == CANONICAL - {"nonsense_output_error"}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("calculation_error", "calculation_error"),
        ("Calculation Error", "calculation_error"),
        ("CALCULATION-ERROR ", "calculation_error"),
        ("question_understanding_error", "question_misinterpretation"),
        ("Hallucination", "adding_irrelevant_information"),
        ("missing_step_error", "missing_step"),
        ("a calculation_error", None),
        ("not a calculation error", None),
        ("calculation_error, missing_step", None),
        ("calculation", None),
        ("none", None),
        ("", None),
        ("_", None),
    ],
)
def test_a_name_is_known_as_a_whole_or_not_at_all(written, name):
    assert load_taxonomy().canonical(written) == name


def test_every_alias_leads_to_its_own_type():
    entries = yaml.safe_load((PACKAGED_PROMPTS / "error_types.yaml").read_text(encoding="utf-8"))
    taxonomy = load_taxonomy()
    assert all(
        taxonomy.canonical(alias.upper().replace("_", " ")) == entry["name"]
        for entry in entries
        for alias in (entry["name"], *entry["aliases"])
    )


ENTRY = {"name": "slip", "meaning": "A slip.", "aliases": ["lapse"], "injectable": True}


def test_the_users_folder_wins_and_an_empty_one_changes_nothing(tmp_path):
    assert load_taxonomy(tmp_path).names == load_taxonomy().names
    (tmp_path / "error_types.yaml").write_text(yaml.safe_dump([ENTRY]), encoding="utf-8")
    taxonomy = load_taxonomy(tmp_path)
    assert taxonomy.names == ("slip",) and taxonomy.canonical("LAPSE") == "slip"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "must be a list"),
        ({"slip": "A slip."}, "must be a list"),
        (["slip"], "entry 1 must have the keys"),
        ([{**ENTRY, "alias": []}], "unknown key 'alias'"),
        (
            [{key: ENTRY[key] for key in ("name", "aliases", "injectable")}],
            "entry 1 (slip): the key 'meaning' is missing",
        ),
        ([{**ENTRY, "injectable": "yes"}], "injectable must be true or false"),
        ([{**ENTRY, "aliases": "lapse"}], "aliases must be a list of names"),
        ([{**ENTRY, "aliases": [3]}], "every alias must be text"),
        ([{**ENTRY, "aliases": ["--"]}], "every alias must be text"),
        ([{**ENTRY, "name": "A Slip"}], "lower-case letters"),
        ([{**ENTRY, "name": "none"}], "is not 'none'"),
        ([{**ENTRY, "meaning": " "}], "the meaning is empty"),
        ([{**ENTRY, "injectable": False}], "no error type is injectable"),
        ([ENTRY, {**ENTRY, "name": "fault"}], "the name 'lapse' stands twice, for slip and for fault"),
        ([ENTRY, {**ENTRY, "name": "fault", "aliases": ["La-Pse"]}], "stands twice"),
        ([ENTRY, {**ENTRY, "aliases": []}], "stands twice"),
    ],
)
def test_a_file_at_fault_is_named_with_what_is_wrong(tmp_path, entries, words):
    path = tmp_path / "error_types.yaml"
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_taxonomy(tmp_path)
    assert words in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"- name: [", b"\xff\xfe\x00", b"!!python/object/apply:os.system ['touch PWNED']"])
def test_a_file_that_is_no_plain_yaml_is_named_and_runs_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "error_types.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"error_types\.yaml"):
        load_taxonomy(tmp_path)
    assert not (tmp_path / "PWNED").exists()
