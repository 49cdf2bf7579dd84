"""Settings every test shares."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Deadlines measure the machine, not the code; the first call of a kernel compiles it.
settings.register_profile("search", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
# The same code gets the same verdict; `make test-all` looks further, with other examples each time.
settings.register_profile("default", settings.get_profile("search"), derandomize=True)
settings.load_profile("default")

# Ray reads its token once in a process, in which several tests start a Ray: all of these know one another by this.
os.environ.setdefault("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
