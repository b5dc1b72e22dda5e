"""As many histories as `--histories` says, in parts with a server and a seed each, and their figures at the end."""

from __future__ import annotations

import pytest

from tests.histories.figures import Figures
from tests.histories.series import AT_ONCE

SEED = 20_261_125
_WHOLE = pytest.StashKey[Figures]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "part" in metafunc.fixturenames:
        count = metafunc.config.getoption("--histories")
        parts = [(SEED + begun, min(AT_ONCE, count - begun)) for begun in range(0, count, AT_ONCE)]
        metafunc.parametrize("part", parts, ids=[f"seed {seed}" for seed, _ in parts])


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> Figures:
    """The figures of all parts so far."""
    return request.config.stash.setdefault(_WHOLE, Figures(SEED))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if (figures := config.stash.get(_WHOLE, None)) is not None:
        terminalreporter.write_line(figures.line())
