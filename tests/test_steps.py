"""Steps end where lines and sentences do, and nowhere inside a formula, a name, a label or an abbreviation."""

import json
import random
import re
import subprocess
import sys

import pytest

from lemma_train.collection.steps import split_steps


def steps(text: str) -> list[str]:
    return [text[start:end] for start, end in split_steps(text)]


def test_lines_and_sentences_end_steps():
    text = "He has 48 / 2 = 24 cards. 24 + 48 = 72.\nIs it 72? Yes! The answer is 72."
    expected = ["He has 48 / 2 = 24 cards.", "24 + 48 = 72.", "Is it 72?", "Yes!", "The answer is 72."]
    assert steps(text) == expected
    assert steps("he has 5. then he buys 3.\r\n\r\n  now 8  ") == ["he has 5.", "then he buys 3.", "now 8"]
    assert steps("") == steps(" \n\t ") == []


@pytest.mark.parametrize(
    "text",
    [
        "Mr. Smith and Dr. Lee pay Mrs. O'Hara.",
        "She buys fruit, e.g. 3 apples, i.e. food, plums, etc. for approx. 5 dollars vs. 6 before.",
        "Look at No. 5 and Fig. 2 again.",
        "The U.S. Army has 3 tanks.",
        "A book by J. K. Rowling and George R. Martin is long.",
        "He runs 3.5 km and .5 miles.",
        "They meet at 5 p.m. tomorrow or at 5 p.m. Monday.",
        "It takes 3 hrs. 20 min. to go there.",
        "1 + 2 + ... + 10 is large... but finite.",
        "See https://example.org/a.b?c=1&d=2.5 for it.",
        "There are 5! = 120 ways, and 4! ways more.",
        '"Is it 5?" she asked.',
        "The sum $a_1 + \\ldots. + a_n$ is $y = 3. 5$ here.",
        "So \\(x = 1. Then y\\) holds.",
        "We get \\[x = 3. \\text{ Then } y = 4\\] here.",
        "1. Add the numbers.",
        "2) Add the numbers.",
        "Step 2. Add the numbers.",
        "**Step 3.** Add the numbers.",
        "a. Add the numbers.",
        "(b) Add the numbers.",
        "Step 1:\nAdd the numbers.",
    ],
)
def test_these_are_one_step(text):
    assert steps(text) == [text]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("She pays $3.50.", "Then she pays $4."),
        ("The costs are $5.", "She has $x$ apples."),
        ("We know $x=3$.", "Then $y=4$."),
        ("We know $x=3.$", "Then $y=4.$"),
        ("They left the U.S.", "Then they came back."),
        ("It ends at 5 p.m.", "Everybody leaves."),
        ("The right choice is B.", "Triangle ABC is isosceles."),
        ("There are 3 such points A.", "The others are B."),
        ("No.", "He has 5."),
        ("What?!", "That is a lot."),
        ("(See above.)", "It is 5."),
        ('He said "five."', "She said six."),
        ("There are 5!", "That is 120."),
        ("1. Add them.", "2. Subtract them."),
        ("It costs 5 in total.", "5 more are free."),
        ("So $x^2 = 4.$", "$x$ is 2."),
    ],
)
def test_these_are_two_steps(first, second):
    assert steps(f"{first} {second}") == [first, second]


def test_a_display_formula_stays_with_the_sentence_that_leads_to_it():
    text = "We have\n\n\\[\nx = 3.\n\\]\nThen\n\\begin{align*}\na &= 1 \\\\[2pt]\nb &= 2.\n\\end{align*}So it ends."
    assert steps(text) == [
        "We have\n\n\\[\nx = 3.\n\\]",
        "Then\n\\begin{align*}\na &= 1 \\\\[2pt]\nb &= 2.\n\\end{align*}",
        "So it ends.",
    ]
    assert steps("So\n$$\nx = 3\n$$\nwhich is odd. Good.") == ["So\n$$\nx = 3\n$$\nwhich is odd.", "Good."]
    assert steps("\\[a = 1\\]\n\\[b = 2\\]") == ["\\[a = 1\\]", "\\[b = 2\\]"]


def test_dollar_signs_of_money_open_no_formula():
    assert steps("A is $3. B is $4. C is $5 and $6. D is 7.") == ["A is $3.", "B is $4.", "C is $5 and $6.", "D is 7."]
    assert steps("3*8=$24\n5*$1 is 5") == ["3*8=$24", "5*$1 is 5"]
    assert steps("It costs $5. So $x$ is 3. Then $y$.") == ["It costs $5.", "So $x$ is 3.", "Then $y$."]


