"""A pipeline tested on every cloud that is emulated here: pytest examples/emulated, or --cloud vertex for one of them.

The fixture comes with cloudml: no conftest, no account, no network. Each test has an account of its own.
"""

import pytest

from cloudml import plan
from cloudml.emulation.faults import Fault, Trouble
from cloudml.errors import RunFailed
from cloudml.testing.emulated import EmulatedCloud

TRAIN = """
import pathlib, sys
pathlib.Path(sys.argv[1], "model.py").write_text('''
class Model:
    def predict(self, rows):
        return [sum(row) + BIAS for row in rows]
def load(folder):
    return Model()
'''.replace("BIAS", sys.argv[2]))
"""


def train(bias: int) -> tuple[str, ...]:
    """A command that leaves a model: it adds up a row, and ``bias``."""
    return ("python", "-c", TRAIN, "{model_dir}", str(bias))


def test_a_model_is_trained_and_answers_although_the_cloud_throttles(emulated_cloud: EmulatedCloud) -> None:
    cloud = emulated_cloud.connect("shop")
    emulated_cloud.faults.add(Fault(Trouble.THROTTLE, times=2))  # the next two calls, whatever they are
    version = cloud.train("train", command=train(bias=100)).wait(120).register("sums")
    endpoint = cloud.deploy("sums-api", version, deadline=120)
    assert endpoint.predict([[1, 2], [3, 4]]) == [103, 107]
    assert list(emulated_cloud.faults) == [], "the cloud was never asked to slow down"

    plan.destroy(cloud, everything=True)
    assert [*cloud.jobs.list(), *cloud.models.list(), *cloud.endpoints.list()] == []


def test_a_job_that_fails_says_its_own_last_words(emulated_cloud: EmulatedCloud) -> None:
    cloud = emulated_cloud.connect("shop")
    with pytest.raises(RunFailed, match="no column 'age'"):
        cloud.train("train", command=("python", "-c", "raise SystemExit(\"no column 'age'\")")).wait(120)
