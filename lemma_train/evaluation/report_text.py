"""The words of a report in Markdown: its tables and remarks, without pictures and samples.

Enters: tables and sentences. Leaves: text in which nothing from outside can open a tag, a link or a cell.
"""

import re
from collections.abc import Iterable, Sequence

from lemma_train.evaluation.report_cells import Cell, Table

_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")


def markdown(title: str, cautions: Sequence[str], tables: Iterable[Table], page: str) -> str:
    """The report as Markdown.

    Args:
        cautions: sentences, shown as a list before the tables.
        page: the file name of the HTML page, which holds the pictures and the samples.
    """
    sections = [f"# {escaped(title)}", f"Pictures and samples to read: `{page.replace('`', '')}`."]
    if cautions:
        sections.append("\n".join(f"- {escaped(caution)}" for caution in cautions))
    for table in tables:
        sections += [f"## {escaped(table.title)}", *([escaped(table.about)] if table.about else []), _table(table)]
    return "\n\n".join(sections) + "\n"


def escaped(text: str) -> str:
    """Text on one line, shown as it is written.

    Example:
        >>> escaped("a|b <i>")
        'a\\\\|b &lt;i>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")


def _table(table: Table) -> str:
    alignment = ["---", *["---:"] * (len(table.columns) - 1)]
    lines = [[_cell(cell) for cell in table.columns], alignment]
    lines += [[_cell(cell) for cell in row.cells] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(cell: Cell) -> str:
    remarks = "; ".join(filter(None, (cell.small, cell.change)))
    return escaped(f"{cell.text} ({remarks})" if remarks else cell.text)
