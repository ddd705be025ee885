"""Whether a body fits the service's own model of it, by api-version, and how a document looks through a version.

The schemas in ``schemas/`` are facts of the wire format from the generated REST models of azure-ai-ml 1.28.1 (MIT),
which still has one model per api-version; the client under test has one for all (``tools/convert_schemas.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from cloudml_azureml.emulator.answers import Document

Schema = Mapping[str, Any]

# The schema of each kind of resource, by the api-versions through which it is written or read.
MODELS: Mapping[str, Mapping[str, str]] = {
    "codes": {"2023-04-01": "CodeVersion"},
    "environments": {"2023-04-01-preview": "EnvironmentVersion"},
    "data": {"2023-04-01-preview": "DataVersionBase"},
    "models": {"2023-08-01-preview": "ModelVersion"},
    "environments/": {"2023-04-01-preview": "EnvironmentContainer"},
    "data/": {"2023-04-01-preview": "DataContainer"},
    "models/": {"2023-08-01-preview": "ModelContainer"},
    "jobs": {"2025-01-01-preview": "JobBase", "2024-01-01-preview": "JobBase"},
    "onlineEndpoints": {"2022-02-01-preview": "OnlineEndpointData", "2023-04-01-preview": "OnlineEndpoint"},
    "deployments": {"2022-02-01-preview": "OnlineDeploymentData", "2023-04-01-preview": "OnlineDeployment"},
    "schedules": {"2023-06-01-preview": "Schedule"},
    "pendingUpload": {"2023-04-01": "PendingUploadRequestDto"},
    "regenerateKeys": {"2022-02-01-preview": "RegenerateEndpointKeysRequest"},
    "getLogs": {"2023-04-01-preview": "DeploymentLogsRequest"},
}


@cache
def definitions(version: str) -> Mapping[str, Schema]:
    """All schemas of a version."""
    text = files(__package__).joinpath("schemas", f"{version}.json").read_text()
    loaded: dict[str, Schema] = json.loads(text)["$defs"]
    return loaded


def accepted(kind: str, version: str, document: Document) -> tuple[Document, list[str]]:
    """The document without what only the service writes, enums spelled as in the schema; and what is wrong with it."""
    known = definitions(version)
    problems: list[str] = []
    made = _Reading(known, problems).value({"$ref": f"#/$defs/{MODELS[kind][version]}"}, document, "")
    return made, problems


def answered(kind: str, version: str, document: Document) -> list[str]:
    """What is wrong with a document as an answer, in which that counts too which only the service writes."""
    problems: list[str] = []
    whole = _Reading(definitions(version), problems, whole=True)
    whole.value({"$ref": f"#/$defs/{MODELS[kind][version]}"}, document, "")
    return problems


def seen(kind: str, version: str, document: Document) -> Document:
    """A stored document through an api-version: what that version does not know is not in it."""
    name = MODELS.get(kind, {}).get(version)
    if name is None:
        return document
    view: Document = _Looking(definitions(version)).value({"$ref": f"#/$defs/{name}"}, document)
    return view


class _Known:
    def __init__(self, known: Mapping[str, Schema]) -> None:
        self.known = known

    def resolved(self, schema: Schema, value: Any) -> Schema:
        """The schema that counts for this value: references followed, a kind chosen by its discriminator."""
        while True:
            if "$ref" in schema:
                schema = self.known[schema["$ref"].rpartition("/")[2]]
            elif "discriminator" in schema and isinstance(value, dict):
                chosen = self.kind(schema, value)
                if chosen is None:
                    return schema
                schema = chosen
            else:
                return schema

    def kind(self, schema: Schema, value: Document) -> Schema | None:
        wanted = str(value.get(schema["discriminator"]["propertyName"], "")).lower()
        for name, place in schema["discriminator"]["mapping"].items():
            if name.lower() == wanted:
                return self.known[place.rpartition("/")[2]]
        return None


class _Looking(_Known):
    def value(self, schema: Schema, value: Any) -> Any:
        schema = self.resolved(schema, value)
        if isinstance(value, dict) and "properties" in schema:
            properties = schema["properties"]
            return {name: self.value(properties[name], each) for name, each in value.items() if name in properties}
        if isinstance(value, dict) and schema.get("additionalProperties"):
            return {name: self.value(schema["additionalProperties"], each) for name, each in value.items()}
        if isinstance(value, list) and "items" in schema:
            return [self.value(schema["items"], each) for each in value]
        return value


DURATION = re.compile(r"P(?=.)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


class _Reading(_Known):
    """Collects what is wrong; nulls stand for what is not there, as in the service."""

    def __init__(self, known: Mapping[str, Schema], problems: list[str], whole: bool = False) -> None:
        super().__init__(known)
        self.problems = problems
        self._whole = whole  # not without what only the service writes

    def value(self, schema: Schema, value: Any, place: str) -> Any:
        unresolved, schema = schema, self.resolved(schema, value)
        if isinstance(value, dict) and "discriminator" in schema:
            self._no_kind(schema, value, place)
            return value
        kind = schema.get("type")
        if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)  # hash_version, which the SDK sends as a number
        if kind and (not isinstance(value, TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
            self.problems.append(f"{place or 'body'}: expected {kind}, got {type(value).__name__}")
            return value
        if kind == "object":
            return self._object(schema, unresolved, value, place)
        if kind == "array":
            return [self.value(schema["items"], each, f"{place}[{index}]") for index, each in enumerate(value)]
        return self._scalar(schema, value, place)

    def _no_kind(self, schema: Schema, value: Document, place: str) -> None:
        name = schema["discriminator"]["propertyName"]
        known = ", ".join(schema["discriminator"]["mapping"])
        said = f"'{value[name]}' is not supported" if value.get(name) else "is required"
        self.problems.append(f"{place}.{name}: {said}; known here: {known}".lstrip("."))

    def _object(self, schema: Schema, unresolved: Schema, value: Document, place: str) -> Document:
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        made: Document = {}
        for name, each in value.items():
            where = f"{place}.{name}".lstrip(".")
            if properties is None and each is not None:
                made[name] = self.value(others, each, where) if others else each
            elif properties is None:
                continue
            elif name not in properties:
                self.problems.append(f"{where}: could not find member '{name}' on object")
            elif each is not None and (self._whole or not properties[name].get("readOnly")):
                made[name] = self.value(properties[name], each, where)
        for name in schema.get("required", ()):
            if value.get(name) is None:
                self.problems.append(f"{place}.{name}: The field is required.".lstrip("."))
        return made

    def _scalar(self, schema: Schema, value: Any, place: str) -> Any:
        if "enum" in schema:
            for word in schema["enum"]:
                if word.lower() == str(value).lower():
                    return word
            self.problems.append(f"{place}: '{value}' is not one of {', '.join(schema['enum'])}")
        self.problems.extend(f"{place}: {said}" for said in _rules(schema, value))
        return value


def _rules(schema: Schema, value: Any) -> Iterator[str]:
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"does not match {schema['pattern']}"
    if "minLength" in schema and len(value) < schema["minLength"]:
        yield f"is shorter than {schema['minLength']}"
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield f"is longer than {schema['maxLength']}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"is less than {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"is more than {schema['maximum']}"
    if schema.get("format") == "duration" and not DURATION.fullmatch(value):
        yield f"'{value}' is not an ISO 8601 duration"
