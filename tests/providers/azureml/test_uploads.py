"""Uploads of blobs that are cut or refused on their way: sent again from the beginning, and nothing half is taken."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azure_account import Account
from blob_relay import Doored, Order
from cli_told import CommandLine

from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model

line = CommandLine("azureml")
LARGE = (64 << 20) + 5  # bytes: more than the SDK sends as one request, so blocks
BLOCK = 4 << 20  # bytes that it puts into one
MODEL = "models: {fraud: {path: model}}"
SENT_AGAIN = 4  # times that a call goes out whose answer is lost each time


@pytest.fixture(scope="module")
def doored() -> Iterator[Doored]:
    made = Doored()
    yield made
    made.up.close()


@pytest.fixture
def here(doored: Doored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a model, and a new subscription."""
    with emulation.environment(doored.up.environment):
        subscription = str(uuid.uuid4())
        for variable in ("AZURE_SUBSCRIPTION_ID", "CLOUDML_AZUREML_SUBSCRIPTION"):
            monkeypatch.setenv(variable, subscription)
        monkeypatch.chdir(tmp_path)
        python_model(tmp_path / "model", "1")
        doored.relay.orders.clear()
        doored.relay.puts.clear()
        yield tmp_path


@pytest.fixture
def account(doored: Doored, here: Path) -> Account:
    return Account(doored, os.environ["AZURE_SUBSCRIPTION_ID"])


def blobs(account: Account) -> dict[str, int]:
    """Names and sizes of all blobs in the default datastore."""
    azure = account.emulated.azure
    workspace = azure.store.workspace(account.subscription, "cloudml", account.workspace)
    box = f"azureml-blobstore-{workspace.guid}"
    return {name: len(azure.storage.read(box, name) or b"") for name in azure.storage.names(box, "")}


def test_a_connection_that_is_cut_inside_a_block_again_and_again_leaves_nothing_half(
    doored: Doored, here: Path, account: Account
) -> None:
    """A job's source, which is read by the job itself once it is whole."""
    (here / "src").mkdir()
    with (here / "src" / "rows.bin").open("wb") as made:
        for number in range(LARGE // BLOCK + 1):
            made.write(bytes([number]) * min(BLOCK, LARGE - number * BLOCK))
    with (here / "src" / "rows.bin").open("rb") as made:
        whole = hashlib.file_digest(made, "sha256").hexdigest()
    file = f"jobs: {{train: {{source: src, command: 'echo {whole} rows.bin | sha256sum --check'}}}}"
    cut = Order("*/content/*/rows.bin", cut=BLOCK // 4, after=2 * BLOCK, times=SENT_AGAIN)
    doored.relay.orders.append(cut)
    said = line.told(1, file=file)
    assert "error: azureml PUT blob shop-cloud/content/" in said
    assert "/rows.bin: " in said
    assert "without response\n  hint: the same command again goes on from what is there" in said
    assert not [name for name in blobs(account) if name.endswith("rows.bin")]
    assert account.ask("GET", "jobs", "2024-01-01-preview")["value"] == []

    doored.relay.orders.append(replace(cut, times=1))  # one alone is mended by the same command
    line.ended(0, file=file)
    assert [size for _, size, answer in doored.relay.puts if answer == 0] == [BLOCK // 4] * (SENT_AGAIN + 1)
    assert {size for name, size in blobs(account).items() if name.endswith("rows.bin")} == {LARGE}


def test_a_connection_that_is_cut_inside_a_small_blob_costs_a_repetition(
    doored: Doored, here: Path, account: Account
) -> None:
    doored.relay.orders.append(Order("*/content/*/model.py", cut=10))
    line.ended(0, file=MODEL)
    sent = doored.relay.sent("/content/", "/model.py")
    whole = (here / "model" / "model.py").stat().st_size
    assert sent == [(10, 0), (whole, 201)]
    assert [each["name"] for each in account.ask("GET", "models", "2023-08-01-preview")["value"]] == ["fraud"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("where", ["content", "versions"])
def test_an_upload_that_is_throttled_is_sent_again_whole(
    doored: Doored, here: Path, account: Account, where: str, status: int
) -> None:
    (here / "model" / "other.txt").write_text("not refused")
    doored.relay.orders.append(Order(f"*/{where}/*/model.py", status=status, times=2))
    line.ended(0, file=MODEL)
    sent = doored.relay.sent(f"/{where}/", "/model.py")
    whole = (here / "model" / "model.py").stat().st_size
    assert sent == [(whole, status), (whole, status), (whole, 201)]
    others = doored.relay.sent(f"/{where}/", "/other.txt")
    assert [answer for _, answer in others] == [201]  # which alone is
