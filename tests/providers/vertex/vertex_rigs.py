"""Rigs of the contracts, each in a project of its own, wherever the variables of this process lead."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cloudml.testing.conformance import Rig, python_rig
from cloudml_vertex.plugin import Config, plugin

NUMBERS = itertools.count(1)


def new_bucket() -> str:
    from google.cloud import storage

    name = f"shop-{os.getpid()}-{next(NUMBERS)}"
    storage.Client(project=name).create_bucket(name)
    return name


def rig_over(transport: Literal["grpc", "rest"], folder: Path) -> Rig:
    def empty() -> Config:
        name = new_bucket()
        return Config(project=name, bucket=name, transport=transport)

    return python_rig(replace(plugin, pace=0.05), empty, folder)
