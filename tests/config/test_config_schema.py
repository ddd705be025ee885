"""The JSON Schema that editors use: made from the specs, and shipped as it is made."""

from __future__ import annotations

import re

from cloudml import specs
from cloudml.config.schema import SECTIONS, schema, shipped, text

HOW = (
    "run: python -c 'from cloudml.config.schema import text; print(text(), end=\"\")' > src/cloudml/cloudml.schema.json"
)


def test_what_is_shipped_is_current() -> None:
    assert shipped() == text(), HOW


def test_every_field_is_in_it_and_nothing_else_is_allowed() -> None:
    found = schema()["$defs"]
    for model in (*SECTIONS.values(), specs.Deployment, specs.Resources, specs.Scale, specs.Baseline, specs.Monitor):
        names = {field.alias or name for name, field in model.model_fields.items()}
        assert set(found[model.__name__]["properties"]) == names
        assert found[model.__name__]["additionalProperties"] is False


def test_sizes_durations_and_placeholders_may_be_written() -> None:
    found = schema()["$defs"]

    def taken(model: str, field: str, value: str) -> bool:
        kinds = found[model]["properties"][field]["anyOf"]
        assert all("anyOf" not in kind for kind in kinds)
        return any("pattern" in kind and re.search(kind["pattern"], value) for kind in kinds)

    assert taken("Resources", "memory", "4Gi")
    assert taken("TrainingJob", "timeout", "90s")
    assert taken("TrainingJob", "nodes", "${vars.nodes}")
    assert taken("TrainingJob", "spot", "${vars.spot}")
    assert not taken("TrainingJob", "timeout", "soon")
    assert {"type": "integer", "exclusiveMinimum": 0} in found["Resources"]["properties"]["memory"]["anyOf"]
