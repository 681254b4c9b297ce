"""Files, folders and Hub names become located rows; what cannot be decoded is named by file and line."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lemma_train.errors import InputError
from lemma_train.training.sources import Source, count_rows, fingerprint_of, iterate, read_sources

ROWS = [{"question": f"Q{i} €", "answer": f"A{i}"} for i in range(3)]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def write_parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)


WRITERS = {
    "a.jsonl": lambda path: path.write_text(JSONL, encoding="utf-8"),
    "bom.jsonl": lambda path: path.write_text(JSONL, encoding="utf-8-sig"),
    "crlf.jsonl": lambda path: path.write_bytes(JSONL.encode().replace(b"\n", b"\r\n").rstrip()),
    "a.json": lambda path: path.write_text(json.dumps(ROWS)),
    "bom.json": lambda path: path.write_text(json.dumps(ROWS), encoding="utf-8-sig"),
    "named.json": lambda path: path.write_text(json.dumps({"version": 1, "data": ROWS})),
    "a.parquet": write_parquet,
}
CSV = "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in ROWS)
CSV_WRITERS = {
    "a.csv": lambda path: path.write_text(CSV, encoding="utf-8"),
    "bom.csv": lambda path: path.write_text(CSV, encoding="utf-8-sig"),
    "crlf.csv": lambda path: path.write_bytes(CSV.encode().replace(b"\n", b"\r\n").rstrip()),
    "semicolons.csv": lambda path: path.write_text(CSV.replace(",", ";"), encoding="utf-8"),
    "tabs.csv": lambda path: path.write_text(CSV.replace(",", "\t"), encoding="utf-8"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_form_gives_the_same_located_rows(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    located = list(iterate(Source(str(path))))
    assert [row.row for row in located] == ROWS
    assert [(row.file, row.line, row.fault) for row in located] == [(str(path), i, None) for i in (1, 2, 3)]


@pytest.mark.parametrize("name", CSV_WRITERS)
def test_a_table_gives_the_same_rows_below_its_line_of_names(tmp_path, name):
    path = tmp_path / name
    CSV_WRITERS[name](path)
    located = list(iterate(Source(str(path))))
    assert [row.row for row in located] == ROWS
    assert [(row.file, row.line, row.fault) for row in located] == [(str(path), i, None) for i in (2, 3, 4)]
    assert count_rows(Source(str(path))) == 3


@pytest.mark.parametrize(
    "text",
    [
        '{"id": 12345678901234567890123, "answer": -98765432109876543210}',
        '{"id": 18446744073709551616, "x": 9223372036854775807}',
        '{"a": NaN, "b": -Infinity, "c": 1e400, "d": -0.0, "e": 0.1, "f": 1E3, "g": 1e-7, "a": 2}',
        r'{"question": "half \ud83d of one", "answer": "\ud83d\ude00\u0000"}',
        '{"a": ' + "[" * 300 + "]" * 300 + "}",
    ],
    ids=lambda text: text[:20],
)
def test_a_line_is_read_as_the_standard_library_reads_it(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text + "\n")
    (located,) = iterate(Source(str(path)))
    assert repr(located.row) == repr(json.loads(text)) and located.fault is None


def test_a_quoted_cell_may_hold_commas_and_lines_and_an_empty_one_is_no_field(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('question,answer,solution\n"What is\n2, doubled?",4,"2 * 2 = ""4"""\n\nAnd 3?,6, \n')
    first, second = iterate(Source(str(path)))
    assert (first.line, first.row) == (
        2,
        {"question": "What is\n2, doubled?", "answer": "4", "solution": '2 * 2 = "4"'},
    )
    assert (second.line, second.row) == (5, {"question": "And 3?", "answer": "6"})


