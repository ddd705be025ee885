"""The contracts that every provider keeps, on the emulated Vertex AI."""

from __future__ import annotations

from cloudml.testing.conformance import (
    CapabilitiesContract,
    EndpointsContract,
    JobsContract,
    ModelsContract,
    MonitorsContract,
)


class TestCapabilities(CapabilitiesContract):
    pass


class TestJobs(JobsContract):
    pass


class TestModels(ModelsContract):
    pass


class TestEndpoints(EndpointsContract):
    pass


class TestMonitors(MonitorsContract):
    pass
