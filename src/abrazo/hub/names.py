"""What may be the name of a model or of a revision, and what is meant as a folder."""

import os
import re
from difflib import get_close_matches
from pathlib import Path

from abrazo.errors import HubError

# The hub moved these to their owners; a cache may hold them under either name.
MOVED = {
    **{
        f"bert-{size}-{kind}": f"google-bert/bert-{size}-{kind}"
        for size in ("base", "large")
        for kind in ("uncased", "cased")
    },
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
    "bert-base-multilingual-uncased": "google-bert/bert-base-multilingual-uncased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "albert-base-v2": "albert/albert-base-v2",
    "gpt2": "openai-community/gpt2",
}

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REPO_NAME = re.compile(rf"{_PART}(?:/{_PART})?")
_MAX_NAME = 96
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+@-]*")
_MAX_REVISION = 200


def looks_like_path(text: str) -> bool:
    """Return whether whoever wrote `text` meant a folder rather than a hub repo."""
    starts = ("/", "./", "../", "~", ".\\", "..\\")
    return text.startswith(starts) or text in {".", ".."} or text.endswith("/") or _is_deep(text)


def _is_deep(text: str) -> bool:
    """Return whether the text has more than the one `/` that a repo name may have."""
    return text.count("/") > 1 and ".." not in text.split("/")


def missing_folder(text: str, folder: Path) -> str:
    """Say which part of a path is not there, and which folders next to it are alike."""
    target = folder.absolute()
    parent = target.parent
    while not os.path.isdir(parent):
        target, parent = parent, parent.parent
    try:
        names = sorted(entry.name for entry in parent.iterdir() if entry.is_dir())
    except OSError:
        names = []
    alike = get_close_matches(target.name, names, n=3, cutoff=0.5)
    with_model = [name for name in names if (parent / name / "config.json").is_file()]
    near = list(dict.fromkeys([*alike, *with_model]))[:5]
    hint = f" Folders there: {', '.join(f'`{name}`' for name in near)}." if near else ""
    return f"There is no folder `{text}`: `{parent}` has no `{target.name}`.{hint}"


def is_repo_name(name: str) -> bool:
    """Return whether `name` keeps the rule for names of hub repos."""
    return (
        len(name) <= _MAX_NAME
        and _REPO_NAME.fullmatch(name) is not None
        and ".." not in name
        and "--" not in name
        and not name.endswith(".git")
    )


def check_names(name: str, revision: str | None) -> None:
    """Refuse what cannot be a hub repo or a revision of one, with the rule.

    Raises:
        HubError: One or both break their rule.
    """
    problems = []
    if not is_repo_name(name):
        problems.append(
            "A model's name must be a folder that is there, or `name` or `owner/name` of letters, "
            f"digits, `-`, `_` and `.` (at most {_MAX_NAME}; no `..` or `--`, no `-` or `.` at an "
            f"end, no `.git`), is {name[:_MAX_NAME]!r}."
        )
    if revision is not None and (
        len(revision) > _MAX_REVISION or not _REVISION.fullmatch(revision) or ".." in revision
    ):
        problems.append(
            "`revision` must be a branch, tag or commit of letters, digits and `._/+@-`, without "
            f"`..`, is {revision[:_MAX_REVISION]!r}."
        )
    if problems:
        raise HubError("\n".join(problems))
