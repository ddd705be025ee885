"""A Vertex AI on this machine: its parts put together, its hosts, its environment, its end."""

from __future__ import annotations

import fnmatch
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from cloudml.emulation import Cloud, Route, Site
from cloudml.emulation.http import Answer, Request, Server
from cloudml_vertex.emulator.core import Core
from cloudml_vertex.emulator.endpoints import Endpoints
from cloudml_vertex.emulator.grpc_front import GrpcFront
from cloudml_vertex.emulator.jobs import Jobs
from cloudml_vertex.emulator.machines import REGIONS
from cloudml_vertex.emulator.models import Models
from cloudml_vertex.emulator.monitoring import Monitoring
from cloudml_vertex.emulator.observing import Observing
from cloudml_vertex.emulator.operations import Operations
from cloudml_vertex.emulator.predictions import Predictions
from cloudml_vertex.emulator.problems import Lost, Problem
from cloudml_vertex.emulator.projects import Projects
from cloudml_vertex.emulator.registry import Registry
from cloudml_vertex.emulator.repositories import Repositories
from cloudml_vertex.emulator.rest_front import RestFront
from cloudml_vertex.emulator.runs import Runs
from cloudml_vertex.emulator.servers import Servers
from cloudml_vertex.emulator.signin import Directory
from cloudml_vertex.emulator.storage import Buckets
from cloudml_vertex.emulator.world import World

PROJECT, LOCATION, BUCKET = "cloudml-emulated", "us-central1", "cloudml-emulated"
REPOSITORY = "cloudml"
IMAGE = f"{LOCATION}-docker.pkg.dev/{PROJECT}/{REPOSITORY}/cloudml-serve:latest"
# What gcloud predicts with has a host of its own.
APIS = tuple(f"{region}{part}-aiplatform.googleapis.com" for part in ("", "-prediction") for region in REGIONS)
# Hosts that answer both HTTP and gRPC.
GRPC = (*APIS, "*.prediction.vertexai.goog", "cloudresourcemanager.googleapis.com")
COLLECTIONS = ("customJobs", "models", "endpoints", "modelDeploymentMonitoringJobs", "repositories")
Respond = Callable[[Request], Answer]


