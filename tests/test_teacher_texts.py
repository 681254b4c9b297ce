"""What teachers write after a wrong step: eighty texts of our own, forty to be kept and forty to be set aside."""

from dataclasses import replace

import pytest

from lemma_train.collection.filters import fault_of
from lemma_train.collection.records import Draft
from lemma_train.collection.replies import ReplyFault
from lemma_train.collection.reply_checks import check_correction


def draft(prefix: str, wrong: str) -> Draft:
    span = (prefix.index(wrong), len(prefix))
    return Draft("p/s0/fix", "p", "p/s0", "fix_and_continue", "student", "calculation_error", prefix, span, "", "")


CARDS = "Ben has 84 cards and sells 50. He puts the others into 2 boxes. How many are in a box?"
CARDS_LEFT = draft("Ben starts with 84 cards.\nHe has 84 - 50 = 44 cards left.", "He has")
STATED = draft("Ben has 84 - 50 = 34 cards left.\nIn a box are 34 / 2 = 17 cards.\nThe answer is 34.", "The answer")
SHOP = (
    "A pen costs $3 and a book costs $8. Mia buys 4 pens and 2 books and pays with $50. How much change does she get?"
)
SHOP_PENS = draft("The pens cost 4 * $8 = $32.", "The pens")
ROOTS = "What is the product of the solutions of $x^2 - 9x + 14 = 0$?"
ROOTS_SUM = draft("The solutions are $2$ and $7$, so the product is $2 + 7 = 9$.", "The solutions")
DAYS = "Today is Tuesday. Which day of the week is it in 10 days?"
DAYS_OFF = draft("10 days are one week and 4 days.", "10 days")

QUESTIONS = {id(CARDS_LEFT): CARDS, id(STATED): CARDS, id(SHOP_PENS): SHOP, id(ROOTS_SUM): ROOTS, id(DAYS_OFF): DAYS}
REST = "He has 84 - 50 = 34 cards left.\nIn a box are 34 / 2 = 17 cards.\nThe answer is 17."
SHOP_REST = "The pens cost 4 * $3 = $12 and the books 2 * $8 = $16. She gets $50 - $12 - $16 = $22. The answer is 22."
ANEW = (
    "Each box gets half of the cards that are not sold. Not sold are 84 - 50 = 34, and 34 / 2 = 17. The answer is 17."
)
FIX, RESTART = "fix_and_continue", "fresh_and_restart"

