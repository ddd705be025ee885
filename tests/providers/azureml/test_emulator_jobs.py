"""Command jobs that run: what they find, what they leave, and every way in which they end."""

from __future__ import annotations

import time

import pytest
from azure_account import DEPLOYMENTS, JOBS, Account, until

from cloudml.emulation.faults import Fault, Trouble

INPUT, OUTPUT = "${{inputs.data}}", "${{outputs.out}}"


def test_inputs_of_every_kind(account: Account) -> None:
    file = account.put("in/file.txt", "from-file")
    account.put("in/folder/a.txt", "a")
    folder = account.put("in/folder/deep/b.txt", "b").removesuffix("deep/b.txt")
    asset = {"properties": {"dataUri": file, "dataType": "uri_file"}}
    id = account.ask("PUT", "data/d/versions/1", DEPLOYMENTS, asset)["id"]
    inputs = {
        "file": {"jobInputType": "uri_file", "uri": file},
        "folder": {"jobInputType": "uri_folder", "uri": folder},
        "asset": {"jobInputType": "uri_file", "uri": id, "mode": "Download"},
        "direct": {"jobInputType": "uri_file", "uri": file, "mode": "Direct"},
        "word": {"jobInputType": "literal", "value": "spoken"},
    }
    command = "cat ${{inputs.file}} ${{ inputs.asset }}; cd ${{inputs.folder}}; find . -type f | sort;"
    command += "echo ${{inputs.direct}} ${{inputs.word}} $AZURE_ML_INPUT_word"
    account.job("j", command, inputs=inputs)
    assert account.finished("j")["status"] == "Completed"
    assert account.log("j").split() == ["from-filefrom-file./a.txt", "./deep/b.txt", file, "spoken", "spoken"]


def test_an_input_cannot_be_written_and_its_code_can(account: Account) -> None:
    inputs = {"data": {"jobInputType": "uri_file", "uri": account.put("in/x.txt", "x")}}
    code = account.code(train="open('beside.txt', 'w').write('y')")
    account.job("j", f"python train.py && cat beside.txt && (echo z > {INPUT}) 2>&1", inputs=inputs, codeId=code)
    # Where the kernel makes no boxes, nothing keeps a process from writing; the blob keeps its content all the same.
    boxed = getattr(account.emulated.azure.site.containers, "note", None) is None
    assert account.finished("j")["status"] == ("Failed" if boxed else "Completed"), account.log("j")
    assert account.log("j").startswith("y")
    assert account.blob("in/x.txt", "azureml-blobstore") == "x"


def test_outputs_go_where_the_resource_says(account: Account) -> None:
    outputs = {
        "out": {"jobOutputType": "uri_folder"},
        "file": {"jobOutputType": "uri_file"},
        "placed": {"jobOutputType": "custom_model", "uri": "azureml://datastores/workspaceblobstore/paths/my/place/"},
    }
    command = f"echo one > {OUTPUT}/1.txt; echo two > ${{{{outputs.file}}}}; mkdir ${{{{outputs.placed}}}}/m;"
    command += "echo three > ${{outputs.placed}}/m/3.txt; mkdir outputs logs; echo four > outputs/4; echo five > logs/5"
    made = account.job("j", command, outputs=outputs)["properties"]["outputs"]
    assert made["out"]["uri"] == "azureml://datastores/workspaceblobstore/paths/azureml/j/out/"
    assert account.finished("j")["status"] == "Completed", account.log("j")
    blobs = {
        name: account.blob(name, "azureml-blobstore")
        for name in ("azureml/j/out/1.txt", "azureml/j/file", "my/place/m/3.txt")
    }
    assert [*blobs.values()] == ["one\n", "two\n", "three\n"]
    assert account.log("j", "outputs/4") == "four\n"
    assert account.log("j", "logs/5") == "five\n"
    told = account.history("POST", "rundata", {"runId": "j"})["runMetadata"]["outputs"]
    assert {name: each["type"] for name, each in told.items()} == {
        "out": "uri_folder",
        "file": "uri_file",
        "placed": "CustomModel",
    }


def test_variables_of_the_job_and_of_the_run(account: Account) -> None:
    account.job("j", "echo $MINE $AZUREML_RUN_ID $AZUREML_ARM_PROJECT_NAME; pwd", environmentVariables={"MINE": "mine"})
    account.finished("j")
    assert account.log("j").split()[:3] == ["mine", "j", "Default"]


