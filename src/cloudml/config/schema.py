"""The JSON Schema of ``cloudml.yaml``, made from the specs; editors complete and check with it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from cloudml import specs

SHIPPED = "cloudml.schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
PLACEHOLDER = {"type": "string", "pattern": r"\$\{"}
TEXTS: dict[Any, JsonSchemaValue] = {
    specs.seconds: {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]$"},
    specs.size: {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[KMGT]i?B?$"},
}
SECTIONS: dict[str, type[BaseModel]] = {
    "jobs": specs.TrainingJob,
    "models": specs.Model,
    "endpoints": specs.Endpoint,
}


class _Written(GenerateJsonSchema):
    """What may be written: also ``4Gi`` and ``90s``, and ``${…}`` wherever a number or a boolean stands."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        text = TEXTS.get(schema["function"]["function"])
        return {"anyOf": [*inner["anyOf"], text]} if text else inner

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return {"anyOf": [super().int_schema(schema), PLACEHOLDER]}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), PLACEHOLDER]}

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return {"anyOf": [super().bool_schema(schema), PLACEHOLDER]}


def schema() -> dict[str, Any]:
    """The schema of a whole file. Overrides of environments may be partial, and null deletes."""
    references, document = models_json_schema(
        [(model, "validation") for model in SECTIONS.values()],
        by_alias=True,
        ref_template="#/$defs/{model}",
        schema_generator=_Written,
    )
    name = {"type": "string", "pattern": specs.NAME, "minLength": 3, "maxLength": 32}
    sections = {
        section: {
            "type": "object",
            "propertyNames": name,
            "additionalProperties": references[model, "validation"],
        }
        for section, model in SECTIONS.items()
    }
    part = {"type": ["object", "null"]}
    overrides = {section: {"type": "object", "additionalProperties": part} for section in SECTIONS}
    environment = {
        "type": "object",
        "required": ["provider"],
        "properties": {"provider": {"type": "string"}, "vars": {"type": "object"}, **overrides},
        "additionalProperties": True,
        "description": "A provider, its settings, and what differs from the rest of the file.",
    }
    for each in document["$defs"].values():
        each["properties"] = {name: _bounded(field) for name, field in each["properties"].items()}
    return {
        "$schema": DIALECT,
        "title": "cloudml.yaml",
        "type": "object",
        "required": ["version"],
        "additionalProperties": False,
        "patternProperties": {"^x-": {}},
        "properties": {
            "version": {"const": 1},
            "project": {"anyOf": [name, PLACEHOLDER]},
            "vars": {"type": "object"},
            **sections,
            "environments": {"type": "object", "additionalProperties": environment},
        },
        "$defs": document["$defs"],
    }


def _bounded(field: JsonSchemaValue) -> JsonSchemaValue:
    """Pydantic leaves the bound of a value that is converted first beside its forms; it holds for the number."""
    forms = [_bounded(each) for each in field.get("anyOf", ())]
    if "gt" in field:
        forms = [{**each, "exclusiveMinimum": field["gt"]} if "pattern" not in each else each for each in forms]
    flat = [inner for each in forms for inner in (each["anyOf"] if set(each) == {"anyOf"} else [each])]
    rest = {key: value for key, value in field.items() if key not in ("gt", "anyOf")}
    return {**rest, "anyOf": flat} if flat else rest


def text() -> str:
    """The schema as it is shipped."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def shipped() -> str:
    """What is shipped with this version."""
    return files("cloudml").joinpath(SHIPPED).read_text("utf-8")
