"""What every test shares: the event loop and how hard hypothesis looks."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--histories", type=int, default=20_000, help="how many histories of the stop are recorded")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """asyncio on uvloop: the loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}
