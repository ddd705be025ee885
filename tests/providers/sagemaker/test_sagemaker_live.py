"""On a real account, for those who have one: ``CLOUDML_LIVE=sagemaker``, with a role and a bucket as the README says.

A job that trains for seconds, a version of its model, and nothing left. An endpoint too if ``CLOUDML_SAGEMAKER_IMAGE``
names an image that was pushed. Costs some cents.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloudml
from cloudml.client import Client

LIVE = "sagemaker" in os.environ.get("CLOUDML_LIVE", "").split(",")
pytestmark = pytest.mark.skipif(not LIVE, reason="live: set CLOUDML_LIVE=sagemaker, and have an AWS account")
TRAIN = "open('{model_dir}/model.py', 'w').write('" + r"class Model:\n    def __init__(self, folder): pass\n"
TRAIN += r"    def predict(self, rows): return [sum(row) for row in rows]\n" + "'); "
TRAIN += "print('#cloudml.metric name=auc value=0.9')"


@pytest.fixture
def client() -> Iterator[Client]:
    made = cloudml.connect("sagemaker", project=f"live-{uuid.uuid4().hex[:6]}")
    yield made
    from cloudml.plan import destroy

    destroy(made, everything=True)
    assert made.session.provider.artifacts.missing([made.stack]) == {made.stack}
    assert not list(made.session.provider.jobs.list(made.stack))


def test_a_job_trains_and_its_model_is_registered(client: Client, tmp_path: Path) -> None:
    job = client.train("live", command=["python3", "-c", TRAIN], timeout="10m", wait=True, deadline=1800)
    assert job.metrics == {"auc": 0.9}
    assert list(job.logs())
    version = job.register("live", alias="champion")
    assert version.uri.startswith("s3://")
    if os.environ.get("CLOUDML_SAGEMAKER_IMAGE"):
        endpoint = client.deploy("live-api", version, deadline=1800)
        assert endpoint.predict([[1, 2]]) == [3]
