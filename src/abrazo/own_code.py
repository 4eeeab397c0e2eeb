"""Classes from a user's own file: `my_file.py:MyTask`, wherever the user names one.

Such a reference counts only as an argument that the user gives. What a model's folder, a
configuration or a data file says is compared with tables and never comes here: no file of the world
can name code.
"""

import hashlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from abrazo.errors import ConfigError, did_you_mean

T = TypeVar("T")

_MODULE = "abrazo_own_{stem}_{digest}"
_files: dict[str, Path] = {}  # by module, in the order they were read


def is_reference(text: str) -> bool:
    """Tell whether a text is of the form `my_file.py:MyTask`."""
    file, _, name = text.rpartition(":")
    return file.endswith(".py") and name.isidentifier()


def load_class(given: str | type[T], base: type[T]) -> type[T]:
    """Return a class that a user gives, from the user's file where it is given as `file.py:Name`.

    A file is run once as long as it is not changed. It may import whatever is installed.

    Args:
        given: The class, or the path of a file and the class in it.
        base: What the class must be derived from.

    Raises:
        ConfigError: The file is not there or cannot be run, or the class is not there or another.
    """
    if isinstance(given, type) and issubclass(given, base):
        return given
    if not isinstance(given, str) or not is_reference(given):
        raise ConfigError(
            f"A class derived from `{base.__name__}` is wanted, or where it is, as "
            f"`my_file.py:MyClass`, not {given!r:.80}."
        )
    return _from_file(given, base)


def _from_file(reference: str, base: type[T]) -> type[T]:
    place, _, name = reference.rpartition(":")
    module = load_file(Path(place).expanduser())
    found = getattr(module, name, None)
    wanted = f"class derived from `{base.__name__}`"
    if isinstance(found, type) and issubclass(found, base):
        return found
    if found is not None:
        raise ConfigError(f"`{name}` of `{place}` must be a {wanted}, but is {found!r:.80}.")
    kinds = [each for each, value in vars(module).items() if _is_own(value, base, module)]
    listed = ", ".join(f"`{each}`" for each in kinds) or "none"
    raise ConfigError(
        f"`{place}` has no `{name}`. Each {wanted} in it: {listed}.{did_you_mean(name, kinds)}"
    )


def reference_to(kind: type) -> str:
    """Return how a user refers to a class of a file, as seen from the current folder."""
    file = inspect.getsourcefile(kind)
    return f"{os.path.relpath(file)}:{kind.__name__}" if file else kind.__name__


def load_file(file: Path) -> ModuleType:
    """Run a user's file as a module and return it; what was run before is not run again.

    Raises:
        ConfigError: It is not there, or running it fails.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"`{file}` cannot be read: {error.strerror}.") from error
    path = file.resolve()
    digest = hashlib.blake2b(os.fsencode(path) + b"\0" + content, digest_size=8).hexdigest()
    name = _MODULE.format(stem=path.stem, digest=digest)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018  for a file it never is
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look themselves up there
    try:
        exec(compile(content, str(path), "exec"), vars(module))
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise ConfigError(f"`{file}` cannot be run: {type(error).__name__}: {error}") from error
    _files[name] = path
    return module


def loaded_files() -> list[Path]:
    """Return the files that were run, so that another process can run them too."""
    return list(_files.values())


def _is_own(value: object, base: type, module: ModuleType) -> bool:
    is_class = isinstance(value, type) and issubclass(value, base)
    return is_class and value.__module__ == module.__name__
