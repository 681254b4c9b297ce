"""The report: figures as they stand in the results, samples as they were written, nothing loaded and nothing run."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from finished_runs import NONSENSE, damaged, hostile_sample, share, sign, write_run

from lemma_train.errors import InputError
from lemma_train.evaluation.compare import compare
from lemma_train.evaluation.report import SAMPLES_PER_RUN, write_report
from lemma_train.evaluation.report_charts import length_bins


class Page(HTMLParser):
    """Tags with their attributes, table rows and articles of a page, as a parser sees them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.articles, self.open_cell, self.in_article = [], [], [], False, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.open_cell = True
        elif tag == "article":
            self.articles.append((dict(attrs), []))
            self.in_article = True
        elif tag == "mark" and self.in_article:
            self.articles[-1][1].append((attrs[0][1].removeprefix("piece "), ""))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.open_cell = False
        self.in_article = self.in_article and tag != "article"

    def handle_data(self, data):
        if self.open_cell:
            self.rows[-1][-1] += f" {data}" if self.rows[-1][-1] else data
        if self.in_article and self.articles[-1][1] and self.articles[-1][1][-1][1] == "":
            kind, _ = self.articles[-1][1][-1]
            self.articles[-1][1][-1] = (kind, data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def report(tmp_path, *runs, **options):
    out = tmp_path / "report.html"
    write_report(list(runs), out, **options)
    return out.read_text(encoding="utf-8")


def cell(told):
    """A proportion as tables show it that tell its number of trials."""
    value, low, high = (100 * told[key] for key in ("value", "low", "high"))
    return f"{value:.1f} {low:.1f}\u2013{high:.1f} of {told['n']}"


def test_a_trained_model_stands_beside_the_published_figures_of_its_base(tmp_path):
    model = tmp_path / "final"
    model.mkdir()
    (model / "run.json").write_text(json.dumps({"recipe": {"model_name_or_path": "Qwen/Qwen2-Math-7B"}}))
    run = write_run(tmp_path / "run", questions=4, model=str(model))
    page = Page(report(tmp_path, run))
    assert ["published: LEMMA 88.90k rows, table 9", "87.4", "62.9", "88.9", "77.2"] in page.rows
    # Four questions beside figures over thousands: the page says so, in the head of the column and before the table.
    assert page.rows[0][1] == "gsm8k 4 of 1,319 questions, 0\u2011shot"
    text = (tmp_path / "report.html").read_text()
    assert "a part of the questions was answered: 4 of 1,319 of gsm8k, 4 of 5,000 of math, 4 of 1,000 of svamp" in text
    assert "; published figures are over all of them." in text


def test_figures_of_whole_benchmarks_carry_no_caution(tmp_path):
    text = report(tmp_path, write_run(tmp_path / "run", benchmarks=("gsm8k",), questions=1_319))
    assert Page(text).rows[0][1] == "gsm8k 1,319 questions, 0\u2011shot"
    assert 'class="cautions"' not in text


def test_tables_hold_the_figures_of_the_results(tmp_path):
    base = write_run(tmp_path / "base", "base model", 0.4)
    tuned = write_run(tmp_path / "tuned", "tuned", 0.8)
    page = Page(report(tmp_path, tuned, base=base))
    assert page.rows[0] == [
        "model",
        *("gsm8k 120 of 1,319 questions, 0\u2011shot", "math 120 of 5,000 questions, 0\u2011shot"),
        *("svamp 120 of 1,000 questions, 4\u2011shot", "average"),
    ]
    names = ("gsm8k", "math", "svamp")
    found = compare(base, tuned)

    def beside(paired):
        difference, low, high = (
            f"{100 * value:+.1f}".replace("-", "\u2212") for value in (paired.difference, paired.low, paired.high)
        )
        return f"{difference}\n[{low},\u00a0{high}]"

    ours, theirs = (json.loads((run / "results.json").read_text()) for run in (tuned, base))
    expected = ["tuned"]
    for name in names:
        accuracy = ours["benchmarks"][name]["metrics"]["accuracy"]
        value, low, high = (100 * accuracy[key] for key in ("value", "low", "high"))
        expected.append(f"{value:.1f} {low:.1f}\u2013{high:.1f} {beside(found.benchmarks[name])}")
        shares = [run["benchmarks"][name]["metrics"]["accuracy"]["value"] for run in (theirs, ours)]
        assert found.benchmarks[name].difference == pytest.approx(shares[1] - shares[0])
    expected.append(f"{100 * ours['average']['accuracy']:.1f} {beside(found.overall)}")
    assert page.rows[1][0] == "base model the base" and "[" not in page.rows[1][1]
    assert page.rows[2] == expected
    correction = next(row for row in page.rows if row[0] == "tuned" and len(row) == 9)
    assert correction[3] == cell(ours["scorecard"]["repaired"])
    of_math = next(row for row in page.rows if row[0] == "math tuned" and len(row) == 9)
    assert of_math[3] == cell(ours["benchmarks"]["math"]["scorecard"]["repaired"])
    graded = next(row for row in page.rows if row[0] == "math tuned" and len(row) == 5)
    assert graded[4] == str(ours["benchmarks"]["math"]["authors"]["disagreement_count"])
    assert any(row[0] == "Level 3 math" for row in page.rows)
    assert "<figcaption>Training loss" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_markdown_file_holds_the_same_tables(tmp_path):
    run = write_run(tmp_path / "run", "a|b <img src=x> [l](http://x)", 0.6)
    page = Page(report(tmp_path, run))
    text = (tmp_path / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    assert len(rows) == len(page.rows)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == len(row) + 1 for line, row in zip(rows, page.rows, strict=True))
    assert "a\\|b &lt;img src=x> \\[l\\](http://x)" in text
    assert "<img" not in text


def test_runs_that_cannot_be_compared_are_named(tmp_path):
    one = write_run(tmp_path / "one", "one")
    two = write_run(tmp_path / "two", "two", template_fingerprint="other", benchmarks=("gsm8k", "svamp"), questions=50)
    text = report(tmp_path, one, two)
    assert "The runs differ in prompt template." in text
    assert "different numbers of questions of gsm8k" in text
    assert "The averages are over different benchmarks." in text
    assert "differ in decoding" not in text


def test_differences_are_shown_only_where_the_questions_are_the_same(tmp_path):
    base = write_run(tmp_path / "base", "base", 0.4, ("gsm8k", "svamp"), 20)
    tuned = write_run(tmp_path / "tuned", "tuned", 0.8, ("gsm8k", "svamp"), 20)
    samples = (tuned / "samples.jsonl").read_text()
    (tuned / "samples.jsonl").write_text(samples.replace('"question_id": "svamp-7"', '"question_id": "svamp-99"'))
    sign(tuned)
    text = report(tmp_path, tuned, base=base)
    row = Page(text).rows[2]
    assert row[0] == "tuned" and "[" in row[1] and "[" not in row[2] and "[" not in row[3]
    assert "The runs answered different questions of svamp." in text


def test_error_types_and_the_probe_have_tables_of_their_own(tmp_path):
    base, tuned = (write_run(tmp_path / name, name, right) for name, right in (("base", 0.4), ("tuned", 0.8)))
    page = Page(report(tmp_path, tuned, base=base))
    ours = json.loads((tuned / "results.json").read_text())
    of_type = next(row for row in page.rows if row[0] == "missing step tuned")
    card, probe = ours["scorecard"]["by_error_type"]["missing_step"], ours["probe"]["by_error_type"]["missing_step"]
    told = [card["reflects"], card["repair_rate"], probe["recovered"], probe["reflected"]]
    assert of_type[1:] == [cell(one) for one in told]
    probed = next(row for row in page.rows if row[0] == "tuned" and len(row) == 7)
    recovered = compare(base, tuned).probe_paired["recovered"]
    assert probed[1].startswith(cell(ours["probe"]["recovered"]) + " ")
    assert f"{100 * recovered.difference:+.1f}".replace("-", "\u2212") in probed[1]
    assert probed[3] == cell(ours["probe"]["reflected_at_once"])
    assert probed[-1] == "94 clean, 6 with break"
    assert "<figcaption>Error types before and after" in (tmp_path / "report.html").read_text()


def test_samples_of_several_runs_name_their_model_while_they_are_closed(tmp_path):
    one, two = (write_run(tmp_path / name, name, questions=4) for name in ("one", "two"))
    badges = re.findall(r'<summary><span class="badge run">(\w+)</span>', report(tmp_path, one, two))
    assert badges == ["one"] * 12 + ["two"] * 12
    assert "badge run" not in report(tmp_path, one)


def test_long_names_in_pictures_keep_both_ends(tmp_path):
    runs = [write_run(tmp_path / str(seed), f"llama-3-8b-of-one-family-seed-{seed}", questions=3) for seed in (1, 2)]
    text = report(tmp_path, *runs)
    assert {"llama-3-8b-of\u2026y-seed-1", "llama-3-8b-of\u2026y-seed-2"} <= set(
        re.findall(r">([^<>]*seed-\d)</text>", text)
    )


def everywhere(value, nonsense):
    """The value with every leaf replaced."""
    if isinstance(value, dict):
        return {key: everywhere(part, nonsense) for key, part in value.items()}
    if isinstance(value, list):
        return [everywhere(part, nonsense) for part in value]
    return nonsense


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_a_page_is_made_of_whatever_the_results_hold(tmp_path, nonsense):
    run, base = (write_run(tmp_path / name, name, questions=3, benchmarks=("gsm8k",)) for name in ("run", "base"))
    results = json.loads((run / "results.json").read_text())
    changed = everywhere(results, nonsense) | {"samples_file": results["samples_file"], "loss_curve": nonsense}
    changed["probe"]["verdicts"] = results["probe"]["verdicts"]  # which are checked as they are read
    (run / "results.json").write_text(json.dumps(changed))
    text = report(tmp_path, run, base=base)
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"<section id=.settings.*", "", text, flags=re.DOTALL))


