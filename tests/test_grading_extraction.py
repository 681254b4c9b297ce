"""What a response or a reference states as its answer."""

import time

import pytest

from lemma_train.grading.extraction import extract_answer, extract_reference

STATED = [
    # the kinds of statements
    (r"So we get $\boxed{15}$.", "15"),
    (r"We get $\boxed{\frac{\sqrt{3}}{2^{x+1}}}$ cm.", r"\frac{\sqrt{3}}{2^{x+1}}"),
    (r"Hence \boxed 5, as said.", "5"),
    (r"Hence \fbox{-7}.", "-7"),
    (r"\boxed{\{1,2\}}", r"\{1,2\}"),
    ("The answer is 18.", "18"),
    ("The final answer is $3x+1$. I hope it is correct.", "3x+1"),
    ("Final Answer: The final answer is $3$. I hope it is correct.", "3"),
    ("answer: 12", "12"),
    ("Answer = -3.5", "-3.5"),
    ("**Answer:** 15", "15"),
    ("**The answer is: 15**", "15"),
    ("The answer is **15**.", "15"),
    ("The answer is:\n\n\\[\n\\frac{1}{2}\n\\]\nDone.", r"\frac{1}{2}"),
    ("The answer is $$x = 2$$", "x = 2"),
    ("The answer to the question is 7.", "7"),
    ("The answer, in short: see below.\nThe answer in dollars is 7.", "7"),
    ("6 * 3 = 18\n#### 18", "18"),
    ("#### Step 2\nWe add 4 and 5 to get 9", "9"),
    # the last statement wins
    (r"\boxed{5} is wrong. The answer is: 15", "15"),
    (r"The answer is 3. Wait, I forgot one. So \boxed{7}", "7"),
    (r"The answer is 3. Wait, I forgot one. The answer is 4.", "4"),
    ("#### 3\nNo, once more.\n#### 4", "4"),
    (r"\boxed{5}. I hope the answer is helpful.", "5"),
    (r"\boxed{5}. Let us check our answer: 5 + 5 = 10.", "5"),
    (r"The answer is 3, and not \boxed{}.", "3"),
    (r"The answer is 8. We could write \boxed{8", "8"),
    # what is kept and what is left out
    ("The answer is $18.", "$18"),
    ("The answer is $18 and she keeps $3 of it for later use.", "$18"),
    ("The answer is 18 dollars.", "18 dollars"),
    ("The answer is 3 apples because 7 - 4 = 3.", "3 apples"),
    ("The answer is that she has 1,250 stamps left.", "1,250"),
    ("The answer is approximately 3.14.", "3.14"),
    ("The answer is $x = 5$ or $x = -5$.", "$x = 5$ or $x = -5$"),
    ("The answer is 5 and 6.", "5 and 6"),
    ("The answer is (1, 2).", "(1, 2)"),
    ("The answer is [0, 1).", "[0, 1)"),
    ("The answer is 3:45 p.m. on that day.", "3:45 p.m."),
    ("The answer is 34 sq. units.", "34 sq. units"),
    ("The answer is 50%.", "50%"),
    ("The answer is (B).", "(B)"),
    ("The answer is Monday.", "Monday"),
    ("The answer is $5 + $7 = $12.", "$5 + $7 = $12"),
    ("The answer is $5 + $7 = $12. So $x$ is known.", "$5 + $7 = $12"),
    ("The answer is $5$ as $2 + 3 = 5$.", "5"),
    ("The answer is 24 hours / 2 = 12 hours for each.", "12 hours"),
    ("The answer is 5 pens plus 7 pens = 12 pens.", "12 pens"),
    ("The answer is 3 boxes x $2 = $6.", "$6"),
    ("The answer is 12 apples (5 + 7 = 12).", "12 apples"),
    ("The answer is $12 (5 + 7 = 12).", "$12"),
    ("The answer is 12 apples (5 + 7 = 12) for each child.", "12 apples"),
    ("The answer is 3 (x = 3) or 4 (x = 4).", "3 or 4"),
    ("The answer is 24 hours divided by 2 = 12 hours.", "12 hours"),
    ("The answer is 3 eggs + 4 eggs = 7 eggs, with y = 2.", "7 eggs"),
    ("The answer is 3 and 4 with sum = 7.", "3 and 4 with sum = 7"),
    ("The answer is $18, $2 less than $20.", "$18"),
    (r"The answer is \text{two lines}.", r"\text{two lines}"),
    ("The answer is x.", "x"),
    # without a statement, the last number
    ("She has 5 + 10 = 15 apples", "15"),
    ("It is 20-15", "15"),
    ("That leaves -3", "-3"),
    ("Together 1,234,567 coins.", "1,234,567"),
    ("The share is 3/4 of it", "3/4"),
    ("The share is 0.75", "0.75"),
    ("It takes until 3:45", "3:45"),
    (r"It is \frac{3}{4}", r"\frac{3}{4}"),
    (r"So $x = \sqrt{2}$ it is.", r"\sqrt{2}"),
    # nothing
    ("I do not know.", None),
    ("", None),
    ("The answer is", None),
]


@pytest.mark.parametrize(("response", "answer"), STATED)
def test_the_stated_answer_is_found(response, answer):
    assert extract_answer(response) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She sold 24 * 3 = <<24*3=72>>72.\n#### 72", "72"),
        ("She paid a lot.\n#### 1,200\n", "1,200"),
        (r"Since $x=4$ we have $\boxed{\frac{1}{4}}$, as 3 > 2.", r"\frac{1}{4}"),
        ("72", "72"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        ("3 + 4 = 7. The answer is 7.", "7"),
        ("all real numbers", "all real numbers"),
        (r"So there is nothing in \boxed{}.", None),
        ("  \n", None),
        ("####", None),
    ],
)
def test_a_reference_is_a_solution_or_the_bare_answer(text, answer):
    assert extract_reference(text) == answer


def test_only_the_end_of_a_long_response_is_searched():
    assert extract_answer(r"\boxed{5}" + " word" * 10_000 + " and 6 more") == "6"


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "\\boxed{",
            "{",
            "}",
            "$",
            "\\(",
            "\\[",
            "answer is ",
            "answer: ",
            "answer:\\[",
            "the answer to the ",
            "#### ",
            "*",
        ),
        *(
            " ",
            "\n",
            "1",
            "1,",
            "1,111",
            "-",
            "1/",
            "a",
            "aA",
            "the ",
            ".",
            "\\frac{1}{",
            "answer is that that ",
            "\x00",
            "\ud800",
        ),
        *(
            "5 and ",
            "5 or 6, ",
            "1 1/2 ",
            "1:1",
            "1 to 2 ",
            "5 hours ",
            "March 5 ",
            "x - ",
            "x-",
            "(1,",
            "(1, ",
            "not 5 ",
        ),
        *(
            "$5 ",
            "$5-",
            "answer is not 5 ",
            "answer is 5. That is wrong. ",
            "that is ",
            "wait, ",
            "x^",
            "a\\b ",
            "1 ",
            "0,1",
        ),
        *(
            "answer is half of 5 ",
            "answer is 5 for ",
            "answer is 5, ",
            "negative ",
            "5 in ",
            "1 000",
            "one ",
            "10^",
            "5 x 10^",
        ),
    ],
)
def test_the_search_is_linear_in_hostile_text(piece):
    """A search that is not would run for minutes: this is a bound on its kind, and no measurement."""
    begin = time.process_time()
    extract_answer(piece * (1_000_000 // len(piece)))
    extract_reference(piece * (20_000 // len(piece)))
    assert time.process_time() - begin < 20
