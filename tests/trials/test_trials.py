"""The ten stories on every emulated cloud, in every condition that it can be in."""

from __future__ import annotations

from trial_columns import by_rest, failing, in_containers, slow, throttled
from trial_stories import Stories


class TestSageMakerInContainers(Stories):
    column = in_containers("sagemaker")


class TestAzureMLInContainers(Stories):
    column = in_containers("azureml")


class TestVertexInContainers(Stories):
    column = in_containers("vertex")


class TestAzureMLWhereOperationsFail(Stories):
    column = failing("azureml")


class TestSlowSageMaker(Stories):
    column = slow("sagemaker")


class TestSlowAzureML(Stories):
    column = slow("azureml")


class TestSlowVertex(Stories):
    column = slow("vertex")


class TestThrottledSageMaker(Stories):
    column = throttled("sagemaker")


class TestThrottledAzureML(Stories):
    column = throttled("azureml")


class TestThrottledVertex(Stories):
    column = throttled("vertex")


class TestVertexByRest(Stories):
    column = by_rest("vertex")
