"""A monitor's schedule whose runs are containers of the universal image itself, as the cloud would start them."""

from __future__ import annotations

import pytest
from trial import Column, Trial, until
from trial_columns import in_containers

from cloudml.testing.conformance import python_model

AWS = in_containers("sagemaker")


@pytest.fixture(scope="session", params=[pytest.param(AWS, id=str(AWS), marks=pytest.mark.xdist_group(str(AWS)))])
def column(request: pytest.FixtureRequest) -> Column:
    found: Column = request.param
    return found


def test_a_schedule_s_run_is_kept_and_read_back(trial: Trial) -> None:
    client, table = trial.connect(), trial.folder / "train.csv"
    table.write_text("amount,age\n" + "".join(f"{row % 10},{20 + row % 30}\n" for row in range(300)))
    client.models.register("fraud", str(python_model(trial.folder / "model", "0")), baseline=str(table))
    endpoint = client.deploy("fraud-api", "fraud", capture=1.0)
    monitor = endpoint.monitor(drift={"psi": 0.2}, min_samples=100, schedule="0 * * * *")
    endpoint.predict([[row % 10 + 50, 20 + row % 30] for row in range(200)])
    run = until(monitor.last)
    assert run is not None
    assert (run.report.samples, run.report.drifted) == (200, True)
    assert "<figure" in run.html()
