"""Cards of handles and the live display, as HTML; what an interruption says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest

from cloudml.client import Client, connect_plugin
from cloudml.errors import CloudmlError
from cloudml.events import Event, Happened
from cloudml.handles import EndpointHandle, Job, Log, ModelVersion
from cloudml.notebook import BAD, GOOD, Live, card, cell, detaching, grid, live
from cloudml.plan import Outcome, Plan
from cloudml.states import Key, Phase, State
from cloudml.testing.clouds import CLOUDS
from cloudml.testing.world import World
from cloudml.waiting import Clock

JOB = Key("job", "train-1", "shop-dev")


class Tags(HTMLParser):
    """Checks that every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def shown(html: str) -> str:
    """The text of well-formed HTML."""
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).strip()


@pytest.fixture
def client() -> Client:
    world = World()
    return connect_plugin(CLOUDS["nested"](world), "shop-dev", clock=world.clock)


def test_whatever_comes_from_outside_is_escaped() -> None:
    evil = "<script>alert('&')</script>"
    html = card(evil, evil, rows=[(evil, evil), ("m", {evil: evil}), ("l", [evil])], then=[evil]) + grid(
        [evil], [[evil]]
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 10
    assert cell('https://x/"><b>').startswith('<a href="https://x/&quot;&gt;&lt;b&gt;">')


def test_handles_say_their_state_and_what_can_be_typed_next(client: Client) -> None:
    job = client.train("train", command="train", params={"x": 1})
    assert "job.cancel()" in job._repr_html_()
    assert "accuracy 0.9 next job.register(" in shown(job.wait()._repr_html_())
    assert GOOD in job._repr_html_()
    model = job.register("fraud", alias="champion", sample_input=[[1.0]])
    said = shown(model._repr_html_())
    assert said.startswith("model fraud:1 aliases champion metrics accuracy 0.9 features 1 job train-")
    endpoint = client.deploy("fraud-api", model)
    said = shown(endpoint._repr_html_())
    assert said.startswith("endpoint fraud-api ● ready url ")
    assert "blue 100 %" in said
    monitor = endpoint.monitor(drift={"psi": 0.3})
    assert shown(monitor._repr_html_()).startswith("monitor of fraud-api ● not run yet drift psi 0.3 at least 200 rows")
    assert shown(client._repr_html_()).startswith("cloud nested stack shop-dev")
    endpoint.delete()
    assert shown(endpoint._repr_html_()) == "endpoint fraud-api ● gone"
    assert shown(monitor._repr_html_()) == "monitor of fraud-api ● nothing is watched"


def test_a_failed_run_is_red_and_says_why(client: Client) -> None:
    job = client.train("bad", command="fail")
    with pytest.raises(CloudmlError):
        job.wait()
    assert BAD in job._repr_html_()
    assert "exit code 1" in shown(job._repr_html_())


def test_a_provider_that_cannot_be_read_is_no_traceback(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise CloudmlError("the token <has> expired")

    for kind in (client.session.provider.jobs, client.session.provider.endpoints):
        monkeypatch.setattr(type(kind), "observe", denied)
    monkeypatch.setattr(type(client.session.provider.artifacts), "missing", denied)
    session = client.session
    for handle in (Job(session, "x"), EndpointHandle(session, "x"), ModelVersion(session, "x", "1", "0", "")):
        assert "cannot be read: the token &lt;has&gt; expired" in handle._repr_html_()


def test_plans_and_outcomes_are_tables() -> None:
    assert shown(Plan(())._repr_html_()) == "plan ● nothing to do"
    state = State(JOB, Phase.SUCCEEDED, "shop-dev")
    said = shown(Outcome({JOB: state}, (Key("endpoint", "old", "shop-dev"),))._repr_html_())
    assert said == "resource phase url job train-1 ● succeeded endpoint old not in the file"


@dataclass
class Notebook:
    """One display per cell: what each shows now."""

    number: int = 1
    now: float = 0.0
    displays: list[str] = field(default_factory=list)

    def listener(self) -> Live:
        return Live(lambda: self.number, self.show, lambda: self.now)

    def show(self, html: str):  # type: ignore[no-untyped-def]
        self.displays.append(html)
        at = len(self.displays) - 1
        return lambda changed: self.displays.__setitem__(at, changed)


def test_progress_is_one_display_for_each_cell() -> None:
    notebook = Notebook()
    tell = notebook.listener()
    file = Key("artifact", "x", "shop-dev")
    tell(Event(Happened.SENT, file, "put"))
    assert notebook.displays == [], "files alone are not worth a display"
    tell(Event(Happened.WAITING, JOB, "running", state=State(JOB, Phase.RUNNING, "shop-dev")))
    notebook.now = 3.2
    tell(Event(Happened.DONE, JOB, "done", state=State(JOB, Phase.SUCCEEDED, "shop-dev")))
    assert [shown(html) for html in notebook.displays] == ["files 1 stored job train-1 ● succeeded 3 s"]
    notebook.number = 2
    tell(Event(Happened.NOTE, None, "<b>by the way"))
    assert [shown(html) for html in notebook.displays[1:]] == ["note &lt;b&gt;by the way"]


def test_there_is_no_display_without_a_notebook() -> None:
    assert live() == []


def test_an_interruption_ends_the_waiting_and_says_how_to_end_the_rest() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, detaching("job x", "jobs.get('x').cancel() ends it"):
        raise KeyboardInterrupt
    assert caught.value.__notes__ == ["job x goes on; jobs.get('x').cancel() ends it"]


def test_a_wait_that_is_interrupted_leaves_the_run_going(client: Client) -> None:
    job = client.train("slow", command="sleep")

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    impatient = replace(client.session, clock=Clock(client.session.clock.now, stop))
    with pytest.raises(KeyboardInterrupt) as caught:
        Job(impatient, job.id).wait()
    assert caught.value.__notes__[0].startswith(f"job {job.id} goes on; cloud.jobs.get('{job.id}').cancel() ends it")
    assert not job.state.phase.settled
    client.jobs.get(job.id).cancel()
    assert job.state.phase is Phase.CANCELLED


def test_a_log_that_is_interrupted_says_so_too() -> None:
    def lines():  # type: ignore[no-untyped-def]
        yield "one"
        raise KeyboardInterrupt

    log = Log(lines(), "job x", "jobs.get('x').cancel() ends it")
    assert next(log) == "one"
    with pytest.raises(KeyboardInterrupt) as caught:
        next(log)
    assert "job x goes on" in caught.value.__notes__[0]


def test_a_notebook_prints_a_log_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    Log(iter(["one", "two"]), "job x", "")._ipython_display_()
    assert capsys.readouterr().out == "one\ntwo\n"
