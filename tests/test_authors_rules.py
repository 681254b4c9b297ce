"""The authors' rules, faults included."""

import json

import pytest

from lemma_train.evaluation.authors_rules import authors_verdict


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        ("Final Answer: The final answer is $7$. I hope it is correct. \\boxed{8}", "7"),
        ("\\boxed{3} and then \\boxed{\\frac{1}{2}}, so the answer is 9", "\\frac{1}{2}"),
        ("The answer is 4. No: the answer is 5.\nThe final answer is 6 or 7", "5"),
        ("Thus the final answer is: 12.", "12"),
        ("We add 3 and 1,250 and get 1,253 in all.", "1253"),
        ("It fell by -2.5", "-2.5"),
        ("It is $\\boxed 5$ at last", "5"),
        ("An open \\boxed{5 + ", "5+"),
        ("the answer is 5\nand more", "5"),
        ("The answer is $x = 5.00$.", "5"),
        ("The answer is $.5$", "0.5"),
        ("The answer is \\$1,200.", "1,200"),
        ("The answer is $40\\text{ cm}^2$.", "40"),
        ("The answer is $\\text{Monday}$", "Monday"),
        ("The answer is 3/4", "\\frac{3}{4}"),
        ("The answer is $30^\\circ$", "30"),
        ("No idea.", None),
        ("", None),
        ("It is \\boxed{}", None),
    ],
)
def test_the_answer_is_found_by_the_order_of_the_rules_and_rewritten(response, extracted):
    assert authors_verdict(response, "1")[0] == extracted


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("18", "18"),
        ("18", "Worked out.\n#### 18"),
        ("\\dfrac12", "We get $\\boxed{\\frac{1}{2}}$."),
        ("1,000", "1000"),
        ("1/2", "0.5"),
        ("-\\frac{1}{4}", "-0.25"),
        ("3.00005", "3"),
        ("(1, 2.0)", "(1,2)"),
        ("[0, \\frac12)", "[0,\\frac{1}{2})"),
        ("monday", "Monday"),
        ("\\left( 3, 4 \\right)", "(3,4)"),
    ],
)
def test_equal_answers_are_right(answer, reference):
    assert authors_verdict(f"The answer is ${answer}$.", reference)[1] is True


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("18", "19"),
        ("3.001", "3"),
        ("0", "1"),
        ("(1, 2)", "(2, 1)"),
        ("(1, 2)", "(1, 2, 3)"),
        ("\\frac{1}{0}", "\\frac{2}{0}"),
        ("x+1", "1+x"),
        ("18", " "),
        ("inf", "nan"),
    ],
)
def test_other_answers_are_wrong(answer, reference):
    assert authors_verdict(f"The answer is {answer}", reference)[1] is False


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("The answer is 50", "0.5"),
        ("The answer is 0.5", "50"),
        ("The answer is 1%", "1"),
        ("The answer is 100", "1"),
        ("The answer is 5 m", "5"),
        ("The answer is m", "s"),
    ],
)
def test_faults_of_the_rules_are_kept(response, reference):
    assert authors_verdict(response, reference)[1] is True


def test_a_box_wins_over_the_statement_that_takes_it_back():
    response = "So \\boxed{5}. Wait, I left one out. The answer is: 15"
    assert authors_verdict(response, "15") == ("5", False)
    assert authors_verdict(response, "5") == ("5", True)


def test_nothing_is_evaluated(tmp_path):
    trace = tmp_path / "trace"
    answer = f"__import__('pathlib').Path('{trace}').touch()"
    assert authors_verdict(f"The answer is {answer}", "1")[1] is False
    assert authors_verdict("The answer is 2**9**9**9", "1") == ("2**9**9**9", False)
    assert not trace.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{" * 200_000,
        "-" * 200_000,
        "9" * 200_000,
        "1," * 100_000,
        "\\text{" * 40_000,
        "\\frac{" * 40_000,
        " " * 200_000,
    ],
)
def test_absurd_responses_come_to_an_end(text):
    """Each rule costs one pass; a pattern that goes back and forth would not end within the test run."""
    for response in (text, f"\\boxed{{{text}", f"The answer is {text}"):
        assert authors_verdict(response, "1")[1] is False
    authors_verdict("The answer is 1", text)


def test_worked_solutions_are_right_beside_themselves(shared_data):
    lines = (shared_data / "benchmarks" / "math.jsonl").read_text(encoding="utf-8").splitlines()
    solutions = [json.loads(line)["solution"] for line in lines]
    wrong = [solution for solution in solutions if not authors_verdict(solution, solution)[1]]
    assert len(solutions) == 5000 and len(wrong) <= 5  # in a few a remark with "boxed" follows the answer