def test_the_log_can_be_read_while_it_is_written(account: Account) -> None:
    waiting = account.put("in/go.txt", "go")
    inputs = {"data": {"jobInputType": "uri_file", "uri": waiting}}
    account.job("j", f"echo first; sleep 1000 & wait $!; cat {INPUT}", inputs=inputs)
    until(lambda: account.log("j"), lambda log: log == "first\n")
    assert "user_logs/std_log.txt" in account.details("j")["logFiles"]
    assert account.seen("j")["status"] == "Running"
    account.ask("POST", "jobs/j/cancel", DEPLOYMENTS)
    assert account.finished("j")["status"] == "Canceled"


def test_a_failing_script_is_told_with_its_exit_code(account: Account) -> None:
    account.job("j", "echo boom >&2; exit 3", outputs={"out": {"jobOutputType": "uri_folder"}})
    assert account.finished("j")["status"] == "Failed"
    error = account.details("j")["error"]["error"]
    assert error["code"] == "UserError"
    assert "exited with status code 3" in error["message"]
    assert "user_logs/std_log.txt" in error["message"]
    assert account.log("j") == "boom\n"


def test_what_an_input_names_is_looked_for_when_it_runs(account: Account) -> None:
    inputs = {"data": {"jobInputType": "uri_file", "uri": "azureml://datastores/workspaceblobstore/paths/no/such"}}
    assert account.job("j", f"cat {INPUT}", inputs=inputs)["properties"]["status"] == "Starting"
    assert account.finished("j")["status"] == "Failed"
    assert "no/such" in account.details("j")["error"]["error"]["message"]


def test_cancel_ends_it_and_keeps_what_it_left(account: Account) -> None:
    command = f"trap 'echo late > {OUTPUT}/late; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    account.job("j", command, outputs={"out": {"jobOutputType": "uri_folder"}})
    until(lambda: account.log("j"), lambda log: log == "ready\n")
    answer = account.send("POST", "jobs/j/cancel", DEPLOYMENTS)
    assert answer is not None
    assert answer.status == 202
    place = answer.headers["Location"].removeprefix("https://management.azure.com").split("?")[0]

    def result() -> int:
        looked = account.send("GET", place, DEPLOYMENTS)
        assert looked is not None
        return looked.status

    until(result, lambda status: status == 200)
    assert account.seen("j")["status"] == "Canceled"
    assert account.blob("azureml/j/out/late", "azureml-blobstore") == "late\n"
    assert account.send("POST", "jobs/j/cancel", DEPLOYMENTS).status == 202  # type: ignore[union-attr]
    assert account.seen("j")["status"] == "Canceled"


def test_a_job_that_takes_too_long_is_cancelled_by_the_service(account: Account) -> None:
    account.job("j", "echo begun; sleep 1000", limits={"jobLimitsType": "Command", "timeout": "PT1S"})
    assert account.finished("j")["status"] == "Canceled"
    assert "maximum run duration of PT1S" in account.details("j")["warnings"][0]["message"]


def test_a_spot_job_goes_on_from_its_checkpoint(account: Account) -> None:
    name = f"spot-{account.subscription}"
    outputs = {"out": {"jobOutputType": "uri_folder"}, "late": {"jobOutputType": "uri_folder", "mode": "Upload"}}
    late = "${{outputs.late}}"  # is uploaded at the end, so nothing of it outlives the machine
    command = f"cat {OUTPUT}/step && ls {late} && exit 0; echo checkpoint | tee {OUTPUT}/step > {late}/lost;"
    command += "echo saved; sleep 1000"
    account.job(name, command, outputs=outputs, queueSettings={"jobTier": "Spot"})
    until(lambda: account.log(name), lambda log: "saved" in log)
    account.emulated.faults.add(Fault(Trouble.PREEMPT, "PUT jobs", name))
    assert account.finished(name)["status"] == "Completed"
    assert account.log(name).splitlines()[1:] == [
        "saved",
        "checkpoint",
    ]  # the first line is of the cat that found nothing
    assert "preempted" in account.details(name)["warnings"][0]["message"]


def test_only_spot_machines_are_taken_away(account: Account) -> None:
    fault = Fault(Trouble.PREEMPT, "PUT jobs", f"kept-{account.subscription}")
    account.emulated.faults.add(fault)
    account.job(fault.target, "sleep 0.5; echo kept")
    assert account.finished(fault.target)["status"] == "Completed"
    assert account.log(fault.target) == "kept\n"
    assert account.emulated.faults.take("PUT jobs", fault.target) == fault


