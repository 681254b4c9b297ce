"""Row by row: located rows become trajectories, and every row that is left out is counted with its reason.

Enters: `Located` rows. Leaves: accepted trajectories with the template taken off, and a `Tally`. It tokenises nothing;
over-long rows are found later, by `prepare`, and counted in the same tally.
"""

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass, field

from lemma_train.errors import InputError
from lemma_train.records import RowError, Trajectory, read_row
from lemma_train.template import Renderer
from lemma_train.training.sources import Located

DUPLICATE = "duplicate"  # left out, but nothing is wrong with the row


@dataclass
class Rejection:
    """A row that is left out: where it stands, the short reason, and what is wrong in words."""

    file: str
    line: int
    reason: str
    detail: str


@dataclass
class Tally:
    """What came in and what was left out. `rejections` keeps the first of each reason for the report and messages."""

    rows_in: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Rejection] = field(default_factory=dict)

    def reject(self, rejection: Rejection) -> Rejection:
        self.reasons[rejection.reason] += 1
        self.examples.setdefault(rejection.reason, rejection)
        return rejection

    @property
    def bad(self) -> int:
        return sum(count for reason, count in self.reasons.items() if reason != DUPLICATE)

    def counts(self) -> str:
        """What was left out, as in `3 empty_field, 1 overlong`."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        return left_out or "the files hold no row"

    def check_share(self, max_bad_share: float, key: str = "train_files") -> None:
        """Raise an InputError, which names the recipe's `key`, where more than the allowed share of the rows is bad."""
        if self.rows_in and self.bad / self.rows_in > max_bad_share:
            first = next(r for r in self.examples.values() if r.reason != DUPLICATE)
            raise InputError(
                f"{key}: {self.bad} of {self.rows_in} rows are bad ({self.counts()}), more than max_bad_share "
                f"{max_bad_share:g} allows; the first: {first.file}, line {first.line}: {first.detail}. Mend the rows, "
                "or raise max_bad_share to train without them."
            )


class Linter:
    """Accepts or rejects rows one after the other; remembers what it needs to find duplicates and mixed templates.

    Args:
        renderer: knows the template and the special tokens that text must not spell.
        wrapped_rows: `refuse` a set in which only some rows hold the template, or `unwrap` them.
        drop_duplicates: reject a row whose instruction and output have been seen.
        key: the recipe's key that names the files, for messages.
    """

    def __init__(self, renderer: Renderer, wrapped_rows: str, drop_duplicates: bool, key: str = "train_files"):
        self.renderer = renderer
        self.refuse_mixture = wrapped_rows == "refuse"
        self.drop_duplicates = drop_duplicates
        self.key = key
        self.tally = Tally()
        self._seen: set[bytes] = set()
        self._first_wrapped: Located | None = None
        self._first_bare: Located | None = None

    def accept(self, located: Located) -> Trajectory | Rejection:
        """The row as a trajectory without template, or its rejection (already counted).

        Raises:
            InputError: with `refuse`, when rows with and without the template come together.
        """
        self.tally.rows_in += 1
        if located.fault is not None:
            return self._reject(located, *located.fault)
        try:
            row = read_row(located.row)
            instruction, output, wrapped = self.renderer.unwrap(row.instruction, row.output)
        except RowError as error:
            return self._reject(located, error.reason, str(error))
        except ValueError as error:
            return self._reject(located, "unknown_template", str(error))
        self._watch_mixture(located, wrapped)
        row = _without_template(row, instruction, output)
        if not row.instruction or not row.output:
            return self._reject(located, "empty_field", "nothing is left once the template is taken off")
        for name, text in (("instruction", row.instruction), ("output", row.output)):
            if token := self.renderer.special_token_in(text):
                return self._reject(located, "special_token_text", f"the {name} spells the special token {token!r}")
        if self.drop_duplicates and self._is_duplicate(row):
            return self._reject(located, DUPLICATE, "an earlier row has the same instruction and output")
        return row

    def _reject(self, located: Located, reason: str, detail: str) -> Rejection:
        return self.tally.reject(Rejection(located.file, located.line, reason, detail))

    def _is_duplicate(self, row: Trajectory) -> bool:
        digest = hashlib.blake2b(f"{row.instruction}\0{row.output}".encode(), digest_size=12).digest()
        if digest in self._seen:
            return True
        self._seen.add(digest)
        return False

    def _watch_mixture(self, located: Located, wrapped: bool) -> None:
        if wrapped:
            self._first_wrapped = self._first_wrapped or located
        else:
            self._first_bare = self._first_bare or located
        one, other = self._first_wrapped, self._first_bare
        if self.refuse_mixture and one and other:
            raise InputError(
                f"{self.key}: some rows already hold the template ({one.file}, line {one.line}) and others do not "
                f"({other.file}, line {other.line}); if both are meant, set wrapped_rows: unwrap."
            )


def _without_template(row: Trajectory, instruction: str, output: str) -> Trajectory:
    lead = len(row.output) - len(output.lstrip())
    output = output.strip()
    if (instruction, output) == (row.instruction, row.output):
        return row
    span = row.error_span
    if span is not None:
        # Nothing of the wrong part is left where it lay in the template's own phrase.
        span = (max(0, span[0] - lead), span[1] - lead) if span[1] > lead else None
    return dataclasses.replace(row, instruction=instruction, output=output, error_span=span)
