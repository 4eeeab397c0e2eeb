import fcntl
import json
import os
import threading
from pathlib import Path

import pytest

from abrazo.checkpoints.atomic import (
    MANIFEST,
    Problem,
    atomic_file,
    atomic_folder,
    is_whole,
    newest_whole,
    prune,
    require_intact,
    verify,
)
from abrazo.checkpoints.temporary import settle, temporary_beside
from abrazo.errors import CheckpointError


def save(path: Path, **files: str) -> Path:
    with atomic_folder(path) as folder:
        for name, text in (files or {"model": path.name}).items():
            (folder / name).write_text(text)
    return path


def test_a_saved_folder_is_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = save(tmp_path / "runs" / "checkpoint-1", model="abc")
    assert sorted(os.listdir(folder)) == [MANIFEST, "model"]
    assert os.listdir(folder.parent) == ["checkpoint-1"]
    assert is_whole(folder)
    assert json.loads((folder / MANIFEST).read_text())["files"]["model"] == {
        "size": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_the_destination_is_absent_until_the_end_of_the_block(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "checkpoint-1") as folder:
        (folder / "model").write_text("half")
        assert not (tmp_path / "checkpoint-1").exists()
        assert newest_whole(tmp_path) == (None, [])
    assert newest_whole(tmp_path).path == tmp_path / "checkpoint-1"


def test_problems_are_named_file_by_file(tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoint-1", a="one", b="two", c="three", d="four", e="five")
    (folder / "a").write_text("ONE")
    (folder / "b").write_text("longer")
    (folder / "c").unlink()
    (folder / "d").unlink()
    os.mkfifo(folder / "d")
    (folder / "notes").write_text("not listed, so not looked at")
    problems = {problem.file: problem.reason for problem in verify(folder)}
    assert problems.keys() == {"a", "b", "c", "d"}
    assert "another content" in problems["a"]
    assert "6 bytes instead of 3" in problems["b"]
    assert "does not exist" in problems["c"]
    assert "not a regular file" in problems["d"]
    assert {problem.file for problem in verify(folder, quick=True)} == {"b", "c", "d"}
    assert {problem.file for problem in verify(folder, names=["a", "e", "notes"])} == {"a"}
    with pytest.raises(CheckpointError, match=r"`a` has another content(.|\n)*delete its"):
        require_intact(folder)


def test_a_folder_from_elsewhere_has_no_manifest_and_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("x")
    require_intact(tmp_path)
    assert [problem.file for problem in verify(tmp_path)] == [MANIFEST]
    assert str(Problem("a", "is gone")) == "`a` is gone"


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\\b", ""])
def test_a_manifest_that_names_files_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoint-1", model="abc")
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"model"', json.dumps(name)))
    assert [problem.file for problem in verify(folder)] == [MANIFEST]


def test_replacing_keeps_what_the_manifest_does_not_list(tmp_path: Path) -> None:
    folder = save(tmp_path / "best", model="old", extra="old")
    (folder / "notes.txt").write_text("mine")
    save(folder, model="new")
    assert (folder / "model").read_text() == "new"
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "extra").exists()
    assert is_whole(folder)
    assert os.listdir(tmp_path) == ["best"]


def test_someone_elses_folder_or_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("home", "file"):
        with pytest.raises(CheckpointError, match=name):
            save(tmp_path / name)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def test_an_empty_or_a_damaged_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    save(tmp_path / "checkpoint-1")
    (tmp_path / "checkpoint-1" / MANIFEST).write_text("{")
    assert is_whole(save(tmp_path / "checkpoint-1"))


def test_saving_through_a_link_to_a_folder_replaces_its_target(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-1", model="old")
    (tmp_path / "best").symlink_to("checkpoint-1")
    save(tmp_path / "best", model="new")
    assert (tmp_path / "checkpoint-1" / "model").read_text() == "new"
    assert (tmp_path / "best").is_symlink()


def test_a_link_or_fifo_is_not_saved(tmp_path: Path) -> None:
    for make in (lambda path: path.symlink_to("/etc/passwd"), os.mkfifo):
        with (
            pytest.raises(CheckpointError, match="no regular file"),
            atomic_folder(tmp_path / "checkpoint-1") as folder,
        ):
            make(folder / "strange")
    assert os.listdir(tmp_path) == []


def test_an_atomic_file_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "config.json").symlink_to("precious")
    with atomic_file(tmp_path / "config.json") as file:
        file.write_text("{}")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "config.json").read_text() == "{}"
    assert not (tmp_path / "config.json").is_symlink()


