"""What every test shares: the event loop, how hard hypothesis looks, and what the long loops are told and tell."""

import asyncio
import importlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.loops import METER, MeasuredLoop

# Examples are cut by count, never by time: a busy machine must not make a property fail.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", _UNTIMED, max_examples=50)
settings.register_profile("ci", _UNTIMED, max_examples=150, print_blob=True)
settings.register_profile("long", _UNTIMED, max_examples=5_000, print_blob=True)
# For tools.mutants: the same examples each time, and the first that fails is enough.
settings.register_profile(
    "mutants", _UNTIMED, max_examples=50, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """asyncio on uvloop, the loop that the server runs on, with the CPU time of each callback measured."""
    return "asyncio", {"loop_factory": MeasuredLoop}


@pytest.fixture(scope="session", autouse=True)
def built_messages() -> None:
    """Build the validators first, as the server does after its start.

    Imported here, because `tools/mutants` changes modules before anything has imported them.
    """
    if os.environ.get("HYPOTHESIS_PROFILE") != "mutants":
        asyncio.run(importlib.import_module("interlock.operations.messages").build_messages())


@pytest.fixture(autouse=True)
def no_slow_callbacks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which one callback of the event loop took more CPU time than it may.

    In a test that has the server in a process of its own, the test's task is only a client: that process measures.
    """
    METER.take()
    METER.skips_test_steps = any(map(request.node.get_closest_marker, ("e2e", "crash", "faults", "own_work")))
    yield
    slow = METER.take()
    assert not slow, "\n".join(slow)


# --- the long loops: how much of them, and what they found ------------------------------------------------------------

_FIGURES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("long loops", "how much of the loops over histories and faults is run")
    group.addoption(
        "--histories", default=20_000, type=int, metavar="N", help="histories of the stop that are recorded"
    )
    group.addoption("--kill-points", default="all", metavar="all|N", help="points at which the server is killed")
    group.addoption(
        "--item-kill-points", default="28", metavar="all|N", help="the same, of a server whose steps have items"
    )
    group.addoption("--images", default=5_000, type=int, metavar="N", help="images of a disk that lost its power")
    group.addoption("--disk-errors", default="80", metavar="all|N", help="points at which the disk fails")
    group.addoption("--stopped", default=7.0, type=float, metavar="SECONDS", help="how long a process is stopped")


def pytest_configure(config: pytest.Config) -> None:
    # A shell lets its background jobs ignore Ctrl-C, and the commands that the tests start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    METER.watch_collections()
    config.stash[_FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_FIGURES]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Takes a line that is printed at the end, whether or not the test passes."""
    return pytestconfig.stash[_FIGURES].append


def _count(text: str) -> int | None:
    return None if text == "all" else int(text)


@pytest.fixture(scope="session")
def kill_points(pytestconfig: pytest.Config) -> int | None:
    """How many points; None: all."""
    return _count(pytestconfig.getoption("--kill-points"))


@pytest.fixture
def item_kill_points(pytestconfig: pytest.Config) -> int | None:
    """How many points of a server whose steps have items; None: all."""
    return _count(pytestconfig.getoption("--item-kill-points"))


@pytest.fixture
def disk_errors(pytestconfig: pytest.Config) -> int | None:
    """How many points; None: all."""
    return _count(pytestconfig.getoption("--disk-errors"))


@pytest.fixture
def images(pytestconfig: pytest.Config) -> int:
    """How many images of a disk that lost its power."""
    return int(pytestconfig.getoption("--images"))
