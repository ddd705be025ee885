"""The Model Registry: models, their versions, aliases of which one is the default, and artifacts that are taken in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from cloudml_vertex.emulator import checks
from cloudml_vertex.emulator.operations import Operations
from cloudml_vertex.emulator.problems import Problem, invalid, missing, precondition, wrong_fields
from cloudml_vertex.emulator.storage import Buckets
from cloudml_vertex.emulator.world import World, check_etag, check_parent, page, stamp

Model = aiplatform_v1.Model.pb()
UploadModelResponse = aiplatform_v1.UploadModelResponse.pb()
ListModelsResponse = aiplatform_v1.ListModelsResponse.pb()
ListModelVersionsResponse = aiplatform_v1.ListModelVersionsResponse.pb()
VERSIONS = "models"  # by MODEL@NUMBER
ID = r"[a-z0-9_][a-z0-9_-]{0,62}"
ALIAS = r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]"
DEFAULT = "default"
ENV = 200  # variables of a container
# Of the model, whichever version is asked for; the rest is a version's own (reference of UpdateModelRequest).
SHARED = ("display_name", "description")
UPDATABLE = (*SHARED, "labels", "version_description")


class Models:
    """Versions are kept one by one; what they share is the same in each."""

    def __init__(self, world: World, operations: Operations, buckets: Buckets) -> None:
        self._world = world
        self._operations = operations
        self._buckets = buckets
        self._numbers: dict[str, int] = {}  # the last version of each model: numbers are never given again

    def clear(self) -> None:
        self._numbers.clear()

    # -- the API -----------------------------------------------------------------------------------------------------

    def upload_model(self, request: Any) -> Any:
        parent = check_parent(request.parent)
        name = request.parent_model or f"{parent}/models/{request.model_id or self._world.number()}"
        checks.check_name(name.rpartition("/")[2], ID, "model_id")
        self._check(request.model)
        there = self._of(name)
        if request.parent_model and not there:
            raise missing(name)
        if not request.parent_model and (there or self._operations.busy(name)):
            raise Problem("ALREADY_EXISTS", f"The Model {name} already exists; give parent_model for a new version.")
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        model = Model()
        model.CopyFrom(request.model)
        checks.drop_outputs(model)
        model.name, model.version_id = name, str(number)
        uri = model.artifact_uri
        if model.HasField("container_spec"):
            model.supported_deployment_resources_types.append(Model.DeploymentResourcesType.DEDICATED_RESOURCES)

        def work(_: Any) -> None:
            self._buckets.check_folder(uri)

        def finish() -> Any:
            if not there:
                if self._of(name):
                    raise Problem("ALREADY_EXISTS", f"The Model {name} already exists.")
                stamp(model, "create_time")
            else:
                self._share(there[0], model)
            if uri:
                self._buckets.take_in(uri, f"{name}@{number}")
            stamp(model, "update_time", "version_create_time", "version_update_time")
            aliases = [*model.version_aliases, *([] if there else [DEFAULT])]
            del model.version_aliases[:]
            self._world.rows(VERSIONS)[f"{name}@{number}"] = model
            self._merge(model, aliases)
            return UploadModelResponse(model=name, model_version_id=str(number))

        return self._operations.start("UploadModel", name, finish, work if uri else None)

    def get_model(self, request: Any) -> Any:
        return self.find(request.name)

    def list_models(self, request: Any) -> Any:
        """One row a model: its default version."""
        rows = [
            row for row in self._world.under(VERSIONS, check_parent(request.parent)) if DEFAULT in row.version_aliases
        ]
        found, token = page(request, rows)
        return ListModelsResponse(models=found, next_page_token=token)

    def list_model_versions(self, request: Any) -> Any:
        rows = self._of(request.name.partition("@")[0])
        if not rows:
            raise missing(request.name)
        found, token = page(request, sorted(rows, key=lambda row: int(row.version_id)))
        return ListModelVersionsResponse(models=found, next_page_token=token)

    def update_model(self, request: Any) -> Any:
        name = request.model.name
        row = self.find(name)
        check_etag(request.model.etag, row)
        versioned = "@" in name
        for field in checks.masked("Model", request.update_mask.paths):
            if field == "labels":
                checks.check_labels(request.model.labels)
            elif (field == "version_description") != versioned and field not in SHARED:
                raise precondition(f"{field} cannot be updated under the name {name}.")
            elif field not in UPDATABLE:
                raise invalid(f"The field {field!r} of a Model cannot be updated, or that is not emulated.")
            for each in [row] if versioned else self._of(row.name):
                _set(each, request.model, field)
        stamp(row, "update_time", *(["version_update_time"] if versioned else []))
        return row

    def merge_version_aliases(self, request: Any) -> Any:
        """``-alias`` takes one away; an alias that another version has moves here."""
        row = self.find(request.name)
        for alias in request.version_aliases:
            checks.check_name(alias.removeprefix("-"), ALIAS, "version_aliases")
        if f"-{DEFAULT}" in request.version_aliases:
            raise invalid("The default alias cannot be removed; give it to another version.")
        self._merge(row, request.version_aliases)
        stamp(row, "update_time", "version_update_time")
        return row

    def delete_model_version(self, request: Any) -> Any:
        row = self.find(request.name)
        if DEFAULT in row.version_aliases:
            raise precondition(f"The default version of {row.name} cannot be deleted; delete the model.")
        self._refuse_deployed(row.name, row.version_id)
        return self._operations.start("DeleteModelVersion", row.name, lambda: self._drop([row]))

    def delete_model(self, request: Any) -> Any:
        rows = self._of(request.name)
        if not rows:
            raise missing(request.name)
        self._refuse_deployed(request.name, None)
        return self._operations.start("DeleteModel", request.name, lambda: self._drop(self._of(request.name)))

    # -- for deployments ---------------------------------------------------------------------------------------------

    def find(self, name: str) -> Any:
        """A version by ``MODEL``, ``MODEL@3`` or ``MODEL@alias``. Raises Problem."""
        model, _, which = name.partition("@")
        for row in self._of(model):
            if which == row.version_id or (which or DEFAULT) in row.version_aliases:
                return row
        raise missing(name)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _of(self, name: str) -> list[Any]:
        rows: Mapping[str, Any] = self._world.rows(VERSIONS)
        return [row for key, row in rows.items() if key.partition("@")[0] == name]

    def _check(self, model: Any) -> None:
        checks.check_display(model.display_name)
        checks.check_labels(model.labels)
        for alias in model.version_aliases:
            checks.check_name(alias, ALIAS, "version_aliases")
        if len(model.container_spec.env) > ENV:
            raise wrong_fields(("model.container_spec.env", f"There must be at most {ENV} variables."))
        for each in model.container_spec.env:
            if each.name.startswith("AIP_"):
                raise invalid(f"The environment variable {each.name} is reserved.")

    def _share(self, there: Any, model: Any) -> None:
        model.create_time.CopyFrom(there.create_time)
        for field in SHARED:
            setattr(model, field, getattr(there, field))
        for key, value in there.labels.items():
            if key not in model.labels:
                model.labels[key] = value

    def _merge(self, row: Any, aliases: Any) -> None:
        for alias in aliases:
            name = alias.removeprefix("-")
            for each in self._of(row.name):
                if name in each.version_aliases:
                    each.version_aliases.remove(name)
            if alias == name:
                row.version_aliases.append(name)

    def _refuse_deployed(self, name: str, version: str | None) -> None:
        for endpoint in self._world.rows("endpoints").values():
            for deployed in endpoint.deployed_models:
                if deployed.model == name and version in (None, deployed.model_version_id):
                    raise precondition(
                        f"The Model {name} is deployed or being deployed at the following Endpoint(s): {endpoint.name}."
                    )

    def _drop(self, rows: list[Any]) -> Any:
        for row in rows:
            self._world.rows(VERSIONS).pop(f"{row.name}@{row.version_id}", None)
            self._buckets.drop(f"{row.name}@{row.version_id}")
        return empty_pb2.Empty()


def _set(row: Any, given: Any, field: str) -> None:
    if field == "labels":
        row.labels.clear()
        row.labels.update(given.labels)
    else:
        setattr(row, field, getattr(given, field))