@pytest.mark.slow
@pytest.mark.parametrize("nonsense", ["x", float("nan"), [[5]], {}], ids=str)
def test_no_damaged_value_ends_in_a_traceback(tmp_path, nonsense):
    run = write_run(tmp_path / "run", questions=2, benchmarks=("gsm8k",))
    file = run / "results.json"
    made = 0
    for changed in damaged(json.loads(file.read_text()), nonsense, depth=2):
        file.write_text(json.dumps(changed))
        try:
            report(tmp_path, run)
            made += 1
        except InputError as error:
            assert "results.json" in str(error)
    assert made > 40


def test_samples_with_damaged_fields_are_shown_or_named(tmp_path):
    plain = hostile_sample(0, "1 + 1 = 3. Wait. It is 2.")
    fields = set(plain) - {"id", "question_id", "benchmark", "question", "reference", "response", "correct"}
    extra = [
        {**plain, "id": f"{key}{number}", key: nonsense}
        for key in sorted(fields)
        for number, nonsense in enumerate(NONSENSE)
    ]
    run = write_run(tmp_path / "run", questions=2, extra=extra)
    text = report(tmp_path, run)
    assert "It is 2." in text and "\nnan" not in text


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [write_run(tmp_path / name, "same", questions=3) for name in ("one", "two")]
    page = Page(report(tmp_path, *runs))
    assert [page.rows[1][0], page.rows[2][0]] == ["same (1)", "same (2)"]


