"""Settings every test shares."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# Deadlines measure the machine, not the code; the first call of a kernel compiles it.
settings.register_profile("search", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
# The same code gets the same verdict; `make test-all` looks further, with other examples each time.
settings.register_profile("default", settings.get_profile("search"), derandomize=True)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis also tries constants of the modules that this process has imported by then, which depends on the tests
    that ran before: one process of two found at times what the other never did.
    """
    if config.getoption("--hypothesis-profile") in (None, "default"):
        assert hasattr(providers, "_get_local_constants"), "Hypothesis finds them in another way now"
        providers._get_local_constants = lambda: providers._local_constants
