"""Fetches a model's files from a hub within known time, and says in plain words what went wrong.

`huggingface_hub` sets no time limit on some of its requests, and a name look-up can hang below any
of them. So one small question with a hard limit comes first, and only when the hub has answered it
do the files follow, watched for a standstill.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Generic, TypeVar

from abrazo.errors import HubError

SAFE_FILES = (
    *("*.json", "*.txt", "*.model", "*.spm", "chat_template.jinja"),
    *("*.safetensors", "README.md"),
)
"""What is fetched of a model: data that no reader executes."""

NEVER_FETCHED = tuple(
    f"*.{suffix}"
    for suffix in ("bin", "py", "pickle", "pkl", "pt", "pth", "ckpt", "joblib", "npy", "h5", "so")
)

ANSWER_SECONDS = 6.0
"""How long a hub may take to answer the first question; `HF_HUB_ETAG_TIMEOUT` overrides it."""

STANDSTILL_SECONDS = 60.0
"""How long a running download may bring no new byte."""

Result = TypeVar("Result")


class _Watched(Generic[Result]):
    """A function in a thread of its own, so that whoever waits for it can stop waiting."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._result: list[Result] = []
        self._error: BaseException | None = None
        # A daemon: a request that never returns must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, daemon=True, name="abrazo-hub")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:
            self._error = error

    def is_done_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._result[0]


def endpoint() -> str:
    """Return the address of the hub: `HF_ENDPOINT`, or the public one."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def shown_endpoint() -> str:
    """Return the hub's address without the name and password it may hold."""
    return re.sub(r"//[^/@]*@", "//", endpoint())


def is_offline() -> bool:
    """Return whether `HF_HUB_OFFLINE` (or `TRANSFORMERS_OFFLINE`) forbids the network."""
    from huggingface_hub import constants

    flag = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return constants.HF_HUB_OFFLINE or flag.upper() in {"1", "ON", "YES", "TRUE"}


def answer_limit() -> float:
    """Return how many seconds a hub may take for its first answer."""
    given = os.environ.get("HF_HUB_ETAG_TIMEOUT", "")
    return float(given) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", given) else ANSWER_SECONDS


def reach(seconds: float) -> str | None:
    """Ask the hub for anything at all; return None if it answers, else what went wrong."""
    from huggingface_hub import get_session

    address = f"{endpoint()}/api/models?limit=1"
    question = _Watched(lambda: get_session().get(address, timeout=seconds).status_code)
    if not question.is_done_within(seconds + 1.0):
        return f"{shown_endpoint()} gave no answer within {seconds:g} s."
    try:
        status = question.result()
    except Exception as error:
        return _explain(error, "", None, seconds)
    return _explain_status(status, "", shown_endpoint()) if status >= 500 else None


def download(
    name: str,
    *,
    revision: str | None,
    token: str | bool | None,
    cache_dir: Path,
    allow_patterns: tuple[str, ...],
) -> Path:
    """Fetch the files of a hub repo that match `allow_patterns` into the cache.

    Raises:
        HubError: The hub cannot be reached, refuses, has no such repo or revision, has no file that
            may be fetched, or stops sending.
    """
    from huggingface_hub import HfApi, snapshot_download

    limit = answer_limit()
    address = endpoint()
    if not re.match(r"https?://[^/]", address):
        raise HubError(f"HF_ENDPOINT must be an address like `http://host:port`, is `{address}`.")
    api = HfApi(endpoint=address, token=token)
    question = _Watched(lambda: api.model_info(name, revision=revision, timeout=limit))
    if not question.is_done_within(limit + 1.0):
        raise HubError(f"{shown_endpoint()} gave no answer within {limit:g} s.")
    try:
        files = [sibling.rfilename for sibling in question.result().siblings or []]
    except Exception as error:
        raise HubError(_explain(error, name, revision, limit)) from error
    _check_has_wanted_files(name, files, allow_patterns)

    fetching = _Watched(
        lambda: snapshot_download(
            name,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            endpoint=address,
            allow_patterns=list(allow_patterns),
            ignore_patterns=list(NEVER_FETCHED),
            etag_timeout=limit,
        )
    )
    _wait_while_it_grows(fetching, cache_dir / f"models--{name.replace('/', '--')}", name)
    try:
        return Path(fetching.result())
    except Exception as error:
        raise HubError(_explain(error, name, revision, limit)) from error


