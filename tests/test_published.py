"""Published figures: those of the table, for exactly the base models that it is about."""

import csv

from lemma_train.evaluation.published import published_for


def test_published_figures_are_chosen_by_the_base_model_as_a_whole_name():
    assert published_for(["meta-llama/Meta-Llama-3-8B"]).base == "LLaMA3-8B"
    assert published_for(["/somewhere/llama_3_8b/"]).base == "LLaMA3-8B"
    assert published_for(["outputs/final", "mistralai/Mistral-7B-v0.1"]).base == "Mistral-7B-v0.1"
    for other in ("Meta-Llama-3-8B-Instruct", "Llama-3.1-8B", "Mistral-7B-v0.3", "Qwen2-Math-7B-Instruct", ""):
        assert published_for([other]) is None


def test_what_was_published_of_the_70b_model_alone_is_there():
    published = published_for(["meta-llama/Meta-Llama-3-70B"])
    assert [(row.method, row.accuracies) for row in published.rows] == [("LEMMA", {"gsm8k": 91.5, "math": 51.8})]
    assert published.rows[0].table is None and not published.averaged and "README" in published.citation


def test_published_figures_are_those_of_the_table(shared_data):
    columns = {"gsm8k": "GSM8K", "math": "MATH", "asdiv": "ASDIV", "deepmind_math": "Mathematics", "mawps": "MAWPS"}
    columns |= {"svamp": "SVAMP", "college_math": "CollegeMath", "average": "Avg"}
    rows = list(csv.DictReader((shared_data.parent / "paper_results.csv").read_text().splitlines()))
    for base in {row["base"] for row in rows}:
        published = published_for([{"DeepSeekMath-7B": "deepseek-math-7b-base"}.get(base, base)])
        expected = [
            (row["method"], {name: float(row[column]) for name, column in columns.items() if row[column]})
            for row in rows
            if row["base"] == base
        ]
        assert [(row.method, row.accuracies) for row in published.rows] == expected
        assert published.citation == "arXiv 2503.17439"
