"""The grader and its worker processes."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lemma_train.grading.grader import Grade, Grader

ROOT_PAIR = (r"\sqrt{12}", r"2\sqrt{3}")


def children() -> set[int]:
    """Processes that this one started and has not waited for, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended since it was listed
            found.update(map(int, (task / "children").read_text().split()))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_numbers_and_words_are_graded_without_a_worker():
    before = children()
    with Grader() as grader:
        assert grader.grade("The answer is 18 dollars.", "#### 18") == Grade("18 dollars", True)
        assert grader.grade("The answer is 17.", "18") == Grade("17", False)
        assert grader.grade("I give up.", "18") == Grade(None, False, "no_answer")
        assert grader.grade("I give up.", " ") == Grade(None, None, "unreadable_reference")
        assert grader.grade("The answer is 17.", "") == Grade("17", None, "unreadable_reference")
        assert children() == before


def test_formulas_are_graded_by_workers_that_leave_with_the_grader():
    before = children()
    with Grader(workers=2) as grader:
        assert grader.grade(r"So it is $\boxed{\sqrt{12}}$.", r"Thus \boxed{2\sqrt{3}}.") == Grade(r"\sqrt{12}", True)
        assert grader.grade_answer(r"\sqrt{13}", r"2\sqrt{3}") == Grade(r"\sqrt{13}", False)
        assert grader.grade_answer("x", r"\frac{1}{") == Grade("x", None, "unreadable_reference")
        assert children() > before
    assert children() == before


def test_an_answer_over_2000_characters_says_so():
    with Grader() as grader:
        long = "1+" * 1_500 + "1"
        assert grader.grade_answer(long, "1501") == Grade(long, False, "too_long")
        assert grader.grade_answer(long, long) == Grade(long, True)


