"""Settings every test shares."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Deadlines measure the machine, not the code; the first call of a kernel compiles it.
settings.register_profile("search", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
# The same code gets the same verdict; `make test-all` looks further, with other examples each time.
settings.register_profile("default", settings.get_profile("search"), derandomize=True)
settings.load_profile("default")
