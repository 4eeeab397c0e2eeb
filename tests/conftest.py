"""Being here, this file puts `tests/` on the path, so that tests import `helpers`."""

import pytest


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to no folder must not be asked for on a hub."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
