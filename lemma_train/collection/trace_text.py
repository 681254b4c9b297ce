"""Sections of a trace as text: plain for files and pipes, with frames and colours for a terminal.

Enters: sections. Leaves: one string. Text of models and data sets is shown, never interpreted: control characters,
with which it could steer a terminal, and rich's markup appear as they are written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lemma_train.visible_text import visible


@dataclass(frozen=True)
class Passage:
    """A text under a label. marked: `[start, end)` characters that are shown between `[[` and `]]`."""

    label: str
    text: str
    marked: Sequence[int] | None = None


@dataclass(frozen=True)
class Section:
    """A heading, single facts, and passages."""

    title: str
    facts: Sequence[str] = ()
    passages: Sequence[Passage] = field(default_factory=list)


def render(sections: Sequence[Section], terminal: bool) -> str:
    """All sections as one text, which ends in a line break.

    Example:
        >>> print(render([Section("Row 1", ["answer: 4"], [Passage("output", "2 + 2 = 5", (0, 9))])], False), end="")
        == Row 1 ==
        answer: 4
        output:
            [[2 + 2 = 5]]
    """
    return _framed(sections) if terminal else _plain(sections)


def _plain(sections: Sequence[Section]) -> str:
    blocks = []
    for section in sections:
        lines = [f"== {visible(section.title)} ==", *map(visible, section.facts)]
        for passage in section.passages:
            before, marked, after = _pieces(passage)
            text = before + (f"[[{marked}]]" if marked else "") + after
            lines.append(f"{visible(passage.label)}:" if text else visible(passage.label))
            lines += [f"    {line}".rstrip() for line in text.split("\n")] if text else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _framed(sections: Sequence[Section]) -> str:
    import io

    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, highlight=False, legacy_windows=False)
    for section in sections:
        parts: list[Text | Padding] = [Text(visible(fact)) for fact in section.facts]
        for passage in section.passages:
            before, marked, after = _pieces(passage)
            parts.append(Text(visible(passage.label), style="bold cyan"))
            if before or marked or after:
                wrong = Text(f"[[{marked}]]" if marked else "", style="bold red")
                parts.append(Padding(Text.assemble(before, wrong, after), (0, 0, 0, 2)))
        console.print(Panel(Group(*parts), title=Text(visible(section.title), style="bold"), title_align="left"))
    return stream.getvalue()


def _pieces(passage: Passage) -> tuple[str, str, str]:
    start, end = passage.marked or (0, 0)
    return visible(passage.text[:start]), visible(passage.text[start:end]), visible(passage.text[end:])
