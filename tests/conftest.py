"""The settings that every test shares: how Hypothesis searches, in CI and in torture."""

from __future__ import annotations

import os

from hypothesis import settings

TORTURE = "VIRTYARD_TORTURE"
"""The variable that `make torture` sets."""

# In CI the same histories every time: a failure is the change's own. In torture new ones, and a failure says how to
# have it again.
settings.register_profile("ci", derandomize=True, database=None, deadline=None)
settings.register_profile("torture", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("torture" if os.environ.get(TORTURE) else "ci")
