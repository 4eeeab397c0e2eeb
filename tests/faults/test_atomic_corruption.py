"""Whatever happens to a saved folder's bytes, it is noticed before use."""

import random
from pathlib import Path

import pytest

from abrazo.checkpoints.atomic import MANIFEST, atomic_folder, newest_whole, verify

FILES = {"model.safetensors": 5000, "optimizer.safetensors": 9000, "trainer.json": 40, "rng/0": 16}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for step in (1, 2):
        with atomic_folder(tmp_path / f"checkpoint-{step}") as folder:
            (folder / "rng").mkdir()
            for name, size in FILES.items():
                (folder / name).write_bytes(random.Random(name).randbytes(size))
    return tmp_path / "checkpoint-2"


def damage(folder: Path, chance: random.Random) -> str:
    """Do one random harm to a folder and say which."""
    name = chance.choice([*FILES, MANIFEST])
    path = folder / name
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    kind = chance.choice(["flip", "truncate", "swap", "remove", "zero", "insert", "append", "cut"])
    if kind == "flip":
        data[at] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        del data[at:]
    elif kind == "zero":
        data[at : at + 8] = bytes(len(data[at : at + 8])) if any(data[at : at + 8]) else b"\1" * 8
    elif kind == "insert":
        data.insert(at, chance.randrange(256))
    elif kind == "append":
        data += chance.randbytes(1 + at % 5)
    elif kind == "cut":
        del data[at]
    path.write_bytes(data)
    if kind == "remove":
        path.unlink()
    elif kind == "swap":
        other = folder / chance.choice([other for other in [*FILES, MANIFEST] if other != name])
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
    return f"{kind} {name} at {at}"


def notice_all(checkpoint: Path, count: int) -> None:
    before = {name: (checkpoint / name).read_bytes() for name in [*FILES, MANIFEST]}
    for seed in range(count):
        done = damage(checkpoint, random.Random(seed))
        assert verify(checkpoint), f"seed {seed}: {done} was not noticed"
        if seed % 20 == 0:
            older, skipped = newest_whole(checkpoint.parent)
            assert older == checkpoint.parent / "checkpoint-1"
            assert [path for path, _ in skipped] == [checkpoint]
        for name, data in before.items():
            (checkpoint / name).write_bytes(data)
    assert not verify(checkpoint)


def test_random_damage_is_noticed(checkpoint: Path) -> None:
    notice_all(checkpoint, 200)


@pytest.mark.full
def test_much_random_damage_is_noticed(checkpoint: Path) -> None:
    notice_all(checkpoint, 5000)


def test_every_byte_of_the_manifest_counts(checkpoint: Path) -> None:
    data = (checkpoint / MANIFEST).read_bytes()
    for at in range(0, len(data), 2):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        (checkpoint / MANIFEST).write_bytes(flipped)
        assert verify(checkpoint), at
