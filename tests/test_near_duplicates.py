"""Near-duplicates: what counts as the same text within one question."""

from lemma_train.collection.near_duplicates import repeats, shingles
from lemma_train.collection.words import words

STORY = " ".join(f"Step {i}: he adds {i} apples to the basket number {i + 3}." for i in range(30))


def test_case_and_punctuation_do_not_make_another_text():
    assert repeats(["It is 2 + 3 = 5.", "it is: 2 + 3 = 5", "It is 2 - 3 = -1."], 1.0) == [None, 0, None]


def test_the_first_text_is_kept_and_a_changed_word_is_near_enough():
    assert repeats([STORY, STORY.replace("he adds 7", "she adds 7"), STORY[::-1]], 0.9) == [None, 0, None]
    assert repeats([STORY, STORY.replace("he adds 7", "she adds 7")], 1.0) == [None, None]


def test_similarity_is_jaccard_of_runs_of_five_words():
    # 8 words give 4 runs; the last word changed leaves 3 of them: 3 shared of 5 in all.
    one, other = "a b c d e f g h", "a b c d e f g x"
    assert len(shingles(one)) == 4
    assert repeats([one, other], 0.6) == [None, 0]
    assert repeats([one, other], 0.61) == [None, None]


def test_a_text_that_was_not_kept_hides_nothing():
    a, b, c = "a b c d e f g h i", "a b c d e f g h x", "z b c d e f g h x"
    assert repeats([a, b, c], 0.6) == [None, 0, None]
    assert repeats([b, c], 0.6) == [None, 0]


def test_texts_shorter_than_a_run_compare_as_a_whole():
    assert repeats(["It is 5.", "It is 6.", "it is 5", "", "!"], 0.5) == [None, None, 0, None, 3]


def test_words_keep_numbers_and_signs_and_drop_figures():
    assert words("That's $1,200.50 \u2212 3,4 (two-digit) \u00bd") == [
        *("that", "s", "1200.50", "-", "3", "4", "two", "digit", "1", "2")
    ]
    assert words("A [asy] draw((0,0)--(1,1)); [/asy] triangle") == ["a", "triangle"]
    assert words("3+5", signs=False) == ["3", "5"]


def test_a_megabyte_of_hostile_text_is_split_in_bounded_time():
    for text in ("[asy]" * 200_000, "1," * 500_000, "-" * 1_000_000, "- " * 500_000, "9" * 1_000_000, "- \n" * 300_000):
        words(text)
