"""SageMaker with LocalStack behind it, for the session `localstack`, which makes the environment that it needs."""

from __future__ import annotations

import os

import pytest
from trial import Column, Plain
from trial_columns import started

from cloudml_sagemaker.emulator.localstack import VARIABLE

PYTHON = os.environ.get(VARIABLE)  # now: stories are told in a clean environment


@pytest.fixture(scope="session")
def column() -> Column:
    if PYTHON is None:
        pytest.skip("nox -s localstack makes the environment of LocalStack")
    os.environ[VARIABLE] = PYTHON
    return Column("sagemaker", Plain("localstack"), started("sagemaker"))
