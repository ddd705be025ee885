"""The ten stories on every emulated cloud, in every condition that it can be in."""

from __future__ import annotations

from trial_stories import Stories


class TestTrials(Stories):
    pass