def test_results_without_scorecard_probe_loss_or_samples_make_a_page(tmp_path):
    bare = write_run(tmp_path / "bare", "bare", questions=5, scorecard=None, probe=None, loss_curve=None)
    results = json.loads((bare / "results.json").read_text())
    for entry in results["benchmarks"].values():
        del entry["scorecard"], entry["authors"]
        entry["metrics"]["accuracy"] = share(0, 0)
    results["average"]["accuracy"] = None
    (bare / "results.json").write_text(json.dumps(results))
    (bare / "samples.jsonl").unlink()
    whole = write_run(tmp_path / "whole", "whole", questions=5)
    assert "there is no samples.jsonl" in report(tmp_path, whole, bare)
    text = report(tmp_path, bare)
    page = Page(text)
    assert page.rows[1] == ["bare", "\u2013", "\u2013", "\u2013", "\u2013"]
    assert "there is no samples.jsonl" in text
    assert not page.articles and "<h2>Self-correction" not in text and "Training loss" not in text
    links = [attributes["href"].removeprefix("#") for attributes in page.named("a")]
    assert set(links) <= {attributes.get("id") for attributes in page.named("section")}


def test_samples_are_marked_and_carry_what_they_are_filtered_by(tmp_path):
    run = write_run(tmp_path / "run")
    page = Page(report(tmp_path, run))
    assert len(page.articles) == SAMPLES_PER_RUN
    repaired = [marks for attributes, marks in page.articles if attributes["data-outcome"] == "repaired"]
    assert repaired and all([kind for kind, _ in marks] == ["wrong", "reflection", "repair"] for marks in repaired)
    assert all(marks[1][1] == "Wait, let me go over that product once more." for marks in repaired)
    assert {attributes["data-correct"] for attributes, _ in page.articles} == {"true", "false"}
    assert len({attributes["data-benchmark"] for attributes, _ in page.articles}) == 3