@pytest.mark.parametrize(("trouble", "code"), [(Trouble.CAPACITY, "AllocationFailed"), (Trouble.FAIL, "SystemError")])
def test_a_job_that_was_ordered_to_fail(account: Account, trouble: Trouble, code: str) -> None:
    name = f"f-{account.subscription}"
    account.emulated.faults.add(Fault(trouble, "PUT jobs", name))
    account.job(name, "echo never")
    assert account.finished(name)["status"] == "Failed"
    assert account.details(name)["error"]["error"]["code"] == code
    assert account.log(name) == ""


def test_processes_of_two_nodes_meet(account: Account) -> None:
    meet = """
import os, socket
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    with socket.create_server(("0.0.0.0", place[1])) as server:
        met = sorted(server.accept()[0].recv(10).decode() for _ in range(size - 1))
    print("met", *met, flush=True)
else:
    while True:
        try:
            with socket.create_connection(place) as connection:
                connection.sendall(f"{os.environ['NODE_RANK']}.{os.environ['LOCAL_RANK']}".encode())
            break
        except OSError:
            continue
"""
    distribution = {"distributionType": "PyTorch", "processCountPerInstance": 2}
    resources = {"instanceCount": 2}
    account.job("j", "python meet.py", codeId=account.code(meet=meet), distribution=distribution, resources=resources)
    assert account.finished("j")["status"] == "Completed", account.log("j", "user_logs/std_log_process_0.txt")
    assert account.log("j", "user_logs/std_log_process_0.txt") == "met 0.1 1.0 1.1\n"


def test_one_process_that_fails_ends_the_others(account: Account) -> None:
    command = 'if [ "$RANK" = 1 ]; then echo broken; exit 4; fi; sleep 1000'
    account.job("j", command, distribution={"distributionType": "PyTorch"}, resources={"instanceCount": 2})
    assert account.finished("j")["status"] == "Failed"
    message = account.details("j")["error"]["error"]["message"]
    assert "status code 4" in message, message
    assert account.log("j", "user_logs/std_log_process_1.txt") == "broken\n"


def test_a_job_keeps_its_content(account: Account) -> None:
    account.job("j", "true", tags={"a": "1"})
    body = {"jobType": "Command", "command": "true", "environmentId": account.environment()}
    again = account.send("PUT", "jobs/j", JOBS, {"properties": {**body, "tags": {"a": "2"}}})
    assert again is not None
    assert (again.status, again.body["properties"]["tags"]) == (200, {"a": "2"})
    status, error = account.refused("PUT", "jobs/j", JOBS, {"properties": {**body, "command": "false"}})
    assert status == 409
    assert "command cannot be changed" in error["message"]


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"environmentId": "azureml:nothing:1"}, 404, "nothing"),
        ({"computeId": "/x/computes/no-cluster"}, 400, "no-cluster"),
        ({"codeId": "azureml:nothing:1"}, 404, "nothing"),
        ({"command": "cat ${{inputs.no}}"}, 400, "inputs.no"),
    ],
)
def test_what_a_job_names_must_be_there(account: Account, changed: dict[str, str], status: int, said: str) -> None:
    body = {"jobType": "Command", "command": "true", "environmentId": account.environment(), **changed}
    refused, error = account.refused("PUT", "jobs/j", JOBS, {"properties": body})
    assert (refused, said in error["message"]) == (status, True), error
    assert account.refused("GET", "jobs/j", JOBS)[0] == 404


def test_lists_leave_archived_jobs_out_and_delete_wants_an_end(account: Account) -> None:
    account.job("one", "true")
    account.job("two", "sleep 1000")
    account.finished("one")
    account.history("PATCH", "experiments/Default/runs/one", {"hidden": True, "tags": {"a": "b"}})
    names = {view: [job["name"] for job in account.ask("GET", "jobs", "2024-01-01-preview", listViewType=view)["value"]]
             for view in ("ActiveOnly", "ArchivedOnly", "All")}  # fmt: skip
    assert names == {"ActiveOnly": ["two"], "ArchivedOnly": ["one"], "All": ["two", "one"]}
    assert account.seen("one")["tags"] == {"a": "b"}
    assert account.refused("DELETE", "jobs/two", DEPLOYMENTS)[0] == 409
    account.ask("DELETE", "jobs/one", DEPLOYMENTS)
    assert account.refused("GET", "jobs/one", JOBS)[0] == 404
    account.ask("POST", "jobs/two/cancel", DEPLOYMENTS)
    before = time.monotonic()
    assert account.finished("two")["status"] == "Canceled"
    assert time.monotonic() - before < 30
