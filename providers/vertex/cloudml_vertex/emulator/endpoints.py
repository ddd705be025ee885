"""Endpoints: what is deployed to them, how traffic is split, and predictions."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from cloudml.emulation.faults import Faults, Trouble
from cloudml_vertex.emulator import checks
from cloudml_vertex.emulator.machines import check_machine
from cloudml_vertex.emulator.models import Models
from cloudml_vertex.emulator.operations import Operations
from cloudml_vertex.emulator.problems import Problem, invalid, missing, precondition, wrong_fields
from cloudml_vertex.emulator.servers import Servers
from cloudml_vertex.emulator.world import World, check_etag, check_parent, page, stamp

Endpoint = aiplatform_v1.Endpoint.pb()
DeployedModel = aiplatform_v1.DeployedModel.pb()
DeployModelResponse = aiplatform_v1.DeployModelResponse.pb()
UndeployModelResponse = aiplatform_v1.UndeployModelResponse.pb()
MutateDeployedModelResponse = aiplatform_v1.MutateDeployedModelResponse.pb()
ListEndpointsResponse = aiplatform_v1.ListEndpointsResponse.pb()
COLLECTION = "endpoints"
ID = r"[0-9]{1,10}|[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
DEPLOYED_ID = r"[1-9][0-9]{0,9}"
NEW = "0"  # in a traffic split: the model that is being deployed
MUTABLE = tuple(
    f"dedicated_resources.{field}" for field in ("min_replica_count", "max_replica_count", "autoscaling_metric_specs")
)
UPDATABLE = ("display_name", "description", "labels", "traffic_split", "client_connection_config")


class Endpoints:
    """GetEndpoint shows nothing of a deployment that runs, nor of one that failed: its operation does."""

    def __init__(self, world: World, operations: Operations, models: Models, servers: Servers, faults: Faults) -> None:
        self._world = world
        self._operations = operations
        self._models = models
        self._servers = servers
        self._faults = faults
        self._random = random.Random()

    # -- the API -----------------------------------------------------------------------------------------------------

    def create_endpoint(self, request: Any) -> Any:
        parent = check_parent(request.parent)
        id = request.endpoint_id or self._world.number()
        if request.endpoint_id:
            checks.check_name(id, ID, "endpoint_id")
        checks.check_display(request.endpoint.display_name)
        checks.check_labels(request.endpoint.labels)
        name = f"{parent}/{COLLECTION}/{id}"
        if name in self._world.rows(COLLECTION) or self._operations.busy(name):
            raise Problem("ALREADY_EXISTS", f"The Endpoint {name} already exists.")
        endpoint = Endpoint()
        endpoint.CopyFrom(request.endpoint)
        checks.drop_outputs(endpoint)
        endpoint.name = name
        if endpoint.dedicated_endpoint_enabled:
            location, project = parent.split("/")[3], parent.split("/")[1]
            endpoint.dedicated_endpoint_dns = f"{id}.{location}-{project}.prediction.vertexai.goog"

        def finish() -> Any:
            stamp(endpoint, "create_time", "update_time")
            self._world.rows(COLLECTION)[name] = endpoint
            return endpoint

        return self._operations.start("CreateEndpoint", name, finish)

    def get_endpoint(self, request: Any) -> Any:
        return self._world.get(COLLECTION, request.name)

    def list_endpoints(self, request: Any) -> Any:
        found, token = page(request, self._world.under(COLLECTION, check_parent(request.parent)))
        return ListEndpointsResponse(endpoints=found, next_page_token=token)

    def update_endpoint(self, request: Any) -> Any:
        endpoint, given = self._world.get(COLLECTION, request.endpoint.name), request.endpoint
        check_etag(given.etag, endpoint)
        fields = checks.masked("Endpoint", request.update_mask.paths)
        for field in fields:
            if field not in UPDATABLE:
                raise invalid(f"The field {field!r} of an Endpoint cannot be updated.")
        if "labels" in fields:
            checks.check_labels(given.labels)
        if "traffic_split" in fields:
            self._check_split(given.traffic_split, {each.id for each in endpoint.deployed_models})
        for field in fields:
            _set(endpoint, given, field)
        stamp(endpoint, "update_time")
        return endpoint

    def delete_endpoint(self, request: Any) -> Any:
        endpoint = self._world.get(COLLECTION, request.name)
        if endpoint.deployed_models or self._operations.busy(endpoint.name):
            raise precondition(
                f"The Endpoint {endpoint.name} has deployed or being-deployed Model(s); undeploy them first."
            )

        def finish() -> Any:
            self._world.rows(COLLECTION).pop(endpoint.name, None)
            return empty_pb2.Empty()

        return self._operations.start("DeleteEndpoint", endpoint.name, finish)

    def deploy_model(self, request: Any) -> Any:
        endpoint = self._world.get(COLLECTION, request.endpoint)
        if self._operations.busy(endpoint.name):
            raise precondition(f"There is another operation running on the Endpoint {endpoint.name}.")
        model = self._models.find(request.deployed_model.model)
        if not model.HasField("container_spec"):
            raise precondition(f"The Model {model.name} has no container_spec and cannot be deployed.")
        deployed = DeployedModel()
        deployed.CopyFrom(request.deployed_model)
        deployed.id = deployed.id or self._world.number()[:10]
        checks.check_name(deployed.id, DEPLOYED_ID, "deployed_model.id")
        if any(each.id == deployed.id for each in endpoint.deployed_models):
            raise Problem("ALREADY_EXISTS", f"The DeployedModel {deployed.id} already exists.")
        self._check_resources(deployed)
        ids = {each.id for each in endpoint.deployed_models}
        split = {deployed.id if id == NEW else id: share for id, share in request.traffic_split.items()}
        self._check_split(split, ids | {deployed.id})
        deployed.model, deployed.model_version_id = model.name, model.version_id
        doom = self._faults.take("DeployModel", endpoint.name.rpartition("/")[2], Trouble.CAPACITY, Trouble.FAIL)

        def work(closing: threading.Event) -> None:
            if doom:
                raise Problem("RESOURCE_EXHAUSTED", "Machine type temporarily unavailable, please try another one.")
            self._servers.start(endpoint.name, deployed, model, closing)

        def finish() -> Any:
            there = self._world.rows(COLLECTION).get(endpoint.name)
            if there is None:
                self._servers.stop(endpoint.name, deployed.id)
                raise missing(endpoint.name)
            stamp(deployed, "create_time")
            there.deployed_models.append(deployed)
            if split:
                there.traffic_split.clear()
                there.traffic_split.update(split)
            stamp(there, "update_time")
            return DeployModelResponse(deployed_model=deployed)

        return self._operations.start("DeployModel", endpoint.name, finish, work)

    def undeploy_model(self, request: Any) -> Any:
        endpoint = self._world.get(COLLECTION, request.endpoint)
        if self._operations.busy(endpoint.name):
            raise precondition(f"There is another operation running on the Endpoint {endpoint.name}.")
        id = request.deployed_model_id
        rest = [each for each in endpoint.deployed_models if each.id != id]
        if len(rest) == len(endpoint.deployed_models):
            raise missing(f"{endpoint.name}/deployedModels/{id}")
        split = dict(request.traffic_split)
        if rest and not split and endpoint.traffic_split.get(id):
            raise precondition(f"The DeployedModel {id} has traffic; assign it to others in traffic_split.")
        self._check_split(split, {each.id for each in rest})

        def finish() -> Any:
            there = self._world.rows(COLLECTION)[endpoint.name]
            kept = [each for each in there.deployed_models if each.id != id]
            del there.deployed_models[:]
            there.deployed_models.extend(kept)
            if split or not kept:
                there.traffic_split.clear()
                there.traffic_split.update(split)
            there.traffic_split.pop(id, None)
            stamp(there, "update_time")
            return UndeployModelResponse()

        return self._operations.start(
            "UndeployModel", endpoint.name, finish, lambda _: self._servers.stop(endpoint.name, id)
        )

    def mutate_deployed_model(self, request: Any) -> Any:
        endpoint = self._world.get(COLLECTION, request.endpoint)
        given = request.deployed_model
        there = next((each for each in endpoint.deployed_models if each.id == given.id), None)
        if there is None:
            raise missing(f"{endpoint.name}/deployedModels/{given.id}")

        for path in request.update_mask.paths:
            if path not in MUTABLE:
                raise invalid(f"The field {path!r} of a DeployedModel cannot be changed; {', '.join(MUTABLE)} can.")
        changed = DeployedModel()
        changed.CopyFrom(there)
        for path in request.update_mask.paths:
            changed.dedicated_resources.ClearField(path.rpartition(".")[2])
        request.update_mask.MergeMessage(given, changed)
        self._check_resources(changed)

        def finish() -> Any:
            there.CopyFrom(changed)
            return MutateDeployedModelResponse(deployed_model=there)

        return self._operations.start("MutateDeployedModel", endpoint.name, finish)

    # -- for predictions ---------------------------------------------------------------------------------------------

    def choose(self, name: str) -> tuple[Any, Any]:
        """The endpoint, and the deployed model that answers the next request, by the traffic split. Raises Problem."""
        with self._world.lock:
            endpoint = self._world.get(COLLECTION, name)
            shares: Mapping[str, int] = {id: share for id, share in endpoint.traffic_split.items() if share}
            if not shares:
                raise precondition(f"The Endpoint {name} has no deployed model that takes traffic.")
            (id,) = self._random.choices([*shares], weights=[*shares.values()])
            return endpoint, next(each for each in endpoint.deployed_models if each.id == id)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _check_split(self, split: Mapping[str, int], ids: set[str]) -> None:
        if unknown := sorted(set(split) - ids):
            raise invalid(f"The traffic split names {unknown[0]}, which is not deployed.")
        if split and sum(split.values()) != 100:
            raise wrong_fields(("traffic_split", f"The sum of all traffic must be 100, and is {sum(split.values())}."))

    def _check_resources(self, deployed: Any) -> None:
        resources = deployed.dedicated_resources
        if not deployed.HasField("dedicated_resources"):
            raise wrong_fields(("deployed_model", "dedicated_resources is needed for a custom container."))
        check_machine(resources.machine_spec, "deployed_model.dedicated_resources.machine_spec")
        if resources.max_replica_count and resources.max_replica_count < resources.min_replica_count:
            text = "max_replica_count must not be less than min_replica_count."
            raise wrong_fields(("deployed_model.dedicated_resources.max_replica_count", text))


def _set(endpoint: Any, given: Any, field: str) -> None:
    if field in ("labels", "traffic_split"):
        getattr(endpoint, field).clear()
        getattr(endpoint, field).update(getattr(given, field))
    elif field == "client_connection_config":
        endpoint.client_connection_config.CopyFrom(given.client_connection_config)
    else:
        setattr(endpoint, field, getattr(given, field))
