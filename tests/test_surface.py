"""The public names, commands and options: `surface.txt` lists them, so that a change is deliberate.

After a deliberate change, write list and stub anew: `python tests/test_surface.py`, then
`ruff check --fix` and `ruff format`.
"""

import ast
import difflib
import importlib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

import abrazo
from abrazo.cli.main import COMMANDS, build_app

LIST = Path(__file__).with_name("surface.txt")
STUB = Path(abrazo.__file__).with_suffix(".pyi")


def options_of(app: App) -> set[str]:
    """Return the options of a command, and its plain arguments in capitals."""
    if app.default_command is None:
        return set()
    return {
        "/".join(sorted(argument.names)) if argument.field_info.is_keyword else argument.name
        for argument in app.assemble_argument_collection(parse_docstring=False)
    }


def commands() -> Iterator[tuple[str, set[str]]]:
    """Yield each command, and each command within a command, with its options."""
    for name in COMMANDS:
        app = build_app(name)[name]
        within = {sub: app[sub] for sub in app if not sub.startswith("-")}
        if not within:
            yield name, options_of(app)
            continue
        found = {sub: options_of(command) for sub, command in within.items()}
        shared = set.intersection(*found.values())
        yield f"{name} (all)", shared
        for sub, options in found.items():
            yield f"{name} {sub}", options - shared


def surface() -> str:
    lines = [f"name {name}" for name in sorted(abrazo.__all__)]
    for command, options in commands():
        lines.append(f"command {command}")
        lines += [f"  {option}" for option in sorted(options)]
    return "\n".join(lines) + "\n"


def stub() -> str:
    lines = sorted(
        f"from {home} import {name} as {name}" for name, home in abrazo._MODULE_OF.items()
    )
    about = "The public names, for type checkers and editors; a test holds them to `__init__.py`."
    return "\n".join([f'"""{about}"""', "", *lines, "", "__version__: str", ""])


def names_in_stub() -> dict[str, str]:
    """Return the names that type checkers see, with the modules they are from."""
    found = {}
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            for alias in node.names:
                assert alias.asname == alias.name, "only `import X as X` re-exports a name"
                found[alias.name] = node.module
        elif isinstance(node, ast.AnnAssign):
            assert isinstance(node.target, ast.Name)
            found[node.target.id] = ""
    return found


def test_names_commands_and_options_are_those_of_the_list():
    listed, there = LIST.read_text(encoding="utf-8"), surface()
    changes = difflib.unified_diff(
        listed.splitlines(), there.splitlines(), "surface.txt", "there", lineterm="", n=1
    )
    assert listed == there, "\n".join(
        ["run `python tests/test_surface.py` if this is meant:", *changes]
    )


def test_type_checkers_see_the_same_names_from_the_same_modules():
    assert names_in_stub() == {"__version__": "", **abrazo._MODULE_OF}


@pytest.mark.parametrize("name", abrazo.__all__)
def test_every_name_is_there_and_documented(name):
    value = getattr(abrazo, name)
    if isinstance(value, type | types.FunctionType):
        assert value.__doc__
        assert getattr(importlib.import_module(value.__module__), value.__name__) is value


def test_every_name_is_listed_before_it_is_used():
    assert set(abrazo.__all__) <= set(dir(abrazo))


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(AttributeError, match=r"no name `BertModl`\. Did you mean `BertModel`"):
        abrazo.BertModl  # noqa: B018
    with pytest.raises(ImportError):
        from abrazo import BertModl  # noqa: F401


if __name__ == "__main__":
    LIST.write_text(surface(), encoding="utf-8")
    STUB.write_text(stub(), encoding="utf-8")