KEPT = [
    (CARDS_LEFT, FIX, "Wait, 84 - 50 is not 44, it is 34.", REST),
    (CARDS_LEFT, FIX, "Hmm, if I add 44 and 50 I get 94, which is more than 84. The difference must be 34.", REST),
    (CARDS_LEFT, FIX, "Let me check that subtraction: 80 - 50 is 30 and the 4 stays, so 34.", REST),
    (CARDS_LEFT, FIX, "Hold on. I borrowed a ten too few there.", REST),
    (CARDS_LEFT, FIX, "No, that is ten too many. 84 minus 50 leaves 34.", REST),
    (CARDS_LEFT, FIX, "Is 84 - 50 really 44? No, because 44 + 50 = 94.", REST),
    (CARDS_LEFT, FIX, "Did I subtract correctly? Hmm, 84 - 50 comes to 34.", REST),
    (CARDS_LEFT, FIX, "Did I make a mistake there? Yes, the tens are off by one.", REST),
    (CARDS_LEFT, FIX, "The start is right, yet the subtraction gives 34.", REST),
    (CARDS_LEFT, FIX, "Hmm. Ben does have 84 cards, no mistake there, yet 84 - 50 is 34.", REST),
    (CARDS_LEFT, FIX, "Let me look again. No error in the first step. The second one gives 34.", REST),
    (CARDS_LEFT, FIX, "Let me double-check. 84 cards is correct. However, taking 50 away leaves 34.", REST),
    (
        CARDS_LEFT,
        FIX,
        "Wait a second. The answer must be a whole number of cards, and so far so good, but 44 is off.",
        REST,
    ),
    (CARDS_LEFT, FIX, "Something is off: 44 + 50 does not give 84.", REST),
    (CARDS_LEFT, FIX, "I should double-check whether this is right: 84 - 50 = 44? It is 34.", REST),
    (CARDS_LEFT, FIX, "Oops, I misplaced a ten; the correct difference is 34.", REST),
    (CARDS_LEFT, FIX, "Let me recompute: 84 - 50 = 34. So the 44 has to go.", REST),
    (CARDS_LEFT, FIX, "Actually, 8 tens less 5 tens are 3 tens, so I miscounted.", REST),
    (CARDS_LEFT, FIX, "I wrote 84 - 50 = 44, but that is wrong.", REST),
    (CARDS_LEFT, FIX, "44 can't be right, since half of 84 is already 42 and he sells more than half.", REST),
    (CARDS_LEFT, FIX, "OK, that went too fast. Let me redo it.", f"Right, {REST}"),
    (CARDS_LEFT, FIX, "Right, he sells 50, so I should get 34 and not 44.", REST),
    (
        CARDS_LEFT,
        FIX,
        "That looks fine at first, but 84 - 50 is 34.",
        "So 34 cards stay, and 34 / 2 = 17. The answer is 17.",
    ),
    (
        CARDS_LEFT,
        FIX,
        "Wait, 84 - 50 = 34.",
        "34 cards for two boxes makes 17 cards for each of the boxes. The answer is 17.",
    ),
    (CARDS_LEFT, RESTART, "I don't trust this. Let me start over from the boxes.", ANEW),
    (
        CARDS_LEFT,
        RESTART,
        "This is going nowhere. I will try another way, with an equation.",
        f"{ANEW} Check: 17 * 2 = 34.",
    ),
    (
        CARDS_LEFT,
        RESTART,
        "Hmm, if the answer is to be right, the parts must add up to 84. Let me set it up anew.",
        ANEW,
    ),
    (
        CARDS_LEFT,
        RESTART,
        "Let me think about it differently.",
        "If x cards are in a box, then 2 * x + 50 = 84, so 2 * x = 34 and x = 17. So the right answer is 17.",
    ),
    (STATED, FIX, "That is what is left in all, not what is in one box.", "A box holds 17 cards. The answer is 17."),
    (
        STATED,
        FIX,
        "The question asks for one box, so the answer should have been the 17 from before.",
        "The answer is 17.",
    ),
    (STATED, FIX, "Wait, I named the wrong quantity. What I need is 34 / 2.", "34 / 2 = 17. The answer is 17."),
    (SHOP_PENS, FIX, "Wait, $8 is the price of a book. A pen costs $3.", SHOP_REST),
    (SHOP_PENS, FIX, "Hmm, is $32 not too much for four pens? I took the price of the books.", SHOP_REST),
    (SHOP_PENS, FIX, "The multiplication is fine, but I used the wrong price: a pen is $3.", SHOP_REST),
    (SHOP_PENS, FIX, "4 * $8 = $32 is true. Still, it is not what the pens cost.", SHOP_REST),
    (SHOP_PENS, RESTART, "I mixed up the prices. Better to begin again and take the money off bit by bit.", SHOP_REST),
    (
        ROOTS_SUM,
        FIX,
        "Wait, the product is asked for, so I must multiply.",
        r"The product is $2 \cdot 7 = \boxed{14}$.",
    ),
    (
        ROOTS_SUM,
        RESTART,
        "That is the sum, not the product. Let me use Vieta's formulas instead.",
        r"For $x^2 - 9x + 14 = 0$ the product of the solutions is the constant term, so the answer is $\boxed{14}$.",
    ),
    (
        DAYS_OFF,
        FIX,
        "Hmm, a week has 7 days, so that leaves 3 days.",
        "Three days after Tuesday it is Friday. The answer is Friday.",
    ),
    (
        DAYS_OFF,
        RESTART,
        "Let me count it another way to be sure, since 7 and 4 make 11.",
        "From Tuesday to Tuesday it takes a week; then come Wednesday, Thursday and Friday. The answer is Friday.",
    ),
]

