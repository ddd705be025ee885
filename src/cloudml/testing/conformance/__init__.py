"""What every provider must keep, as pytest classes over a fixture ``rig``: one import for whoever writes a provider.

``RacesContract`` is for the clouds in memory, whose clock is ours; all others are for every provider.
"""

import pytest

# Before they are imported: pytest then shows what was compared in a contract, as it does in one's own tests.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("capabilities", "endpoints", "faults", "jobs", "kills", "models", "monitors", "races", "rig")
    )
)

from cloudml.testing.conformance.capabilities import CapabilitiesContract  # noqa: E402
from cloudml.testing.conformance.endpoints import EndpointsContract  # noqa: E402
from cloudml.testing.conformance.faults import FaultsContract  # noqa: E402
from cloudml.testing.conformance.jobs import JobsContract  # noqa: E402
from cloudml.testing.conformance.kills import KillsContract  # noqa: E402
from cloudml.testing.conformance.models import ModelsContract  # noqa: E402
from cloudml.testing.conformance.monitors import MonitorsContract  # noqa: E402
from cloudml.testing.conformance.programs import python_job, python_model, python_rig  # noqa: E402
from cloudml.testing.conformance.races import RacesContract  # noqa: E402
from cloudml.testing.conformance.rig import Content, Process, Rig, rig_of  # noqa: E402

__all__ = [
    "CapabilitiesContract",
    "Content",
    "EndpointsContract",
    "FaultsContract",
    "JobsContract",
    "KillsContract",
    "ModelsContract",
    "MonitorsContract",
    "Process",
    "RacesContract",
    "Rig",
    "python_job",
    "python_model",
    "python_rig",
    "rig_of",
]