def _check_has_wanted_files(name: str, files: list[str], allow_patterns: tuple[str, ...]) -> None:
    """Refuse a repo whose only weights are pickles before anything of it is fetched."""
    wanted = [file for file in files if _matches(file, allow_patterns)]
    if not any(not _matches(file, NEVER_FETCHED) for file in wanted):
        raise HubError(
            f"`{name}` on {shown_endpoint()} has no file that matches "
            f"{', '.join(allow_patterns)}; it has {', '.join(files[:10]) or 'no files'}."
        )
    wants_weights = "*.safetensors" in allow_patterns
    pickles = [file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if wants_weights and pickles and not any(file.endswith(".safetensors") for file in files):
        raise HubError(
            f"`{name}` on {shown_endpoint()} has its weights only as `{pickles[0]}`, a format that "
            "can run code when it is opened, so it is not fetched. Take a revision that has "
            "`model.safetensors` (pull requests of the repo often do: `revision='refs/pr/1'`)."
        )


def _matches(file: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)


def _wait_while_it_grows(fetching: _Watched[str], folder: Path, name: str) -> None:
    """Wait for the end of a download; a standstill is an error, slowness is not."""
    size, grew_at = -1, time.monotonic()
    while not fetching.is_done_within(0.5):
        now = time.monotonic()
        if (new_size := _bytes_below(folder)) != size:
            size, grew_at = new_size, now
        elif now - grew_at > STANDSTILL_SECONDS:
            raise HubError(
                f"{shown_endpoint()} stopped sending `{name}`: no new byte for "
                f"{STANDSTILL_SECONDS:g} s. Loading it again goes on from what is here."
            )


def _bytes_below(folder: Path) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(place, file)).st_size
            except OSError:  # renamed by the download since it was listed
                total += 1
    return total


def _explain(error: Exception, name: str, revision: str | None, limit: float) -> str:
    """Say what an error of the hub client means for the one who asked for `name`."""
    from huggingface_hub import errors

    hub = shown_endpoint()
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{hub} gives `{name}` only to people who were granted access: ask for it on "
            f"{hub}/{name}, then pass `token=` or set HF_TOKEN."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{hub} has `{name}`, but not its revision `{revision or 'main'}`."
    if isinstance(error, errors.LocalTokenNotFoundError):
        return "`token=True` takes the token of `hf auth login`, but nobody is logged in here."
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return _explain(error.__cause__, name, revision, limit)
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int):
        return _explain_status(status, name, hub)
    kind = type(error).__name__
    if "Timeout" in kind:
        return f"{hub} gave no answer within {limit:g} s."
    if isinstance(error, ConnectionError) or type(error).__module__.startswith("httpx"):
        return f"{hub} could not be reached: {error or kind}."
    if isinstance(error, OSError):
        return f"What {hub} sends of `{name}` cannot be kept: {error}."
    return f"{hub} did not answer as a hub does ({kind}: {error}). Is HF_ENDPOINT right?"


def _explain_status(status: int, name: str, hub: str) -> str:
    if status == 401:
        return (
            f"{hub} has no public model repo `{name}` (401). If it is private, pass `token=` or "
            "set HF_TOKEN; if you did, the token is not valid there."
        )
    if status == 403:
        return f"{hub} refuses `{name}` to this token (403): it needs one with read access to it."
    if status == 404:
        return f"{hub} has no model repo `{name}` (404), or it is private: then pass `token=`."
    if status == 429:
        return f"{hub} asks for a pause (429, too many requests): try again in a few minutes."
    if status >= 500:
        return f"{hub} has a fault of its own ({status}): try again later."
    return f"{hub} answered {status} when asked for `{name}`."
