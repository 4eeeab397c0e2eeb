import hashlib
import json
import os

import pytest

from abrazo.hub import verify

CONTENT = b"x" * 1_200_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(CONTENT)
    return file


def test_a_changed_file_is_hashed_again(weights):
    assert verify.has_sha256(weights, SHA256)
    weights.write_bytes(b"y" + CONTENT[1:])
    os.utime(weights, ns=(1, 1))
    assert not verify.has_sha256(weights, SHA256)


def test_a_record_holds_for_the_hash_it_was_made_for(weights):
    assert verify.has_sha256(weights, SHA256)
    assert not verify.has_sha256(weights, "0" * 64)


def test_a_failed_check_is_not_remembered(weights):
    assert not verify.has_sha256(weights, "0" * 64)
    assert not (verify.cache_folder() / "verified.json").exists()


@pytest.mark.parametrize("record", [b"", b"[]", b"\xff", b'{"a"', b"[" * 100_000])
def test_a_damaged_record_only_costs_a_hash(record, weights):
    verify.cache_folder().mkdir(parents=True)
    (verify.cache_folder() / "verified.json").write_bytes(record)
    assert verify.has_sha256(weights, SHA256)
    assert list(json.loads((verify.cache_folder() / "verified.json").read_text())) == [str(weights)]


def test_a_cache_that_cannot_be_written_is_no_error(weights, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert verify.has_sha256(weights, SHA256)


def test_records_of_files_that_are_gone_are_dropped(weights, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(CONTENT)
    assert verify.has_sha256(other, SHA256)
    other.unlink()
    assert verify.has_sha256(weights, SHA256)
    assert list(json.loads((verify.cache_folder() / "verified.json").read_text())) == [str(weights)]


def test_small_files_of_either_sha1_name_are_whole(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    content = b"hello"
    for header in (b"blob 5\0", b""):
        name = hashlib.sha1(header + content).hexdigest()
        (blobs / name).write_bytes(content)
        (snapshot / name).symlink_to(f"../blobs/{name}")
    (blobs / "W-other-etag").write_bytes(b"anything")
    (snapshot / "other").symlink_to("../blobs/W-other-etag")
    verify.check_snapshot(snapshot)


def test_a_blob_kept_in_a_shared_store_is_checked_by_its_own_name(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / ("f" * 64)).write_bytes(b"hello")  # the store's name is another kind of hash
    sha256 = hashlib.sha256(b"hello").hexdigest()
    (tmp_path / "blobs" / sha256).symlink_to(f"../{'f' * 64}")
    (tmp_path / "snapshot" / "weights").symlink_to(f"../blobs/{sha256}")
    verify.check_snapshot(tmp_path / "snapshot")
