"""Converts the REST models of an old azure-ai-ml wheel into the emulator's JSON Schemas. Run once per set of versions.

    pip download --no-deps azure-ai-ml==1.28.1 && python convert_schemas.py azure_ai_ml-1.28.1-py3-none-any.whl FOLDER

That wheel still has one generated model package per api-version, with every property's name, type and rule; later
wheels have one package for all. It needs msrest, azure-core and six. What is written are facts of the wire format
(names, types, what is required); no code is copied.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

# Which bodies are checked, by api-version; what they reach comes along.
ROOTS = {
    "2022-02-01-preview": ("OnlineEndpointData", "OnlineDeploymentData", "RegenerateEndpointKeysRequest"),
    "2023-04-01": ("CodeVersion", "PendingUploadRequestDto"),
    "2023-04-01-preview": (
        *("EnvironmentVersion", "EnvironmentContainer", "DataVersionBase", "DataContainer", "OnlineDeployment"),
        *("OnlineEndpoint", "DeploymentLogsRequest"),
    ),
    "2023-06-01-preview": ("Schedule",),
    "2023-08-01-preview": ("ModelVersion", "ModelContainer"),
    "2024-01-01-preview": ("JobBase",),
    "2025-01-01-preview": ("JobBase",),
}
# Of a type with kinds, those that are emulated; of the others all.
KINDS = {
    "JobBaseProperties": ("Command",),
    "ScheduleActionBase": ("CreateJob", "CreateMonitor"),
    "OnlineDeploymentProperties": ("Managed",),
    "OnlineDeploymentDetails": ("Managed",),
}
ORIGIN = "Names, types and rules from the REST models in {}: MIT licence, copyright (c) Microsoft Corporation"
SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "object": {},
    "iso-8601": {"type": "string", "format": "date-time"},
    "duration": {"type": "string", "format": "duration"},
}
RULES = {
    "pattern": "pattern",
    "min_length": "minLength",
    "max_length": "maxLength",
    "minimum": "minimum",
    "maximum": "maximum",
    "min_items": "minItems",
    "max_items": "maxItems",
}


class Conversion:
    """The definitions that the roots of one version reach."""

    def __init__(self, models: ModuleType) -> None:
        self.models = models
        self.definitions: dict[str, Any] = {}

    def add(self, name: str) -> None:
        if name in self.definitions:
            return
        self.definitions[name] = {}  # it may reach itself
        model = getattr(self.models, name)
        self.definitions[name] = self.kinds(model) if "_subtype_map" in vars(model) else self.closed(model)

    def kinds(self, model: Any) -> dict[str, Any]:
        ((attribute, kinds),) = model._subtype_map.items()
        wanted = KINDS.get(model.__name__, tuple(kinds))
        for kind in wanted:
            self.add(kinds[kind])
        key = model._attribute_map[attribute]["key"]
        mapping = {kind: f"#/$defs/{kinds[kind]}" for kind in wanted}
        return {"type": "object", "required": [key], "discriminator": {"propertyName": key, "mapping": mapping}}

    def closed(self, model: Any) -> dict[str, Any]:
        rules = getattr(model, "_validation", {})
        properties, required = {}, []
        for attribute, entry in model._attribute_map.items():
            schema = self.typed(entry["type"])
            if enum := self.enum(model, attribute):
                schema = {"type": "string", "enum": enum}
            rule = rules.get(attribute, {})
            schema |= {RULES[word]: value for word, value in rule.items() if word in RULES}
            if rule.get("readonly"):
                schema["readOnly"] = True
            elif rule.get("required"):
                required.append(entry["key"])
            properties[entry["key"]] = schema
        made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**made, "required": required} if required else made

    def typed(self, name: str) -> dict[str, Any]:
        if name in SCALARS:
            return dict(SCALARS[name])
        if name[0] == "[":
            return {"type": "array", "items": self.typed(name[1:-1])}
        if name[0] == "{":
            return {"type": "object", "additionalProperties": self.typed(name[1:-1])}
        self.add(name)
        return {"$ref": f"#/$defs/{name}"}

    def enum(self, model: Any, attribute: str) -> list[str] | None:
        for known in (model, *model.__mro__):
            text = known.__doc__ or ""
            if found := re.search(rf":vartype {attribute}: str or\s+~[\w.]+\.(\w+)", text):
                return [member.value for member in getattr(self.models, found[1])]
        return None


def main(wheel: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for version, roots in ROOTS.items():
            package = "v" + version.replace("-", "_")
            inside = f"azure/ai/ml/_restclient/{package}/models/"
            for name in archive.namelist():
                if name.startswith(inside):
                    place = Path(folder, package, name[len(inside) :])
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(archive.read(name))
            sys.path.insert(0, folder)
            conversion = Conversion(importlib.import_module(package))
            for root in roots:
                conversion.add(root)
            lines = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in sorted(conversion.definitions.items()))
            head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": ORIGIN.format(wheel.name)}
            body = json.dumps(head)[:-1] + ', "$defs": {\n' + ",\n".join(lines) + "\n}}\n"
            (target / f"{version}.json").write_text(body)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
