"""Progress on stderr: one line per change, and on a terminal one line that is rewritten."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest

from cloudml.cli.progress import CLEAR, Progress
from cloudml.events import Event, Happened
from cloudml.spi import Call
from cloudml.states import Key, Part, Phase, State

JOB = Key("job", "train-1", "shop-dev")
CALL = Call("StartJob", "train-1", {}, "it is new")


@dataclass
class Watch:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def state(phase: Phase, *parts: Part) -> State:
    return State(JOB, phase, "shop-dev", parts=parts)


def waiting(phase: Phase, *parts: Part) -> Event:
    return Event(Happened.WAITING, JOB, phase.value, state=state(phase, *parts))


DONE = Event(Happened.DONE, JOB, "done", state=state(Phase.SUCCEEDED))


def test_a_line_per_change_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for event in (waiting(Phase.PENDING), waiting(Phase.PENDING), waiting(Phase.RUNNING), DONE):
        progress(event)
    assert stream.getvalue() == "job train-1: pending\njob train-1: running\njob train-1: succeeded\n"


def test_what_is_tried_again_is_told_where_somebody_looks() -> None:
    again = Event(Happened.RETRYING, None, "ListJobs: no connection; again in 3.1 s")
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(stream=stream)
        progress(again)
        progress.close()
    assert terminal.getvalue().rpartition(CLEAR)[2] == "ListJobs: no connection; again in 3.1 s\n"
    assert file.getvalue() == "", "a log has the error in the end"


def test_the_running_line_is_rewritten_with_its_seconds_on_a_terminal() -> None:
    stream, watch = Terminal(), Watch()
    progress = Progress(stream=stream, now=watch)
    for second in (0.0, 0.2, 1.0, 1.2, 2.0):
        watch.now = second
        progress(waiting(Phase.RUNNING))
    progress(DONE)
    rewritten = "".join(f"{CLEAR}job train-1: running {second} s" for second in (0, 1, 2))
    assert stream.getvalue() == f"job train-1: running{rewritten}\njob train-1: succeeded\n"


@pytest.mark.parametrize("verbose", [False, True])
def test_calls_and_uploads_are_shown_only_when_asked_for(verbose: bool) -> None:
    stream = io.StringIO()
    progress = Progress(verbose=verbose, stream=stream)
    progress(Event(Happened.SENDING, JOB, "StartJob train-1: it is new", CALL))
    progress(Event(Happened.REFUSED, JOB, "taken", CALL))
    progress(Event(Happened.DONE, Key("artifact", "x", "shop-dev"), "done"))
    progress(Event(Happened.RETRYING, None, "StartJob: throttled; again in 0.2 s"))
    progress(Event(Happened.NOTE, JOB, "by the way"))
    shown = stream.getvalue().splitlines()
    assert shown[-1] == "job train-1: by the way"
    if verbose:
        assert shown[:2] == ["job train-1: StartJob train-1: it is new", "job train-1: refused taken"]
        assert "StartJob: throttled; again in 0.2 s" in shown[3]
    else:
        assert len(shown) == 1


def test_a_settled_resource_is_waited_for_because_of_a_part() -> None:
    stream = io.StringIO()
    Progress(stream=stream)(waiting(Phase.READY, Part("deployment", "green", "g", Phase.CREATING)))
    assert stream.getvalue() == "job train-1: deployment green creating\n"


def test_it_knows_the_run_that_goes_on() -> None:
    progress = Progress(stream=io.StringIO())
    progress(waiting(Phase.RUNNING))
    assert progress.busy == JOB
    progress(DONE)
    assert progress.busy is None


def test_quiet_only_listens() -> None:
    stream = io.StringIO()
    progress = Progress(quiet=True, stream=stream)
    progress(waiting(Phase.RUNNING))
    assert (stream.getvalue(), progress.busy) == ("", JOB)


def test_something_that_is_gone_was_removed() -> None:
    stream = io.StringIO()
    Progress(stream=stream)(Event(Happened.DONE, JOB, "done"))
    assert stream.getvalue() == "job train-1: removed\n"


def put(size: int | None, what: Happened) -> Event:
    document = {"key": "k"} if size is None else {"key": "k", "bytes": size}
    call = Call("PutArtifact", f"store/{'a' * 64}/train.csv", document, "not stored yet")
    return Event(what, Key("artifact", "k", "shop-dev"), "PutArtifact", call=call)


def test_an_upload_that_takes_its_time_is_told_with_its_size() -> None:
    stream, watch = io.StringIO(), Watch()
    progress = Progress(stream=stream, now=watch)
    for size in (None, 1000, 5 << 20, 3 << 30):
        progress(put(size, Happened.SENDING))
        watch.now += 1.5
        progress(put(size, Happened.SENT))
    name = "aaaaaaaa…/train.csv"
    assert stream.getvalue().splitlines() == [
        f"uploading {name}, 5.0 MiB",
        f"uploaded {name}, 5.0 MiB in 1.5 s",
        f"uploading {name}, 3.0 GiB",
        f"uploaded {name}, 3.0 GiB in 1.5 s",
    ]


def test_an_upload_is_one_line_on_a_terminal() -> None:
    stream, watch = Terminal(), Watch()
    progress = Progress(stream=stream, now=watch)
    progress(put(5 << 20, Happened.SENDING))
    progress(put(5 << 20, Happened.SENT))
    name = "aaaaaaaa…/train.csv"
    assert stream.getvalue() == f"uploading {name}, 5.0 MiB{CLEAR}uploaded {name}, 5.0 MiB in 0.0 s\n"


def test_counting_is_a_line_that_is_rewritten_and_nothing_without_a_terminal() -> None:
    counted = [Event(Happened.PROGRESS, Key("monitor", "api", "shop-dev"), f"{number},000 rows") for number in (1, 2)]
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        progress = Progress(stream=stream)
        for event in counted:
            progress(event)
        progress.close()
    assert terminal.getvalue().split(CLEAR)[-1] == "monitor api: 2,000 rows\n"
    assert terminal.getvalue().count("\n") == 1
    assert pipe.getvalue() == ""