SET_ASIDE = [
    # The reflection finds nothing wrong.
    (CARDS_LEFT, FIX, "Let me verify: 84 - 50 = 44. Good, continue.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Let me check: all good so far.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Let me verify this. Correct!", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Wait, is this right? Yes.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Wait, is anything wrong here? No.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Let me review. Everything seems consistent.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Hold on, I see nothing wrong here.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Let me double-check: the subtraction is right.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Hmm, I doubted this step, but it is right after all.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Wait, let me check. There is no need to change anything.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Let me re-check: 84 - 50 = 44.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Hmm, let me verify: 84 - 50 gives 44. Now for the boxes.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Let me review my steps. I don't see any mistake.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Checking again. Both steps are correct, so I am on track.", REST, "prefix_is_right"),
    (CARDS_LEFT, FIX, "Wait, does that fit? Yes, it fits.", REST, "prefix_is_right"),
    (CARDS_LEFT, RESTART, "Let me verify the difference. Okay.", ANEW, "prefix_is_right"),
    # No doubt at all.
    (CARDS_LEFT, FIX, "Next the cards go into the boxes.", REST, "no_reflection"),
    # The writer knows the answer or a solution.
    (CARDS_LEFT, FIX, "The correct answer is 17, so my step is off.", REST, "leak"),
    (CARDS_LEFT, FIX, "We know the final answer must be 17, so 44 is wrong.", REST, "leak"),
    (CARDS_LEFT, FIX, "Wait, the solution shows that 34 are left.", REST, "leak"),
    (CARDS_LEFT, FIX, "Given the correct answer of 17, there should be 34 cards.", REST, "leak"),
    (CARDS_LEFT, FIX, "Based on the reference we get 34, not 44.", REST, "leak"),
    (CARDS_LEFT, FIX, "As the explanation given says, it should be 34.", REST, "leak"),
    (CARDS_LEFT, FIX, "Hmm, the hint says that the subtraction is off.", REST, "leak"),
    (CARDS_LEFT, FIX, "The expected result is 17, so this is wrong.", REST, "leak"),
    (CARDS_LEFT, FIX, "The answer should be 17, so something went wrong.", REST, "leak"),
    (CARDS_LEFT, FIX, "The final answer is 17, so this step must be wrong.", REST, "leak"),
    (CARDS_LEFT, FIX, "Wait, 84 - 50 is 34.", f"{REST} This matches the correct answer.", "leak"),
    (CARDS_LEFT, FIX, "Wait, I was told the answer, and it is another one.", REST, "leak"),
    (CARDS_LEFT, RESTART, "This does not agree with the right answer. Let me start over.", ANEW, "leak"),
    # No work, or work that leads elsewhere.
    (CARDS_LEFT, FIX, "Wait, 84 - 50 is 34.", "The answer is 17.", "no_working"),
    (CARDS_LEFT, FIX, "Wait, that is wrong.", "So he needs 17 in a box. The answer is 17.", "no_working"),
    (CARDS_LEFT, RESTART, "Hmm, 34 / 2 is 17. Let me start over.", "The answer is 17.", "no_working"),
    (STATED, RESTART, "That is not right. Let me begin again.", "The answer is 17.", "no_working"),
    (ROOTS_SUM, FIX, "Wait, I must multiply.", r"$\boxed{14}$", "no_working"),
    (CARDS_LEFT, FIX, "Wait, 84 - 50 is 34.", "44 / 2 = 22 bags.\nThe answer is 17.", "answer_from_nowhere"),
    (
        CARDS_LEFT,
        FIX,
        "Hmm, that is wrong.",
        "84 - 50 = 34, and 34 + 2 = 36. The answer is 17 cards.",
        "answer_from_nowhere",
    ),
    (SHOP_PENS, FIX, "Wait, a pen costs $3.", "The pens cost 4 * $3 = $12. The answer is $22.", "answer_from_nowhere"),
    (
        CARDS_LEFT,
        FIX,
        "Wait, that is wrong.",
        "84 - 50 = 36 cards are left. 34 / 2 = 17. The answer is 17.",
        "untrue_sum",
    ),
    (
        CARDS_LEFT,
        RESTART,
        "Let me start over.",
        "50 + 44 = 84 cards.\nIn a box are 34 / 2 = 17. The answer is 17.",
        "untrue_sum",
    ),
]


def named(cases):
    return [f"{number}-{case[2][:40]}" for number, case in enumerate(cases)]


def fault(begun, strategy, reflection, continuation):
    """The reason why neither the check of a reply nor the filter keeps a text, or None."""
    wrong_step, question = begun.prefix[slice(*begun.wrong_span)], QUESTIONS[id(begun)]
    inputs = {"question": question, "prefix": begun.prefix, "wrong_step": wrong_step}
    whole = replace(begun, strategy=strategy, reflection=reflection, continuation=continuation)
    found = fault_of(whole, question, None)
    try:
        check_correction({"reflection": reflection, "continuation": continuation}, inputs)
    except ReplyFault as error:
        assert found is not None, error
    return found and found[0]


@pytest.mark.parametrize("case", KEPT, ids=named(KEPT))
def test_a_good_text_is_kept(case):
    assert fault(*case) is None


@pytest.mark.parametrize("case", SET_ASIDE, ids=named(SET_ASIDE))
def test_a_bad_text_is_set_aside_for_its_reason(case):
    *text, reason = case
    assert fault(*text) == reason


def test_there_are_forty_of_each():
    assert len(KEPT) == len(SET_ASIDE) == 40
