"""The grader on any text: it ends soon, raises nothing, and finds an answer equal to itself.

The comparisons that need no algebra run here, in this process; `test_grading_hostile` has those that go to a worker.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lemma_train.grading.equivalence import MAX_CHARACTERS, compare
from lemma_train.grading.extraction import extract_answer, extract_reference
from lemma_train.grading.grader import Grade, Grader

settings.register_profile("grading", max_examples=200, deadline=None, derandomize=True, database=None)
GRADING = settings.get_profile("grading")

_PIECES = st.sampled_from(
    [
        *("The answer is ", "answer: ", "#### ", "\\boxed{", "\\boxed ", "}", "{", "Final answer", "**", "Wait, "),
        *("not ", "no, ", "that is wrong. ", "would be ", "?", ". ", "\n", "$", "$$", "\\(", "\\)", "\\[", "\\]"),
        *(
            "5",
            "-3",
            "0.5",
            "1/2",
            "\\frac{1}{2}",
            "\\frac12",
            "50%",
            "$3.50",
            "1,000",
            "1{,}000",
            "3:00",
            "9 a.m.",
            "2:4",
        ),
        *(
            "x",
            "x = 5",
            "x \\in ",
            "(1, 2)",
            "[1,2)",
            "\\{1, 2\\}",
            "1, 2, 3",
            "\\pm",
            "\\pi",
            "\\sqrt{2}",
            "\\infty",
            "or",
        ),
        *("5 ft. 4 in.", "90 minutes", "dollars", "\\text{cm}", "^2", "_{7}", "(C)", "\\cup", "\\begin{pmatrix}", "&"),
        *("\u00bd", "\u0665", "\uff15", "\u00b2", "\u2212", "\u00d7", "\u200b", "\u202e", "\x00", "\x1b[31m", "\ud800"),
    ]
)
TEXTS = st.lists(_PIECES | st.text(max_size=5), max_size=14).map("".join)
# What a sheet of answers holds: numbers, fractions, intervals, lists, words, units.
READABLE = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.integers(0, 10**9).map(lambda n: f"{n:,}"),
    st.decimals(-1000, 1000, places=3).map(str),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda t: f"\\frac{{{t[0]}}}{{{t[1]}}}"),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda t: f"{t[0]}/{t[1]}"),
    st.tuples(st.integers(-9, 9), st.integers(10, 99)).map(lambda t: f"[{t[0]},{t[1]})"),
    st.lists(st.integers(-99, 99), min_size=2, max_size=5).map(lambda n: ", ".join(map(str, n))),
    st.integers(1, 999).map(lambda n: f"{n} dollars"),
    st.integers(1, 100).map(lambda n: f"{n}\\%"),
    st.sampled_from(["\\text{(C)}", "Tuesday", "x^2 + 1", "\\sqrt{2}", "2\\pi", "3:45", "10_{7}", "no solution"]),
)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail after so much processor time, even in the middle of a regular expression."""

    def late(*_: object) -> None:
        raise AssertionError(f"it takes longer than {seconds} seconds")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _grade(response: str, reference: str) -> Grade | None:
    """As `Grader.submit`; None where it would ask a worker."""
    with Grader() as grader:
        grader._enqueue = lambda pair: None  # type: ignore[method-assign,assignment]
        found = grader.submit(response, reference)
        return found.result(0) if found is not None else None


@GRADING
@given(response=TEXTS, reference=TEXTS)
@example(response="\u00b2", reference="5")
@example(response="The answer is 1/0.", reference="1/0")
@example(response="#### " + "9" * 5000, reference="9" * 5000)
def test_any_text_is_graded_soon_and_without_an_exception(response, reference):
    with within(1.0):
        grade = _grade(response, reference)
    assert extract_answer(response) == extract_answer(response)
    if grade is None:  # algebra decides
        return
    readable = extract_reference(reference) is not None
    assert (grade.correct is None) == (not readable)
    assert grade.extracted is None or grade.extracted.strip()
    assert grade.reason in {None, "no_answer", "too_long", "unreadable_reference"}


@GRADING
@given(reference=TEXTS)
@example(reference="5")
def test_a_reference_is_right_against_itself(reference):
    wanted = extract_reference(reference)
    if wanted is not None:
        assert compare(wanted, wanted) is True


@GRADING
@given(answer=READABLE, stated=st.sampled_from(["\\boxed{%s}", "So it is $\\boxed{%s}$.", "2 + 2.\n#### %s"]))
def test_an_answer_that_is_stated_is_found_and_right(answer, stated):
    grade = _grade(stated % answer, answer)
    assert grade is not None and grade.correct is True, (stated % answer, grade)


@GRADING
@given(
    a=st.integers(-999, 999), b=st.integers(-999, 999), form=st.sampled_from(["%d", "%d.0", "$%d", "%d units", "+%d"])
)
def test_numbers_are_the_same_where_their_values_are(a, b, form):
    assert compare(form % a if a >= 0 or form != "+%d" else str(a), str(b)) is (a == b)


def test_a_list_of_numbers_is_read_at_once():
    # A model that counts and states no answer; each further number once doubled the time.
    for number in ("7", "1.5", "1,000", "1/2", "3:00", "5%", "$2", "3 million", "1 1/2"):
        with within(1.0):
            assert extract_answer(", ".join([number] * 100)) is not None
            assert extract_answer("We count " + ", ".join([number] * 100)) is not None


@GRADING
@given(answer=READABLE | TEXTS, reference=READABLE | TEXTS)
@example(answer="1, 2, 3", reference="5")
@example(answer="1, ", reference="1, ")
@example(answer="1.5, 1,000 or ", reference="\\boxed ")
def test_plain_comparison_takes_no_longer_than_its_length_warrants(answer, reference):
    with within(1.0):
        compare((answer * 200)[:MAX_CHARACTERS], (reference * 200)[:MAX_CHARACTERS])
        extract_answer((answer * 400)[:20_000])
