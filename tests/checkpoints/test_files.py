import os
from pathlib import Path

import pytest

from abrazo.checkpoints.files import name_problem, open_regular
from abrazo.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("secret")
    place = tmp_path / "model"
    place.mkdir()
    (place / "inside").write_text("hello")
    return place


def test_a_regular_file_is_read(folder: Path) -> None:
    with open_regular(folder / "inside") as file:
        assert file.read() == b"hello"


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "link").symlink_to("inside")
    with open_regular(folder / "link") as file:
        assert file.read() == b"hello"


def test_a_folder_that_is_itself_a_link_is_as_good_as_any(folder: Path) -> None:
    best = folder.parent / "best"
    best.symlink_to(folder.name)
    with open_regular(best / "inside") as file:
        assert file.read() == b"hello"


@pytest.mark.parametrize("target", ["../outside", "absolute", "/etc/passwd", "absent", "link"])
def test_other_links_are_refused(folder: Path, target: str) -> None:
    target = str(folder.parent / "outside") if target == "absolute" else target
    (folder / "link").symlink_to(target)
    with pytest.raises(CheckpointError, match="link"):
        open_regular(folder / "link")


def test_a_folder_between_that_leads_out_is_refused(folder: Path) -> None:
    (folder / "sub").symlink_to("..")
    with pytest.raises(CheckpointError, match="leads out"):
        open_regular(folder / "sub" / "outside", root=folder)


@pytest.mark.parametrize("store", ["hub/models--a--b/blobs", "hub/blobs"])
def test_a_snapshot_of_the_hub_cache_may_link_to_its_store(tmp_path: Path, store: str) -> None:
    snapshot = tmp_path / "hub/models--a--b/snapshots/123"
    snapshot.mkdir(parents=True)
    (tmp_path / store).mkdir()
    (tmp_path / store / "abc").write_text("{}")
    (snapshot / "config.json").symlink_to(tmp_path / store / "abc")
    with open_regular(snapshot / "config.json") as file:
        assert file.read() == b"{}"
    (tmp_path / "hub/elsewhere").write_text("{}")
    (snapshot / "other.json").symlink_to(tmp_path / "hub/elsewhere")
    with pytest.raises(CheckpointError, match="leads out"):
        open_regular(snapshot / "other.json")


def test_what_is_no_regular_file_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    for path in (folder / "fifo", folder, Path("/dev/zero"), folder / "absent", "a\0b"):
        with pytest.raises(CheckpointError):
            open_regular(path)


@pytest.mark.parametrize(
    "name", ["", "/a", "../a", "a/..", "a/b", ".", "..", "a\\b", "a\0", "C:a", "a//b", "./a"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    assert name_problem(name)


def test_plain_names_pass_and_folders_where_they_are_asked_for() -> None:
    assert not name_problem("model-00001-of-00002.safetensors")
    assert not name_problem("..a")
    assert not name_problem("a/b", folders=True)
    assert name_problem("a/../b", folders=True)
