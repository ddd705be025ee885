"""The quickstart by cloudml: python with_cloudml.py PROVIDER, in the quickstart's folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from stopwatch import Stopwatch

import cloudml as cm
from cloudml import config, plan
from cloudml.events import Event, Happened

STEPS = {"job": "train", "model": "register", "endpoint": "deploy"}

provider = sys.argv[1]
watch = Stopwatch(provider)


def done(event: Event) -> None:
    if event.what is Happened.DONE and event.key and event.key.kind in STEPS:
        watch.lap(STEPS[event.key.kind])


project = config.load(Path("cloudml.yaml"))
cloud = cm.connect(provider, project=project.name, env=provider, listeners=[done])
plan.apply(cloud, project)
watch.lap("deploy")
answer = cloud.endpoints.get("tumor-api").predict(json.loads(Path("data/typical.json").read_text()))
watch.lap("predict")
cloud = cm.connect(provider, project=project.name, env=provider)
plan.destroy(cloud, everything=True)
watch.lap("delete")
watch.tell([int(each) for each in answer])
