"""The journal keeps what it was given, through kills, torn lines and full disks."""

import asyncio
import os
import subprocess
import time

import pytest

from lemma_train.collection.journal import Journal
from lemma_train.errors import InputError


def put_all(file, entries):
    async def work():
        with Journal(file) as journal:
            await asyncio.gather(*(journal.put(key, {"text": text}) for key, text in entries))
            return [journal.get(key)["text"] for key, _ in entries]

    return asyncio.run(work())


def test_entries_come_back_at_once_and_after_opening_again(tmp_path):
    entries = [(f"k{i}", f"text {i} é\n\u2028") for i in range(500)]
    assert put_all(tmp_path / "j.jsonl", entries) == [text for _, text in entries]
    with Journal(tmp_path / "j.jsonl") as journal:
        assert len(journal) == 500 and "k3" in journal and journal.get("k3")["text"] == entries[3][1]
        assert journal.get("other") is None


def test_entries_are_counted_when_the_journal_is_opened(tmp_path):
    put_all(tmp_path / "j.jsonl", [("a", "1"), ("b", "2")])
    seen = []
    with Journal(tmp_path / "j.jsonl", seen=lambda entry: seen.append(entry["text"])):
        pass
    assert sorted(seen) == ["1", "2"]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_cut_off_and_the_rest_stays(tmp_path, cut):
    file = tmp_path / "j.jsonl"
    put_all(file, [("a", "1"), ("b", "2")])
    file.write_bytes(file.read_bytes()[:-cut])
    with Journal(file) as journal:
        assert len(journal) == 1
    assert file.read_bytes().endswith(b"\n")
    assert put_all(file, [("c", "3")]) == ["3"]
    with Journal(file) as journal:
        assert len(journal) == 2


def test_a_reader_leaves_a_torn_line_alone(tmp_path):
    file = tmp_path / "j.jsonl"
    put_all(file, [("a", "1"), ("b", "2")])
    torn = file.read_bytes()[:-3]
    file.write_bytes(torn)
    with Journal(file, writable=False) as journal:
        assert len(journal) == 1
    assert file.read_bytes() == torn


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    file = tmp_path / "j.jsonl"
    put_all(file, [("a", "1"), ("b", "2"), ("c", "3")])
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"\0\0\0\n" + lines[2])
    with pytest.raises(InputError, match=r"j\.jsonl, line 2 is damaged"):
        Journal(file)


def test_a_full_disk_is_said_and_leaves_no_half_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:

        async def work():
            with Journal(disk / "j.jsonl") as journal:
                await journal.put("small", {"text": "1"})
                with pytest.raises(InputError, match="make room and start the same command again"):
                    await journal.put("large", {"text": "x" * 200_000})
                await journal.put("next", {"text": "2"})
                return journal.get("next")["text"]

        assert asyncio.run(work()) == "2"
        with Journal(disk / "j.jsonl") as journal:
            assert len(journal) == 2 and "large" not in journal
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("text", ['{"key": []}', '{"key": "a"}', '{"key": "a", "task": 5}'])
def test_an_entry_that_lacks_something_is_named(tmp_path, text):
    path = tmp_path / "j.jsonl"
    path.write_text(text + '\n{"key": "b", "task": "t"}\n')

    def seen(entry):
        if not isinstance(entry["task"], str):
            raise TypeError

    with pytest.raises(InputError, match=r"j.jsonl, line 1 is damaged; delete that line"):
        Journal(path, seen=seen)


def test_a_journal_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "j.jsonl")
    with pytest.raises(InputError, match=r"j.jsonl is no file"):
        Journal(tmp_path / "j.jsonl")


def test_what_came_during_the_last_sync_before_the_end_is_kept_once(tmp_path, monkeypatch):
    """Ctrl-C cancels everything at once: the batch in the writer's hands and what gathers behind it."""
    sync = os.fdatasync

    def slow(handle):
        time.sleep(0.2)
        sync(handle)

    monkeypatch.setattr(os, "fdatasync", slow)

    async def interrupted():
        puts = [asyncio.create_task(journal.put("synced", {"text": "1"}))]
        await asyncio.sleep(0.05)
        puts += [asyncio.create_task(journal.put(f"behind {i}", {"text": "2"})) for i in range(3)]
        await asyncio.sleep(0.05)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        ends = await asyncio.gather(*puts, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    with Journal(tmp_path / "j.jsonl") as journal:
        asyncio.run(interrupted())
    seen = []
    with Journal(tmp_path / "j.jsonl", seen=lambda entry: seen.append(entry["key"])) as journal:
        assert journal.get("behind 2")["text"] == "2"
    assert seen == ["synced", "behind 0", "behind 1", "behind 2"]