class Vertex:
    """One emulator."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.world = World()
        self.buckets = Buckets(site.folder / "buckets")
        self.directory = Directory(PROJECT, site.folder)
        self.operations = Operations(self.world, site.lifecycle)
        self.repositories = Repositories(self.world, site.folder / "registry")
        self.registry = Registry(self.directory, self.repositories)
        self.runs = Runs(site, self.buckets.folder, lambda image: self.registry.local(image, self.server.port))
        self.servers = Servers(self.runs, self.buckets)
        models = self.models = Models(self.world, self.operations, self.buckets)
        endpoints = Endpoints(self.world, self.operations, models, self.servers, site.faults)
        self.jobs = Jobs(self.world, self.operations, self.runs, site.lifecycle, site.faults)
        predictions = self.predictions = Predictions(endpoints, self.servers)
        monitoring = Monitoring(self.world, self.operations, predictions.asked)
        projects = Projects(PROJECT)
        services = (self.jobs, models, endpoints, monitoring, predictions, projects)
        core = self.core = Core(self.world, self.operations, site.faults, services)
        self.grpc = GrpcFront(core, self.directory)
        rest, seen = RestFront(core, predictions), Observing(self.runs, predictions)
        self.rest = rest
        self.open: Mapping[str, Respond] = {  # to whoever asks
            "oauth2.googleapis.com": self.directory.exchange,
            "metadata.google.internal": self.directory.metadata,
            "169.254.169.254": self.directory.metadata,
        }
        self.guarded: Mapping[str, Respond] = {
            **dict.fromkeys(APIS, rest.respond),
            "*.prediction.vertexai.goog": rest.respond,
            "storage.googleapis.com": self.buckets.respond,
            "www.googleapis.com": self.buckets.respond,
            "logging.googleapis.com": seen.entries,
            "monitoring.googleapis.com": seen.series,
            "iamcredentials.googleapis.com": lambda request: Answer(200, {"locations": [], "encodedLocations": "0x0"}),
            "cloudresourcemanager.googleapis.com": projects.respond,
            "artifactregistry.googleapis.com": self.repositories.respond,
        }
        self.server = Server(self.respond, "vertex", streamed=self.registry.streamed)
        self.furnish()

    def respond(self, request: Request) -> Answer | None:
        try:
            for pattern, answer in self.open.items():
                if request.host == pattern:
                    return answer(request)
            for pattern, answer in self.guarded.items():
                if fnmatch.fnmatchcase(request.host, pattern):
                    self.directory.admit(request.headers.get("authorization", ""))
                    if answer != self.rest.respond:  # which counts by method, as gRPC does
                        self.core.count(f"{request.method} {pattern}")
                    return answer(request)
            raise Problem("NOT_FOUND", f"{request.host} is not emulated.")
        except Problem as problem:
            return Answer(problem.code, problem.document())
        except Lost:
            return None
        except (ValueError, KeyError, TypeError) as wrong:
            return Answer(400, Problem("INVALID_ARGUMENT", f"Invalid request: {wrong!r}").document())

    def cloud(self) -> Cloud:
        port, grpc = self.server.port, self.grpc.port
        hosts = (*self.open, *self.guarded, "*-docker.pkg.dev")
        return Cloud(
            [Route(host, port, grpc if host in GRPC else None) for host in hosts],
            self.environment(),
            self.close,
            inspect=self.inspect,
            reset=self.reset,
            account=self.account,
        )

    def environment(self) -> Mapping[str, str]:
        """What a program needs: Google's own variables, gcloud's among them, and those of cloudml's provider."""
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.directory.file),
            "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(self.directory.file),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_AI_REGION": LOCATION,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_LOCATION": LOCATION,
            "CLOUDML_VERTEX_PROJECT": PROJECT,
            "CLOUDML_VERTEX_LOCATION": LOCATION,
            "CLOUDML_VERTEX_BUCKET": BUCKET,
            "CLOUDML_VERTEX_IMAGE": IMAGE,
        }

    def account(self) -> Mapping[str, str]:
        """Another project, with a bucket of the same name."""
        own = f"cloudml-{uuid.uuid4().hex[:12]}"
        self.buckets.make(own)
        self.repositories.make(own, LOCATION, REPOSITORY)
        projects = dict.fromkeys(("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT", "CLOUDML_VERTEX_PROJECT"), own)
        return {**projects, "CLOUDML_VERTEX_BUCKET": own}

    def furnish(self) -> None:
        """What the account has from the beginning: a bucket, and a repository for images."""
        self.buckets.make(BUCKET)
        self.repositories.make(PROJECT, LOCATION, REPOSITORY)

    def inspect(self) -> Mapping[str, Any]:
        with self.world.lock:
            rows = {name: sorted(self.world.rows(name)) for name in COLLECTIONS}
        calls = dict(self.core.calls)
        return {
            **rows,
            "calls": calls,
            "buckets": self.buckets.summary(),
            "faults": [repr(fault) for fault in self.site.faults],
        }

    def reset(self) -> None:
        """Everything is gone but the account, its empty bucket and its empty repository."""
        self.operations.clear()
        with self.world.lock:  # or a job that is made meanwhile would be moved on without being there
            self.jobs.clear()
            self.models.clear()
            self.runs.clear()
            self.servers.clear()
            self.predictions.clear()
            self.world.clear()
            self.buckets.clear()
            self.repositories.clear()
            self.furnish()

    def close(self) -> None:
        """No more calls; then what they have begun, so that nothing begins again."""
        self.server.close()
        self.grpc.stop()
        self.operations.clear()
        self.jobs.close()
        self.runs.clear()
        self.grpc.close()


def start(site: Site) -> Cloud:
    return Vertex(site).cloud()
