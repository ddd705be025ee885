"""What the endpoint says about itself: names, the model's metadata, limits, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from cloudml.runtime import dialects
from cloudml.runtime.flavors import LoadedModel
from cloudml.runtime.rows import Features

MIB = 1 << 20
TRANSFORMS = 100  # MiB: SageMaker's bound for the product of concurrent transforms and payload
Json = dict[str, Any]


@dataclass(frozen=True)
class Names:
    """What this process serves, and under which name; None where nobody said."""

    model: str | None = None
    version: str | None = None
    endpoint: str | None = None
    deployment: str | None = None

    @property
    def called(self) -> str:
        return self.model or "model"


def version() -> str:
    """The version of this distribution; ``0`` where it is not installed."""
    try:
        return metadata.version("cloudml-sdk")
    except metadata.PackageNotFoundError:
        return "0"


def model_metadata(model: LoadedModel, names: Names) -> Json:
    """The Open Inference Protocol's metadata of a model."""
    features = model.features
    inputs = []
    if features.width is not None:
        datatype = "BYTES" if features.texts is None or features.texts else "FP64"
        inputs = [{"name": "inputs", "datatype": datatype, "shape": [-1, features.width]}]
    return {
        "name": names.called,
        "versions": [names.version] if names.version else [],
        "platform": model.flavor,
        "inputs": inputs,
        "outputs": [{"name": "predictions", "datatype": "FP64", "shape": [-1]}],
        "parameters": {"methods": sorted(model.methods), "features": features.names},
    }


def execution_parameters(body: int) -> Json:
    """How SageMaker's batch transform may call, for a server that reads bodies of ``body`` bytes at most."""
    payload = min(max(1, body // MIB), TRANSFORMS)
    return {
        "MaxConcurrentTransforms": max(1, TRANSFORMS // payload),
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": payload,
    }


def openapi(model: LoadedModel, names: Names, predict: Iterable[str], health: Iterable[str]) -> Json:
    """The OpenAPI 3.0 document of the routes that take rows (``predict``) and of those that tell health."""
    rows = _rows(model.features)
    return {
        "openapi": "3.0.3",
        "info": {"title": names.called, "version": names.version or "0"},
        "paths": {
            **{path: {"post": _predict(path, model)} for path in predict},
            **{path: {"get": _health(path)} for path in health},
        },
        "components": {
            "schemas": {
                "Rows": rows,
                "Records": {"type": "array", "items": _record(model.features)},
                "Request": _request(model),
                "Predictions": {
                    "type": "object",
                    "required": ["predictions"],
                    "properties": {"predictions": {"type": "array", "items": {}}},
                },
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                },
            }
        },
    }


def _predict(path: str, model: LoadedModel) -> Json:
    text: Json = {"schema": {"type": "string"}}
    binary: Json = {dialects.PARQUET.decode(): {"schema": {"type": "string", "format": "binary"}}}
    return {
        "operationId": "predict" + _identifier(path),
        "summary": f"Predictions of a model of flavor {model.flavor}",
        "requestBody": {
            "required": True,
            "content": {
                dialects.JSON.decode(): {"schema": _ref("Request")},
                **{kind.decode(): text for kind in (dialects.CSV, dialects.JSON_LINES)},
                **(binary if find_spec("pyarrow") else {}),
            },
        },
        "responses": {
            "200": {
                "description": "One prediction for each row, in their order",
                "content": {
                    dialects.JSON.decode(): {"schema": _ref("Predictions")},
                    **{kind.decode(): text for kind in (dialects.CSV, dialects.JSON_LINES)},
                },
            },
            "400": _failure("The body cannot be read, or its rows are not what the model takes"),
            "413": _failure("The body is too long"),
            "415": _failure("The content type is not read here"),
            "503": _failure("Not ready, or too busy"),
            "default": _failure("Any other failure"),
        },
    }


def _health(path: str) -> Json:
    answer = {"description": "Yes", "content": {dialects.JSON.decode(): {"schema": {"type": "object"}}}}
    return {
        "operationId": "health" + _identifier(path),
        "responses": {"200": answer, "503": _failure("Loading or shutting down")},
    }


def _identifier(path: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in path)


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _failure(description: str) -> Json:
    return {"description": description, "content": {dialects.JSON.decode(): {"schema": _ref("Error")}}}


def _request(model: LoadedModel) -> Json:
    """A bare list of rows, or an object with exactly one envelope."""
    rows, records, columns = _ref("Rows"), _ref("Records"), {"type": "array", "items": {"type": "string"}}
    split: Json = {
        "type": "object",
        "required": ["data"],
        "properties": {"columns": columns, "data": rows},
    }
    held = {
        "instances": rows,
        "inputs": rows,
        "data": rows,
        "input_data": rows,
        "dataframe_split": split,
        "dataframe_records": records,
    }
    parameters: Json = {
        "type": "object",
        "properties": {"method": {"type": "string", "enum": sorted(model.methods)}},
    }
    envelopes = [
        {
            "type": "object",
            "required": [name],
            "properties": {name: schema, "parameters": parameters},
            "additionalProperties": False,
        }
        for name, schema in held.items()
        if name != "dataframe_records" or model.features.names or model.features.width is None
    ]
    return {"oneOf": [rows, *envelopes]}


def _rows(features: Features) -> Json:
    if features.width is None:
        return {"type": "array", "items": {}}
    values = [_value(features, index) for index in range(features.width)]
    kinds = [kind for number, kind in enumerate(values) if kind not in values[:number]]
    item: Json = {"type": "array", "minItems": features.width, "maxItems": features.width}
    item["items"] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return {"type": "array", "items": {"anyOf": [item, _record(features)]} if features.names else item}


def _record(features: Features) -> Json:
    """One row as an object: the features by their names."""
    if features.names is None:
        return {"type": "object"}
    return {
        "type": "object",
        "required": list(features.names),
        "properties": {name: _value(features, index) for index, name in enumerate(features.names)},
        "additionalProperties": False,
    }


def _value(features: Features, index: int) -> Json:
    if features.texts is None:
        return {"anyOf": [{"type": kind} for kind in ("number", "string", "boolean")]}
    return {"type": "string" if index in features.texts else "number"}