def test_what_models_wrote_is_text_and_nothing_else(tmp_path):
    evil = '</script><script>document.title="taken"</script><img src="http://127.0.0.1/x" onerror=alert(1)>\u202eexe'
    extra = [
        hostile_sample(0, evil),
        hostile_sample(1, evil, question=evil, reference=evil, extracted=evil, error_type=evil, level=evil),
        hostile_sample(2, "x" * 100_000, authors_correct=True, correct=False, authors_extracted=evil, id=evil),
        hostile_sample(3, "\ud800 half", outcome=[1], reflection_span=["a", 2], completion_tokens="many"),
    ]
    run = write_run(tmp_path / "run", f"$\\frac{{ {evil}", extra=extra, model=evil, questions=30)
    results = json.loads((run / "results.json").read_text())
    results["benchmarks"][evil] = results["benchmarks"].pop("svamp")
    (run / "results.json").write_text(json.dumps(results))
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    named = [{**line, "benchmark": evil if line["benchmark"] == "svamp" else line["benchmark"]} for line in lines]
    (run / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in named))
    sign(run)
    text = report(tmp_path, run, run)
    page = Page(text)
    assert len(page.named("script")) == 1 and not page.named("img")
    assert "\u202e" not in text and "\\u202e" in text and "\\ud800 half" in text
    assert text.count("94,000 characters left out") == 2
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "nav",
        "a",
        "main",
        "ul",
        "li",
        "section",
    }
    allowed |= {"h2", "h3", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "figure", "figcaption"}
    allowed |= {"b", "label", "select", "option", "button", "article", "details", "summary", "mark", "script"}
    allowed |= {"svg", "g", "defs", "clippath", "path", "rect", "text", "use"}
    assert {tag for tag, _ in page.tags} <= allowed
    for tag, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "src", "srcdoc")], tag
        assert attributes.get("href", "#").startswith("#")
    text = (tmp_path / "report.md").read_text()
    assert not re.search(r"<\w", text) and "\u202e" not in text


def test_pictures_are_whole_and_do_not_share_ids(tmp_path):
    text = report(tmp_path, write_run(tmp_path / "run", "$a_b^$ 100% \u65e5\u672c"))
    pictures = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(pictures) == 5
    ids = [element.attrib["id"] for picture in pictures for element in picture.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))))
    assert {first or second for first, second in used} == set(ids)
    colours = {e.attrib.get(key) for picture in pictures for e in picture.iter() for key in ("fill", "stroke")}
    assert colours <= {None, "none"} | {c for c in colours if c and c.startswith("var(--")}
    defined = set(re.findall(r"(--[\w-]+):", text))
    assert {name for c in colours if c for name in re.findall(r"--[\w-]+", c)} <= defined
    assert any(text.startswith("$a_b^$") for picture in pictures for text in picture.itertext())


def test_the_same_runs_make_the_same_bytes(tmp_path):
    run = write_run(tmp_path / "run")
    assert report(tmp_path, run) == report(tmp_path, run)


def test_no_run_a_text_file_as_page_and_an_unwritable_place_are_refused(tmp_path):
    run = write_run(tmp_path / "run", questions=2)
    for runs, out in (([], "report.html"), ([run], "report.md"), ([run], "run/results.json/report.html")):
        with pytest.raises(InputError):
            write_report(runs, tmp_path / out)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["results.json", "run", "samples.jsonl"]


def test_answers_of_one_length_stay_in_one_bin():
    """Sorted by length and verdict, those that were cut off at the limit would be told apart by their verdict."""
    answers = [(10 + i, i % 2 == 0) for i in range(40)] + [(256, False)] * 50 + [(256, True)] * 10
    middles, shares = length_bins(answers, bins=8)
    assert middles == sorted(set(middles)) and middles[-1] == 256
    assert shares[-1] == pytest.approx(100 * 10 / 60)
