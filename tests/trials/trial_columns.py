"""The columns of this session: each cloud in each condition that can be had with what it installs."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from trial import Column, Plain
from trial_conditions import Failing, InContainers, Slow, Throttled

from cloudml import plugins
from cloudml.emulation import Cloud, Emulator, Site
from cloudml.emulation.running import Running, start
from cloudml.errors import CloudmlError
from cloudml.images import build, recipe
from cloudml.images.daemon import connect
from cloudml_sagemaker.instances import training_image

SERVE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudml-serve:1"  # where nobody pushed anything
TRAIN = ("python:3.11-slim", training_image("us-east-1", "ml.m5.large"))


def started(provider: str, **how: Any) -> Callable[[], Running]:
    return lambda: start([plugins.emulator(provider)], **how)


def without_grpc(emulator: Emulator) -> Emulator:
    """The same with no host that speaks gRPC: whoever is served speaks REST."""

    def begin(site: Site) -> Cloud:
        cloud = emulator.start(site)
        return replace(cloud, routes=[replace(route, grpc=None) for route in cloud.routes])

    return replace(emulator, start=begin)


def on_docker(provider: str) -> Running:
    """Trains in the base image, which has a Python of its own, and serves from the universal image."""
    try:
        engine = connect()
    except CloudmlError as error:
        pytest.skip(f"{error}: {error.hint}")
    base = os.environ.get("CLOUDML_IMAGE_BASE") or "cloudml-base:bookworm"
    with contextlib.closing(engine):
        if not engine.images.list(base):
            pytest.skip(f"there is no image {base}: CLOUDML_IMAGE_BASE names one with Python 3.11 and pip")
        with open(__file__) as lock:  # one worker builds, others find it
            fcntl.flock(lock, fcntl.LOCK_EX)
            universal = build(recipe(base), lambda _: None, client=engine)
    images = {**dict.fromkeys(TRAIN, base), SERVE: universal.name}
    return start([plugins.emulator(provider)], engine="docker", images=images)


def in_containers(provider: str) -> Column:
    return Column(provider, InContainers(), lambda: on_docker(provider), {"image": SERVE})


def slow(provider: str) -> Column:
    condition = Slow()
    return Column(provider, condition, started(provider, lifecycle=condition.lifecycle))


def throttled(provider: str) -> Column:
    return Column(provider, Throttled(), started(provider))


def failing(provider: str) -> Column:
    return Column(provider, Failing(), started(provider))


def by_rest(provider: str) -> Column:
    emulator = plugins.emulator
    return Column(provider, Plain("rest"), lambda: start([without_grpc(emulator(provider))]), {"transport": "rest"})
