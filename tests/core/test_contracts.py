"""The contracts on the three clouds in memory."""

from cloudml.testing.conformance.capabilities import CapabilitiesContract
from cloudml.testing.conformance.endpoints import EndpointsContract
from cloudml.testing.conformance.faults import FaultsContract
from cloudml.testing.conformance.jobs import JobsContract
from cloudml.testing.conformance.kills import KillsContract
from cloudml.testing.conformance.models import ModelsContract
from cloudml.testing.conformance.monitors import MonitorsContract
from cloudml.testing.conformance.races import RacesContract


class TestJobs(JobsContract):
    pass


class TestModels(ModelsContract):
    pass


class TestEndpoints(EndpointsContract):
    pass


class TestMonitors(MonitorsContract):
    pass


class TestCapabilities(CapabilitiesContract):
    pass


class TestKills(KillsContract):
    pass


class TestFaults(FaultsContract):
    pass


class TestRaces(RacesContract):
    pass
