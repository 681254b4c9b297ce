"""The linter: which rows pass, under which reason the others are counted, and when the whole set is refused."""

import pytest

from lemma_train.errors import InputError
from lemma_train.records import Trajectory
from lemma_train.template import Renderer
from lemma_train.training.lint import Linter, Rejection
from lemma_train.training.sources import Located

WRAPPED = "### Instruction:\nQ\n\n### Response:"


@pytest.fixture(scope="module")
def renderer(smollm2_tokenizer):
    return Renderer(smollm2_tokenizer)


@pytest.fixture
def lint(renderer):
    def run(*rows, wrapped_rows="refuse", drop_duplicates=True):
        linter = Linter(renderer, wrapped_rows, drop_duplicates)
        located = [row if isinstance(row, Located) else Located("a.jsonl", i, row) for i, row in enumerate(rows, 1)]
        return linter.tally, [linter.accept(row) for row in located]

    return run


def row(instruction="Q", output="A", **more):
    return {"instruction": instruction, "output": output, **more}


def test_good_row_passes_as_a_trajectory(lint):
    tally, accepted = lint(row(id="7"))
    assert accepted == [Trajectory("Q", "A", id="7")]
    assert (tally.rows_in, tally.bad, dict(tally.reasons)) == (1, 0, {})


def test_every_rejection_is_counted_under_its_reason_with_file_and_line(lint):
    tally, results = lint(
        row(),
        row("Q2", ""),
        row("Q3", 5),
        Located("b.jsonl", 9, fault=("invalid_json", "no value")),
        row("Q4", "a <|im_end|> b"),
        row("### Response: what?"),
        row(),
        row("Q5", " "),
    )
    assert isinstance(results[0], Trajectory)
    assert [(r.file, r.line, r.reason) for r in results[1:]] == [
        ("a.jsonl", 2, "empty_field"),
        ("a.jsonl", 3, "wrong_type"),
        ("b.jsonl", 9, "invalid_json"),
        ("a.jsonl", 5, "special_token_text"),
        ("a.jsonl", 6, "unknown_template"),
        ("a.jsonl", 7, "duplicate"),
        ("a.jsonl", 8, "empty_field"),
    ]
    assert all(isinstance(r, Rejection) and r.detail for r in results[1:])
    assert tally.rows_in == 8 and tally.bad == 6 and tally.reasons["empty_field"] == 2
    assert tally.examples["empty_field"].line == 2
    assert tally.counts().startswith("2 empty_field, ")


def test_duplicates_are_exact_and_dropped_only_when_asked(lint):
    rows = [row(), row(" Q ", "A\n"), row("Q", "B"), row("q", "A"), row()]
    tally, results = lint(*rows)
    assert [isinstance(r, Trajectory) for r in results] == [True, False, True, True, False]
    assert tally.reasons["duplicate"] == 2 and tally.bad == 0
    tally, results = lint(*rows, drop_duplicates=False)
    assert all(isinstance(r, Trajectory) for r in results) and not tally.reasons


def test_instruction_and_output_are_kept_apart_when_duplicates_are_sought(lint):
    _, results = lint(row("ab", "c"), row("a", "bc"))
    assert all(isinstance(r, Trajectory) for r in results)


def test_a_wrapped_row_duplicates_its_bare_form(lint):
    tally, _ = lint(row(), row(WRAPPED), wrapped_rows="unwrap")
    assert tally.reasons["duplicate"] == 1


def test_set_of_wrapped_rows_is_unwrapped_without_asking(lint):
    _, results = lint(row(WRAPPED), row(WRAPPED, "Let's think step by step. B"))
    assert [(r.instruction, r.output) for r in results] == [("Q", "A"), ("Q", "B")]


@pytest.mark.parametrize("order", [1, -1])
def test_mixed_templates_are_refused_with_both_places_unless_told(lint, order):
    rows = [row("Q1"), row(WRAPPED)][::order]
    with pytest.raises(InputError, match=r"a\.jsonl, line [12].*a\.jsonl, line [12].*set wrapped_rows: unwrap"):
        lint(*rows)
    _, results = lint(*rows, wrapped_rows="unwrap")
    assert sorted(r.instruction for r in results) == ["Q", "Q1"]


def test_bad_rows_do_not_count_as_bare_in_a_wrapped_set(lint):
    tally, _ = lint(row(WRAPPED), row("", "A"), Located("a.jsonl", 3, fault=("invalid_json", "")))
    assert tally.bad == 2


@pytest.mark.parametrize(
    ("span", "expected"), [([26, 34], "It is 6."), ([0, 34], "It is 6."), ([20, 28], "It"), ([0, 20], None)]
)
def test_error_span_moves_with_the_phrase_that_is_taken_off(lint, span, expected):
    output = "Let's think step by step. It is 6. No, 5."
    _, (result,) = lint(row(WRAPPED, output, error_span=span))
    assert result.output == "It is 6. No, 5."
    assert (result.error_span and result.output[slice(*result.error_span)]) == expected


def test_nothing_left_without_the_template_is_an_empty_field(lint):
    _, (result,) = lint(row(WRAPPED, "Let's think step by step."))
    assert result.reason == "empty_field"


def test_too_large_a_share_of_bad_rows_stops_with_counts_and_the_first_row(lint):
    tally, _ = lint(row(), row("Q2", ""), row("Q3", 5), row(), row("Q4"))
    tally.check_share(0.4)
    with pytest.raises(InputError) as caught:
        tally.check_share(0.39, "eval_files")
    assert str(caught.value).startswith("eval_files: 2 of 5 rows are bad (")
    for part in ("1 empty_field", "1 wrong_type", "a.jsonl, line 2: the output is empty", "max_bad_share"):
        assert part in str(caught.value)


def test_duplicates_alone_never_stop_a_run(lint):
    tally, _ = lint(row(), row(), row())
    tally.check_share(0.0)
