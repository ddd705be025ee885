"""Alarms that evaluate: LocalStack's CloudWatch looks at the metrics that the emulated endpoint writes there."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aws_account import Account, eventually, saying, variant
from botocore.exceptions import ClientError

FAILING = """
class Model:
    def predict(self, rows):
        raise RuntimeError("out of order")
def load(path):
    return Model()
"""
METRIC = "Invocation5XXErrors"
EVERY = 10  # seconds: the shortest period of a metric that is not a custom one of high resolution


class Subscriber:
    """An HTTP server of the loopback that somebody subscribes to a topic: what it is sent, in order."""

    def __init__(self) -> None:
        heard: queue.Queue[dict[str, Any]] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.heard = heard
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    made = Subscriber()
    yield made
    made.close()


def watched(aws: Account, name: str, **more: Any) -> None:
    """An alarm that goes off as soon as a call of an endpoint was answered with an error of the server."""
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName=METRIC,
        Statistic="Sum",
        Period=EVERY,
        EvaluationPeriods=1,
        Threshold=0.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        **more,
    )


def of(endpoint: str, variant: str) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]


def state(aws: Account, name: str) -> str:
    found: str = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]
    return found


def test_an_endpoint_that_fails_sets_off_its_alarm_and_the_topic_tells(aws: Account, subscriber: Subscriber) -> None:
    topics, queues = aws.client("sns"), aws.client("sqs")
    topic = topics.create_topic(Name="alarms")["TopicArn"]
    topics.subscribe(TopicArn=topic, Protocol="http", Endpoint=subscriber.url)
    token = subscriber.heard.get(timeout=60)["Token"]
    topics.confirm_subscription(TopicArn=topic, Token=token)
    url = queues.create_queue(QueueName="alarms")["QueueUrl"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{aws.id}:alarms")

    aws.model("broken", FAILING)
    aws.config("broken", variant("v", "broken"))
    aws.endpoint("broken", "broken")
    watched(aws, "errors", Dimensions=of("broken", "v"), AlarmActions=[topic])
    eventually(lambda: state(aws, "errors") == "OK", "no error so far")

    def asked() -> bool:
        with suppress(ClientError):
            aws.ask("broken")
        return state(aws, "errors") == "ALARM"

    eventually(asked, "the alarm")
    told = json.loads(subscriber.heard.get(timeout=60)["Message"])
    assert (told["AlarmName"], told["OldStateValue"], told["NewStateValue"]) == ("errors", "OK", "ALARM")
    assert told["Trigger"]["MetricName"] == METRIC
    (message,) = queues.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
    assert json.loads(json.loads(message["Body"])["Message"])["NewStateValue"] == "ALARM"


def test_an_update_that_fails_its_callers_is_rolled_back_by_the_alarm(aws: Account) -> None:
    aws.model("blue", saying("blue"))
    aws.config("one", variant("v", "blue"))
    aws.endpoint("shop", "one")
    aws.model("broken", FAILING)
    aws.config("two", variant("w", "broken"))
    watched(aws, "errors", Dimensions=of("shop", "w"))
    eventually(lambda: state(aws, "errors") == "OK", "no error so far")
    half = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 3600}
    aws.sm.update_endpoint(
        EndpointName="shop",
        EndpointConfigName="two",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": half},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
        },
    )
    seen: set[str] = set()

    def over() -> bool:
        try:
            seen.add(aws.ask("shop"))
        except ClientError as error:
            seen.add(error.response["Error"]["Code"])
        status: str = aws.sm.describe_endpoint(EndpointName="shop")["EndpointStatus"]
        return status == "InService"

    eventually(over, "the end of the update")
    assert seen == {"blue", "ModelError"}, "both versions were asked"
    found = aws.sm.describe_endpoint(EndpointName="shop")
    assert found["EndpointConfigName"] == "one"
    assert {aws.ask("shop") for _ in range(4)} == {"blue"}
    changes = aws.client("cloudwatch").describe_alarm_history(AlarmName="errors", HistoryItemType="StateUpdate")
    assert any("to ALARM" in each["HistorySummary"] for each in changes["AlarmHistoryItems"])