def test_a_line_of_other_length_is_a_fault_and_does_not_stop_the_rest(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,answer\nOne, two?,3\nalone\nFour?,4\n")
    located = list(iterate(Source(str(path))))
    assert [(row.line, row.fault and row.fault[0]) for row in located] == [
        (2, "invalid_csv"),
        (3, "invalid_csv"),
        (4, None),
    ]
    assert located[0].fault[1] == "3 cells where 2 columns are named; a cell that holds a comma needs quotes"


def test_columns_with_other_names_get_the_names_that_the_recipe_gives(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Nr,Task,Result,Way\n7,How much is 1 + 1?,2,\n8,And 2 + 2?,,Four.\n")
    entry = {"path": str(path), "columns": {"question": "Task", "answer": "Result", "solution": "Way"}}
    (source,) = read_sources([entry])
    assert [row.row for row in iterate(source)] == [
        {"Nr": "7", "question": "How much is 1 + 1?", "answer": "2"},
        {"Nr": "8", "question": "And 2 + 2?", "solution": "Four."},
    ]
    assert fingerprint_of(source) != fingerprint_of(Source(str(path)))
    (wrong,) = read_sources([{**entry, "columns": {"question": "Aufgabe"}}])
    with pytest.raises(InputError, match="columns names 'Aufgabe', which is not there; it has Nr, Task, Result, Way"):
        list(iterate(wrong))


def test_a_later_row_may_lack_a_renamed_field(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"Task": "1 + 1?", "Way": "Two."}\n{"Task": "2 + 2?"}\n')
    (source,) = read_sources([{"path": str(path), "columns": {"question": "Task", "solution": "Way"}}])
    assert [row.row for row in iterate(source)] == [{"question": "1 + 1?", "solution": "Two."}, {"question": "2 + 2?"}]


def test_folder_is_read_in_name_order_with_its_subfolders(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.jsonl", "a.json", "sub/c.parquet"):
        WRITERS["a." + name.partition(".")[2]](tmp_path / name)
    (tmp_path / "README.md").write_text("not rows")
    files = [row.file for row in iterate(Source(str(tmp_path)))]
    assert files == [str(tmp_path / name) for name in ("a.json", "b.jsonl", "sub/c.parquet") for _ in range(3)]


def test_limit_counts_rows_of_the_whole_source(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        WRITERS["a.jsonl"](tmp_path / name)
    assert len(list(iterate(Source(str(tmp_path), limit=4)))) == 4


def test_undecodable_lines_are_faults_with_file_and_line_and_do_not_stop_the_rest(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        b'{"question": "1"}',
        b"",
        b'{"question": ',
        b'{"q": "\xff"}',
        b"[" * 5000,
        b"1" * 9999,
        b'{"question": "2"}',
    ]
    path.write_bytes(b"\n".join(lines))
    located = list(iterate(Source(str(path))))
    assert [(row.line, row.fault and row.fault[0]) for row in located] == [
        (1, None),
        (3, "invalid_json"),
        (4, "invalid_utf8"),
        (5, "invalid_json"),
        (6, "invalid_json"),
        (7, None),
    ]
    assert {row.file for row in located} == {str(path)}


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_empty_jsonl_holds_no_row(tmp_path, content):
    (tmp_path / "a.jsonl").write_bytes(content)
    assert list(iterate(Source(str(tmp_path / "a.jsonl")))) == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", b"", "must be a JSON list"),
        ("a.json", b'{"a": 1}', "holds no list of rows"),
        ("a.json", JSONL.encode(), r"One row a line goes in \.jsonl"),
        ("a.json", b'["\xff"]', "is not UTF-8"),
        ("a.parquet", b"PAR1 no", "is not a readable Parquet file"),
        ("a.txt", b"a,b", "must end in"),
        ("a.csv", b"", "the first line must name the columns"),
        ("a.csv", b"a,a\n1,2\n", "the first line must name the columns, each once"),
        ("a.csv", b'a,b\n1,"2\n', "line 2: unexpected end of data; mend the quotes"),
        ("a.csv", "a,b\n1,\u00e9\n".encode("latin-1"), "line 2 is not UTF-8; save the table as 'CSV UTF-8'"),
    ],
)
def test_unreadable_file_is_the_users_fault(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=expected) as caught:
        list(iterate(Source(str(tmp_path / name))))
    assert str(tmp_path / name) in str(caught.value)


def test_truncated_parquet_is_the_users_fault(tmp_path):
    write_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        list(iterate(Source(str(tmp_path / "a.parquet"))))


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no"):
        list(iterate(Source(str(tmp_path))))


def test_file_that_cannot_be_read_is_the_users_fault(tmp_path):
    (tmp_path / "a.jsonl").symlink_to("/proc/self/mem")  # opens, then fails like a broken disk, for root as well
    for read in (fingerprint_of, lambda source: list(iterate(source))):
        with pytest.raises(InputError, match="cannot be read"):
            read(Source(str(tmp_path / "a.jsonl")))


@pytest.mark.parametrize("name", ["panzs19/LEMMA", "no-such-set"])
def test_hub_name_while_offline_is_the_users_fault(name):
    (source,) = read_sources(name)
    for read in (fingerprint_of, lambda source: list(iterate(source))):
        with pytest.raises(InputError, match="Offline, download it first") as caught:
            read(source)
        assert repr(name) in str(caught.value)


def test_entries_are_paths_or_mappings(tmp_path):
    WRITERS["a.jsonl"](tmp_path / "a.jsonl")
    path = str(tmp_path / "a.jsonl")
    assert read_sources(path) == read_sources([path]) == [Source(path)]
    assert read_sources([{"path": path, "weight": 2, "limit": 5}]) == [Source(path, weight=2, limit=5)]
    assert read_sources([]) == read_sources("") == []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"path": "a/b", "wieght": 2}, "got {'path': 'a/b', 'wieght': 2}"),
        ({"weight": 2}, "an entry is a path or a mapping"),
        ({"path": 5}, "an entry is a path or a mapping"),
        ({"path": "a/b", "weight": 0}, "weight must be a number above 0"),
        ({"path": "a/b", "weight": -1}, "weight must be a number above 0"),
        ({"path": "a/b", "weight": "2"}, "weight must be a number above 0"),
        ({"path": "a/b", "weight": float("nan")}, "weight must be a number above 0"),
        ({"path": "a/b", "weight": float("inf")}, "weight must be a number above 0"),
        ({"path": "a/b", "limit": 0}, "limit must be a whole number"),
        ({"path": "a/b", "limit": 1.5}, "limit must be a whole number"),
        ({"path": "a/b", "split": 5}, "split must be text"),
        ({"path": "a/b", "columns": "Task"}, "columns must map fields to column names"),
        ({"path": "a/b", "columns": {"question": 2}}, "columns must map fields to column names"),
        ("nowhere.jsonl", "nowhere.jsonl does not exist"),
        ("./nowhere", "./nowhere does not exist"),
        ("/no/where", "/no/where does not exist"),
    ],
)
def test_bad_entry_is_refused_and_named(entry, expected):
    with pytest.raises(InputError) as caught:
        read_sources([entry], "eval_files")
    assert expected in str(caught.value) and str(caught.value).startswith("eval_files: ")


def test_fingerprint_follows_bytes_names_and_settings(tmp_path):
    path = tmp_path / "a.jsonl"
    WRITERS["a.jsonl"](path)
    source = Source(str(path))
    first = fingerprint_of(source)
    assert fingerprint_of(source) == first
    assert fingerprint_of(Source(str(path), limit=2)) != first
    assert fingerprint_of(Source(str(path), weight=2)) != first
    path.write_text(JSONL.replace("A1", "A9"), encoding="utf-8")
    assert fingerprint_of(source) != first
    WRITERS["a.jsonl"](path)
    assert fingerprint_of(source) == first
    path.rename(tmp_path / "b.jsonl")  # rows without an id are named after their file
    assert fingerprint_of(Source(str(tmp_path / "b.jsonl"))) != first
