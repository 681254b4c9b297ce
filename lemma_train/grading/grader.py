"""Grade responses against references, with hard limits on what hostile or absurd answers can cost.

Enters: a response and its reference. Leaves: a `Grade`. Numbers and words are compared in the calling process; what
needs algebra goes to worker processes (`worker`), which are started when first needed. A pair that takes too long costs
its worker its life; the others go on.
"""

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Self

from lemma_train.grading.equivalence import MAX_CHARACTERS, compare
from lemma_train.grading.extraction import extract_answer, extract_reference
from lemma_train.grading.worker import WorkerProcess

GRADER_VERSION = "5"
"""To be raised by hand with every change that can change a verdict; stored grades of another version are stale."""

_BATCH = 32  # pairs a message; its size stays under the kernel's buffer of a pipe

# Reasons of a verdict for which algebra came to no end: "wrong" is then the safe word, and no finding.
UNDECIDED = ("timeout", "memory", "crash", "error")


@dataclass(frozen=True)
class Grade:
    """extracted: the answer found in the response. correct: None only where the reference cannot be read.

    reason: why a verdict is not the outcome of a comparison: `no_answer` (none was found), `too_long` (compared as text
    only), `timeout`, `memory`, `crash` or `error` (algebra came to no end; correct is False), `unreadable_reference`.
    """

    extracted: str | None
    correct: bool | None
    reason: str | None = None


@dataclass
class _Pair:
    answer: str
    reference: str
    future: "Future[Grade]" = field(default_factory=Future)
    retried: bool = False

    def finish(self, outcome: str) -> None:
        correct = {"true": True, "unreadable_reference": None}.get(outcome, False)
        self.future.set_result(Grade(self.answer, correct, None if outcome in ("true", "false") else outcome))


class Grader:
    """A context manager with worker processes; every method may be called from any thread.

    Args:
        workers: processes for algebra.
        timeout_seconds: of one pair in a worker.
        memory_gib: address space of one worker; it needs about 0.3 of it itself.

    Raises:
        RuntimeError: from the future, where no worker can be started; from `submit` after `close`.

    Example:
        >>> with Grader() as grader:
        ...     grader.grade("We get 3 * 6 = 18, so the answer is 18 dollars.", "18")
        Grade(extracted='18 dollars', correct=True, reason=None)
    """

    def __init__(self, workers: int = 2, timeout_seconds: float = 5.0, memory_gib: float = 1.0):
        assert workers >= 1 and timeout_seconds > 0 and memory_gib > 0
        self._workers = workers
        self._timeout_seconds = timeout_seconds
        self._memory_gib = memory_gib
        self._waiting: queue.SimpleQueue[_Pair | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, response: str, reference: str) -> "Future[Grade]":
        """Grade a response; see `extraction` for what counts as its answer and as the reference's.

        The future is done at once where no algebra is needed; `asyncio.wrap_future` makes it awaitable.
        """
        answer = extract_answer(response)
        if answer is None:
            unreadable = extract_reference(reference) is None
            return _done(Grade(None, None, "unreadable_reference") if unreadable else Grade(None, False, "no_answer"))
        return self.submit_answer(answer, reference)

    def submit_answer(self, answer: str, reference: str) -> "Future[Grade]":
        """As `submit`, of an answer that has been extracted."""
        wanted = extract_reference(reference)
        if wanted is None:
            return _done(Grade(answer, None, "unreadable_reference"))
        same = compare(answer, wanted)
        if same is None:
            return self._enqueue(_Pair(answer, wanted))
        too_long = not same and max(len(answer), len(wanted)) > MAX_CHARACTERS
        return _done(Grade(answer, same, "too_long" if too_long else None))

    def grade(self, response: str, reference: str) -> Grade:
        """As `submit`, and wait."""
        return self.submit(response, reference).result()

    def grade_answer(self, answer: str, reference: str) -> Grade:
        """As `submit_answer`, and wait."""
        return self.submit_answer(answer, reference).result()

    def close(self) -> None:
        """Cancel what no worker has been given, wait for the rest, and end the workers. May be called twice."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
        if threads:
            self._waiting.put(None)
        for thread in threads:
            thread.join()

    def _enqueue(self, pair: _Pair) -> "Future[Grade]":
        with self._lock:
            if self._closed:
                raise RuntimeError("The grader is closed.")
            self._waiting.put(pair)
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._serve, name=f"grader-{i}", daemon=True) for i in range(self._workers)
                ]
                for thread in self._threads:
                    thread.start()
        return pair.future

    def _serve(self) -> None:
        """One thread for one worker: feeds it, and kills it when it is over time and at the end."""
        with WorkerProcess(self._memory_gib) as worker:
            while batch := self._next_batch():
                batch = [pair for pair in batch if pair.future.set_running_or_notify_cancel()]
                while batch:
                    batch = self._work_off(worker, batch)

    def _next_batch(self) -> list[_Pair]:
        """At least one pair, and a fair share of what waits; empty when the grader is closed."""
        batch: list[_Pair] = []
        share = 1
        while len(batch) < share:
            try:
                pair = self._waiting.get(block=not batch)
            except queue.Empty:
                break
            if pair is None:
                self._waiting.put(None)  # for the other threads, and for this one's next turn
                break
            if self._closed:
                pair.future.cancel()
                continue
            batch.append(pair)
            share = min(_BATCH, 1 + self._waiting.qsize() // self._workers)
        return batch

    def _work_off(self, worker: WorkerProcess, batch: list[_Pair]) -> list[_Pair]:
        """Grade a batch until it is done or the worker is lost; return what is left."""
        try:
            worker.send([(pair.answer, pair.reference) for pair in batch])
        except RuntimeError as error:
            for pair in batch:
                pair.future.set_exception(error)
            return []
        for done, pair in enumerate(batch):
            aged = worker.answered > 0
            outcome = worker.outcome(self._timeout_seconds)
            if outcome not in ("timeout", "memory", "crash"):
                pair.finish(outcome)
                continue
            worker.kill()
            # What a worker has gathered over a long life may be to blame: such a pair gets a fresh one.
            if aged and not pair.retried and outcome != "timeout":
                pair.retried = True
                return batch[done:]
            pair.finish(outcome)
            return batch[done + 1 :]
        return []


def _done(grade: Grade) -> "Future[Grade]":
    future: Future[Grade] = Future()
    future.set_result(grade)
    return future
