"""Words that know too much are found; everyday words, and those of the question, are let be."""

import json

import pytest

from lemma_train.collection.leaks import LEAKS, leak_in, markup_in

QUESTION = "Ben has 84 cards and sells 50. He puts the others into 2 boxes. How many are in a box?"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The reference solution says 34.", "reference"),
        ("Looking at the reference, it is 34.", "reference"),
        ("This equals the ground truth.", "ground_truth"),
        ("[Ground-truth Solution] 34", "ground_truth"),
        ("It differs from the given answer.", "given_answer"),
        ("The expected answer is 17.", "given_answer"),
        ("The correct answer provided is 17.", "answer_provided"),
        ("The right answer is known to be 17.", "answer_provided"),
        ("The provided solution uses 34.", "given_solution"),
        ("The answer key has 17.", "answer_key"),
        ("As stated in the solution, it is 34.", "according_to_solution"),
        ("As the teacher noted, it is 34.", "teacher"),
        ("The student made a slip.", "student"),
        ("As an AI language model, I see that.", "model"),
        ("As an AI, I see that.", "model"),
        ("The instructions say so.", "prompt"),
        ("This is a calculation_error.", "error_type"),
        ("Here is a missing_step.", "error_type"),
        ("The error type is clear.", "error_type"),
        ("That was a Fix & Continue.", "error_type"),
        ("I intentionally make a mistake.", "planted_mistake"),
        ("84 - 50 = 44 (incorrect)", "planted_mistake"),
        ("[Correct solution] 34", "bracketed_label"),
        ("Based on the reference we get 34.", "reference"),
        ("The solution shows that 34 are left.", "solution_says"),
        ("As the explanation given says, it is 34.", "note"),
        ("According to the hint, it is 34.", "note"),
        ("Given the correct answer of 17, it is 34.", "compared_with_answer"),
        ("Knowing that the right answer is 17, I go back.", "compared_with_answer"),
        ("This matches the correct answer.", "compared_with_answer"),
        ("That differs from the right result.", "compared_with_answer"),
        ("We know that the answer is 17.", "compared_with_answer"),
        ("The expected result is 17.", "given_answer"),
        ("The answer given is 17.", "given_answer"),
        ("I was told the answer.", "given_answer"),
        ("The back of the book says 17.", "answer_key"),
    ],
)
def test_words_that_know_too_much_are_found(text, name):
    assert leak_in(text, QUESTION)
    assert name in [leak.name for leak in LEAKS if leak.pattern.search(text)]


@pytest.mark.parametrize(
    "text",
    [
        "The answer is given by 5 + 3.",
        "Take the corner as a reference point in this frame of reference.",
        "The reference angle is 30 degrees, with reference to the x-axis.",
        "The solution set is {1, 2}, and the given solution set is finite.",
        "The correct answer is 17. The final answer is 17.",
        "So the right answer, given that x > 0, is 17.",
        "The given equation and the given numbers lead to the solution.",
        "I made an error in the second step, which is wrong.",
        "Let me find the correct solution.",
        "A step_size of 3 and \\text{error}_1 and x_step.",
        "\\[x \\text{ is the answer}\\] and [1, 2]",
        "He knows the key to the door and an aid says so.",
        "The prompt reply came from a student of life.",
        "Take 12 o'clock as the reference time and B as the reference point.",
        "The answer must be a whole number, and it should be 5 times as large as before.",
        "The expected value is 3, and the known results agree with each other.",
        "Now we know the answer to the first part.",
        "I explain it: the solution is unique.",
    ],
)
def test_everyday_words_are_no_leak(text):
    assert leak_in(text, QUESTION) is None


@pytest.mark.parametrize(
    "text",
    [
        "The correct answer is 17, so my step is off.",
        "The right answer must be 17.",
        "The final answer should be \\boxed{17}.",
        "The actual answer is $17.",
        "The answer has to be B.",
        "Let me redo this to get the right answer, 17.",
    ],
)
def test_a_reflection_knows_no_answer_but_a_continuation_may(text):
    assert leak_in(text, QUESTION, reflection=True)
    assert leak_in("So the right answer is 17.", QUESTION) is None


@pytest.mark.parametrize(
    "text",
    [
        "The answer must be a whole number, so this is off.",
        "The answer should be 5 times as large.",
        "My answer was 44, which is more than half.",
        "Let me redo this to get the right answer.",
        "The right answer is found by dividing.",
        "The answer must be less than 84.",
    ],
)
def test_a_reflection_may_reason_about_the_answer(text):
    assert leak_in(text, QUESTION, reflection=True) is None


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("The teacher has 34 pencils.", "A teacher has 84 pencils and gives away 50. How many are left?"),
        ("The student has 34 left.", "Each student in a class has 84 sheets. How many are left?"),
        (
            "The given solution holds 3 liters of acid.",
            "A solution holds 30% acid. How many liters are in 10 liters of it?",
        ),
        ("The answer key has 20 lines.", "An answer key has 20 lines. How many pages is it?"),
        ("The expected answer is A.", "Tim's answer differs from the expected answer in 3 places. Why?"),
    ],
)
def test_words_of_the_question_are_no_leak(text, question):
    assert leak_in(text, question) is None and leak_in(text, QUESTION)


@pytest.mark.parametrize(
    "text",
    [
        "### Instruction:\nAdd.",
        "48 / 2 = <<48/2=24>>24",
        "It is 5.<|eot_id|>",
        "</think> It is 5.",
        "<wrong_step>x</wrong_step>",
        "```\nx\n```",
        '{"reflection": "Wait."}',
        "CONTINUATION: It is 5.",
        "So.\n**Reflection:** Wait.",
        "{{ row.question }}",
        "{% if x %}",
    ],
)
def test_left_over_markup_is_found(text):
    assert markup_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "### Step 1\n**Find** the sum: 5 << 6 and 7 >> 2",
        "$\\frac{{1}}{2}$ and $x^{{n}}$ and $\\{\\{1\\}\\}$ and {1, 2}",
        'He says, "five": so it is.',
        "On reflection: it is 5. The reflection of the line is $y = -x$.",
        "#### 17",
        "1 < x and x > 0",
        "5\\% {%",
    ],
)
def test_formulas_and_headings_are_no_markup(text):
    assert markup_in(text) is None


def test_hostile_texts_end():
    for unit in (
        "a",
        " ",
        "<<",
        '"steps"',
        "[a ",
        "1,",
        "answer ",
        "_step",
        "{{ a",
        "planted ",
        "\n> ",
        "the answer is ",
        "match the ",
    ):
        long = unit * (100_000 // len(unit))
        leak_in(long, long[:1000], reflection=True)
        markup_in(long)


def test_solutions_of_the_shared_data_hold_no_leak_and_no_markup(shared_data):
    with (shared_data / "math_train.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(2000), file, strict=False)]
    found = [words for row in rows for words in (leak_in(row["solution"], row["problem"]), markup_in(row["solution"]))]
    assert [words for words in found if words] == []