def test_a_formula_may_run_over_the_end_of_a_line():
    assert steps("Here $253 =\n11 \\cdot 23$ and $x^2\n+ 2x = 0$.\nSo $y\n\\text{ is not there}$.") == [
        "Here $253 =\n11 \\cdot 23$ and $x^2\n+ 2x = 0$.",
        "So $y\n\\text{ is not there}$.",
    ]
    assert steps("It costs 300*2=$\nThe other one costs 2*4=$8") == ["It costs 300*2=$", "The other one costs 2*4=$8"]


def test_formulas_that_nobody_closes_do_not_swallow_the_rest():
    assert steps("So \\[x = 3. Then it ends. And so on.") == ["So \\[x = 3.", "Then it ends.", "And so on."]
    assert steps("\\[a = 1\n\nHere \\[b = 2\\] ends.") == ["\\[a = 1", "Here \\[b = 2\\] ends."]
    assert steps("A $x. B is 2.\n\nC is $y. D.") == ["A $x.", "B is 2.", "C is $y.", "D."]


def test_pieces_without_letter_or_digit_go_to_their_neighbour():
    assert steps("---\nAdd them.\n***\nDone.\n---") == ["---\nAdd them.\n***", "Done.\n---"]
    assert steps("... ?\n!!") == ["... ?\n!!"]


_FRAGMENTS = (
    *("He has 3.5 kg", "Mr. Lee", "e.g.", "U.S.", "$3.50", "$x = 1. 2$", "$$y.$$", "\\[z\\]", "\\(", "\\)", "\\["),
    *(
        "\\begin{align}",
        "\\end{align}",
        "$",
        "$$",
        ".",
        "...",
        "?!",
        "!",
        " ",
        "\n",
        "\n\n",
        "\r\n",
        "\u2028",
        "\u3002",
    ),
    *("1.", "a)", "Step 2.", "---", "\ue000", "\ue003", "\\$", "\\\\", '"', ")", "The", "then", "5", "[asy]", "[/asy]"),
)


def test_spans_of_random_texts_hold_everything_and_do_not_overlap():
    choice = random.Random(20250317)
    for _ in range(3000):
        text = "".join(choice.choice(_FRAGMENTS) + choice.choice(("", " ", " ")) for _ in range(choice.randrange(25)))
        spans = split_steps(text)
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        assert edges == sorted(edges)
        assert all(text[start:end] and text[start:end] == text[start:end].strip() for start, end in spans)
        between = [text[end:start] for end, start in zip(edges[::2], edges[1::2], strict=True)]
        assert not "".join(between).strip()
        assert len(spans) == 1 or all(any(c.isalnum() for c in text[start:end]) for start, end in spans)
        assert spans == split_steps(text)


def test_no_step_ends_inside_a_formula_of_random_texts():
    choice = random.Random(7)
    formulas = ("$a. B$", "$$c. D$$", "\\[e.\nF\\]", "\\(g. H\\)", "\\begin{cases} i. \\\\ J \\end{cases}")
    words = ("We have", "so that.", "Then", "x.", "\n", "which is 5.")
    for _ in range(1000):
        parts = [choice.choice(formulas if choice.random() < 0.4 else words) for _ in range(12)]
        text = " ".join(parts)
        covered = "".join(step for step in steps(text))
        assert all(covered.count(formula) == text.count(formula) for formula in formulas)


def test_long_texts_of_anything_are_split_in_linear_time():
    # In a process of its own, so that a return to quadratic time ends in a clear failure instead of hanging the suite.
    units = ["$", "\\[", ".", " . ", "\n", "a. ", "\\begin{a}", "$5. ", "\\[x\\]\n", " ", "\\"]
    code = (
        "import json, sys\nfrom lemma_train.collection.steps import split_steps\n"
        "for unit in json.loads(sys.argv[1]):\n    split_steps(unit * (300_000 // len(unit)) + ' x')"
    )
    code += "\nsplit_steps('He has 3. She has $4. So $x$ is 5! ' * 25_000)"  # 1 MB
    subprocess.run([sys.executable, "-c", code, json.dumps(units)], check=True, timeout=120)


def test_prices_of_the_shared_data_join_no_lines(shared_data):
    with (shared_data / "gsm8k_train.jsonl").open(encoding="utf-8") as file:
        answers = [json.loads(line)["answer"] for line in file]
    for answer in (*answers, *(re.sub(r"<<[^<>]*>>", "", answer) for answer in answers)):
        assert [step for step in steps(answer) if "\n" in step] == []


def test_solutions_of_the_shared_data_are_covered(shared_data):
    with (shared_data / "math_train.jsonl").open(encoding="utf-8") as file:
        solutions = [json.loads(line)["solution"] for _, line in zip(range(1500), file, strict=False)]
    for solution in solutions:
        found = steps(solution)
        assert "".join("".join(found).split()) == "".join(solution.split())
        assert all(step.count("\\begin{align*}") == step.count("\\end{align*}") for step in found)
        assert all(step.count("\\[") - step.count("\\\\[") == step.count("\\]") for step in found)