def test_many_threads_may_submit_at_once():
    verdicts: dict[int, list[bool | None]] = {}

    def submit(start: int) -> None:
        pairs = [(rf"\sqrt{{{4 * k}}}", rf"{2 + k % 2}\sqrt{{{k}}}") for k in range(start, start + 20)]
        futures = [grader.submit_answer(*pair) for pair in pairs]
        verdicts[start] = [future.result().correct for future in futures]

    with Grader(workers=2) as grader:
        threads = [threading.Thread(target=submit, args=(start,)) for start in (2, 22, 42, 62)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert verdicts == {start: [True, False] * 10 for start in (2, 22, 42, 62)}


def test_a_future_can_be_awaited():
    async def grade() -> list[Grade]:
        return await asyncio.gather(
            *(asyncio.wrap_future(grader.submit_answer(*pair)) for pair in (ROOT_PAIR, ("5", "6")))
        )

    with Grader(workers=1) as grader:
        assert [grade.correct for grade in asyncio.run(grade())] == [True, False]


def test_an_answer_over_time_costs_its_worker_only_and_the_rest_of_the_batch_is_graded():
    before = children()
    with Grader(workers=1, timeout_seconds=1.0) as grader:
        assert grader.grade_answer(*ROOT_PAIR).correct is True
        (first,) = children() - before
        answers = [r"\sqrt{12}", "9^{9^{9^9}}", r"\sqrt{12}", r"\sqrt{13}"]
        grades = [future.result() for future in [grader.submit_answer(answer, r"2\sqrt{3}") for answer in answers]]
        assert [grade.correct for grade in grades] == [True, False, True, False]
        assert [grade.reason for grade in grades] == [None, "timeout", None, None]
        (second,) = children() - before
        assert first != second and not is_alive(first)


def test_a_worker_that_is_killed_from_outside_is_replaced_and_its_pair_tried_again():
    before = children()
    with Grader(workers=1, timeout_seconds=30) as grader:
        assert grader.grade_answer(*ROOT_PAIR).correct is True
        (worker,) = children() - before
        os.kill(worker, signal.SIGKILL)
        assert grader.grade_answer(r"\sqrt{20}", r"2\sqrt{5}") == Grade(r"\sqrt{20}", True)


@pytest.mark.slow
def test_an_answer_that_needs_too_much_memory_ends_and_the_next_is_graded():
    with Grader(workers=1, timeout_seconds=60, memory_gib=0.5) as grader:
        grade = grader.grade_answer("2^{10^{11}}", "7x")
        assert grade.correct is False and grade.reason in (None, "memory", "crash", "error")
        assert grader.grade_answer(*ROOT_PAIR).correct is True


def test_where_no_worker_can_be_started_the_pair_fails_instead_of_waiting_for_ever(monkeypatch):
    before = children()
    with Grader(workers=1) as grader:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(RuntimeError, match=r"could not be started: .*No such file"):
            grader.submit_answer(*ROOT_PAIR).result(timeout=20)
        monkeypatch.undo()
        assert grader.submit_answer(*ROOT_PAIR).result(timeout=90).correct is True
    assert children() == before


def test_interrupts_do_not_reach_the_workers():
    before = children()
    with Grader(workers=1) as grader:
        grader.grade_answer(*ROOT_PAIR)
        (worker,) = children() - before
        assert os.getpgid(worker) != os.getpgid(0)
        os.kill(worker, signal.SIGINT)
        assert grader.grade_answer(r"\sqrt{20}", r"2\sqrt{5}").correct is True
        assert children() - before == {worker}


def test_workers_hold_no_secrets_and_write_no_files(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-workers")
    before = children()
    with Grader(workers=1) as grader:
        grader.grade_answer(*ROOT_PAIR)
        (worker,) = children() - before
        assert b"not-for-workers" not in Path(f"/proc/{worker}/environ").read_bytes()
        limits = Path(f"/proc/{worker}/limits").read_text()
        assert limits.split("Max file size")[1].split()[:2] == ["0", "0"]
        assert limits.split("Max address space")[1].split()[0] == str(2**30)


def test_a_worker_at_work_dies_with_its_owner():
    program = (
        "import time, pathlib; from lemma_train.grading.grader import Grader; grader = Grader(1, timeout_seconds=99);"
        "grader.grade_answer('x+1', '1+x'); grader.submit_answer('9^{9^{9^9}}', '7x'); time.sleep(0.5);"
        "tasks = pathlib.Path('/proc/self/task').iterdir();"
        "print(*[(task / 'children').read_text() for task in tasks], flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        (worker,) = map(int, owner.stdout.readline().split())
        assert is_alive(worker)
        owner.kill()
        owner.wait()
        deadline = time.monotonic() + 5
        while is_alive(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        if outlived := is_alive(worker):
            os.kill(worker, signal.SIGKILL)
        assert not outlived


def test_closing_twice_is_fine_and_afterwards_only_algebra_is_refused():
    grader = Grader()
    assert grader.grade_answer(*ROOT_PAIR).correct is True
    grader.close()
    grader.close()
    assert grader.grade_answer("5", "5.0").correct is True
    with pytest.raises(RuntimeError, match="closed"):
        grader.submit_answer(*ROOT_PAIR)


def test_closing_cancels_what_has_not_begun():
    with Grader(workers=1, timeout_seconds=1.0) as grader:
        first = grader.submit_answer("9^{9^{9^9}}", "7x")
        time.sleep(0.2)  # until the worker's thread has taken it
        later = [grader.submit_answer("9^{9^{9^9}}", f"{k}x") for k in range(50)]
    assert first.result().reason == "timeout"
    assert all(future.cancelled() for future in later)


def test_modules_in_the_folder_of_the_user_are_not_loaded(tmp_path, monkeypatch):
    (tmp_path / "sympy.py").write_text("raise SystemExit")
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    with Grader(workers=1) as grader:
        assert grader.grade_answer(*ROOT_PAIR).correct is True