def test_only_the_leftovers_of_dead_runs_are_removed(tmp_path: Path) -> None:
    dead = tmp_path / ".checkpoint-1.0123abcd.abrazo-partial"
    living = tmp_path / ".checkpoint-2.0123abcd.abrazo-partial"
    foreign = tmp_path / ".checkpoint-3.partial"
    for folder in (dead, living, foreign):
        folder.mkdir()
        (folder / "model").write_text("half")
    lock = os.open(living, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    save(tmp_path / "checkpoint-4")
    os.close(lock)
    assert sorted(os.listdir(tmp_path)) == sorted([living.name, foreign.name, "checkpoint-4"])
    save(tmp_path / "checkpoint-5")
    assert not living.exists()


def test_what_a_dead_run_had_moved_aside_is_put_back_by_the_next_reader(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-1", model="old")
    (tmp_path / "checkpoint-1").rename(tmp_path / ".checkpoint-1.0123abcd.abrazo-replaced")
    newest = newest_whole(tmp_path).path
    assert newest is not None
    assert (newest / "model").read_text() == "old"
    assert os.listdir(tmp_path) == ["checkpoint-1"]


def test_a_temporary_is_not_seen_before_its_writer_has_locked_it(tmp_path: Path) -> None:
    other = threading.Thread(target=settle, args=[tmp_path])

    def create(path: Path) -> None:
        path.mkdir()
        other.start()
        other.join(timeout=0.2)

    with temporary_beside(tmp_path / "checkpoint-1", create) as temporary:
        other.join()
        assert temporary.exists()


def test_all_is_synced_before_the_rename_and_the_parent_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, rename = os.fsync, os.rename

    def seen_sync(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        seen.append("folder" if name.endswith(".abrazo-partial") else name)
        sync(descriptor)

    def seen_rename(source: Path, target: Path) -> None:
        seen.append("RENAME")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(os, "rename", seen_rename)
    with atomic_folder(tmp_path / "checkpoint-1") as folder:
        (folder / "state").mkdir()
        (folder / "state" / "a").write_text("a")
        (folder / "b").write_text("b")
    assert sorted(seen[:2]) == ["a", "b"]
    assert seen[2:] == [MANIFEST, "state", "folder", "RENAME", tmp_path.name]


def test_threads_that_save_side_by_side_do_not_remove_each_others_work(tmp_path: Path) -> None:
    def work(worker: int) -> None:
        for step in range(10):
            save(tmp_path / f"checkpoint-{worker * 100 + step}", model="x" * 1000)

    threads = [threading.Thread(target=work, args=[worker]) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(os.listdir(tmp_path)) == 40
    assert all(is_whole(path) for path in tmp_path.iterdir())


def test_the_newest_whole_one_goes_by_number_and_skips_what_is_damaged(tmp_path: Path) -> None:
    for step in (2, 9, 10, 100):
        save(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-100" / "model").write_text("x")
    (tmp_path / "checkpoint-200").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-300").write_text("a file")
    newest, skipped = newest_whole(tmp_path)
    assert newest == tmp_path / "checkpoint-10"
    assert [path.name for path, _ in skipped] == ["checkpoint-200", "checkpoint-100"]
    assert "`MANIFEST.json` is missing" in skipped[0][1]
    assert "`model` has 1 bytes" in skipped[1][1]
    assert newest_whole(tmp_path / "absent") == (None, [])


def test_pruning_deletes_the_oldest_but_the_protected(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"checkpoint-{step}") for step in (2, 9, 10, 11, 100)]
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "model").write_text("of another program")
    deleted = prune(tmp_path, 2, protect=[f"{tmp_path}/checkpoint-9"])
    assert deleted == [paths[0], paths[2]]
    left = ["checkpoint-1", "checkpoint-100", "checkpoint-11", "checkpoint-9"]
    assert sorted(os.listdir(tmp_path)) == left
    with pytest.raises(ValueError, match="at least 1"):
        prune(tmp_path, 0)


def test_nothing_is_pruned_while_the_newest_is_damaged(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path / f"checkpoint-{step}", model="abc")
    (tmp_path / "checkpoint-3" / "model").write_text("xyz")
    with pytest.warns(UserWarning, match="checkpoint-3.*not whole"):
        assert prune(tmp_path, 1) == []
    assert len(os.listdir(tmp_path)) == 3
