"""Imports point one way, and a name costs no more to import than what it needs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import abrazo

SOURCE = Path(abrazo.__file__).parent

GROUND = {"errors", "config", "own_code"}
BESIDE = {"data", "tokenization", "checkpoints", "hub", "metrics"}

MODELS = GROUND | BESIDE | {"layers", "heads", "models", "generation"}

MAY_IMPORT = {
    "errors": set(),
    "config": {"errors"},
    "own_code": {"errors"},
    "layers": GROUND,
    **{package: GROUND | BESIDE | {"layers"} for package in BESIDE},
    "heads": GROUND | BESIDE | {"layers"},
    "models": GROUND | BESIDE | {"layers", "heads"},
    "generation": MODELS - {"generation"},
    "tasks": MODELS,
    "inference": MODELS | {"tasks"},
    "training": MODELS | {"tasks", "inference"},
    "cli": MODELS | {"tasks", "inference", "training"},
}
"""What each package may import, besides itself; a new package needs a line here."""

VERSION = "__version__"


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def package_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield all names that a module imports, those within functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_imports(package: str, tree: ast.AST) -> list[str]:
    allowed = MAY_IMPORT[package] | {package, VERSION}
    parts = [name.split(".") for name in imported(tree)]
    return [".".join(names) for names in parts if names[0] == "abrazo" and names[1] not in allowed]


def loaded_by(statement: str, *watched: str) -> set[str]:
    """Return which of some modules are imported once a statement has run in a fresh process."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) & set(watched)


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_module_imports_only_what_lies_below(file):
    if file == SOURCE / "__init__.py":
        return  # the table of public names: it points everywhere, when a name is asked for
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert wrong_imports(package_of(file), tree) == []


def test_imports_within_functions_are_seen():
    tree = ast.parse("def f():\n    from abrazo.training.trainer import Trainer")
    assert wrong_imports("inference", tree) == ["abrazo.training.trainer.Trainer"]
    assert wrong_imports("cli", tree) == []


def test_every_package_has_its_rule():
    assert {package_of(file) for file in modules()} - {"__init__"} == set(MAY_IMPORT)


def test_the_package_itself_imports_nothing_heavy():
    heavy = ("torch", "pyarrow", "numpy", "tokenizers", "huggingface_hub", "yaml")
    assert loaded_by("import abrazo", *heavy) == set()


def test_a_model_class_imports_no_hub_client_and_no_tables():
    heavy = ("pyarrow", "huggingface_hub", "transformers", "datasets", "pandas", "matplotlib")
    assert loaded_by("from abrazo import BertModel", *heavy) == set()


def test_help_imports_nothing_heavy():
    heavy = ("torch", "pyarrow", "huggingface_hub", "transformers", "tokenizers", "numpy")
    statement = "from abrazo.cli.main import main; main(['--help'])"
    assert loaded_by(statement, *heavy) == set()
