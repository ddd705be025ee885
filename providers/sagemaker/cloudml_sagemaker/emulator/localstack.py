"""LocalStack as a source of services: a process of its own, in the Python that CLOUDML_LOCALSTACK names.

It runs without Docker and without a token. The account of a call is the first part of its signature here, as LocalStack
reads it: signatures are not looked at.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs

from cloudml.emulation.ports import LOOPBACK, free_port
from cloudml.errors import MissingExtra, Unavailable
from cloudml_sagemaker.emulator.callers import Key
from cloudml_sagemaker.emulator.front import Answer, Request
from cloudml_sagemaker.emulator.localstack_main import ABSENT
from cloudml_sagemaker.emulator.problems import Refused
from cloudml_sagemaker.emulator.signing import CREDENTIAL, account_in

VARIABLE = "CLOUDML_LOCALSTACK"
SERVICES = ("s3", "iam", "sts", "monitoring", "logs", "sns", "sqs")  # as their hosts begin
# The services whose models it reads: of those, of the key service that S3 asks, and the older form of SQS.
MODELS = ("s3", "kms", "iam", "sts", "cloudwatch", "logs", "sns", "sqs", "sqs-query")
NEEDS = (
    "localstack-core[base-runtime]==4.13.1",  # the newest that runs on Python 3.11
    "moto-ext>=5.1.18",
    "cbor2<5.8",
    "pyopenssl<26",
    "cryptography<46",
    "service-identity<25",
)
HOW = "in an environment of its own: pip install {}; then {}=THAT/bin/python"
READY = 120.0  # seconds until it must be up
LONGEST = 120.0  # seconds of a call
OF_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "expect", "date", "server")
SETTINGS = {
    "OVERRIDE_IN_DOCKER": "0",  # else it takes containers for its own
    "CLEAR_TMP_FOLDER": "0",
    "DISABLE_EVENTS": "1",  # telemetry
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DNS_ADDRESS": "0",  # no name server
    "PARITY_AWS_ACCESS_KEY_ID": "1",  # keys that begin as AWS's do
    "GATEWAY_WORKER_COUNT": "64",
    "LOCALSTACK_HOST": "amazonaws.com:80",  # what its addresses end with, those of queues for instance
}


def asked_for(folder: Path) -> LocalStack | None:
    """The one that the environment asks for, which is starting. Raises MissingExtra."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    if found := shutil.which(named):
        # It is started elsewhere; and a link stays one, or it would have other packages.
        return LocalStack(folder, os.path.abspath(found))
    raise absent(f"{named}: no such program")


def absent(what: str) -> MissingExtra:
    return MissingExtra(what, hint=how())


def how() -> str:
    """How to get it, in a line."""
    return HOW.format(" ".join(f'"{each}"' for each in NEEDS), VARIABLE)


class LocalStack:
    """A LocalStack that starts, until `close`; `ready` waits for it."""

    name = "LocalStack"

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python = folder / "localstack", python
        for name in ("tmp", "root"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        self._keys: dict[str, Key] = {}
        self._idle: list[http.client.HTTPConnection] = []
        program = str(Path(__file__).with_name("localstack_main.py"))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-I", program, *MODELS],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the program that uses it
            )

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _environment(self) -> Mapping[str, str]:
        places = {"HOME": self._folder, "TMPDIR": self._folder / "tmp", "FILESYSTEM_ROOT": self._folder / "root"}
        listen = {"GATEWAY_LISTEN": f"{LOOPBACK}:{self._port}"}
        path = {"PATH": os.environ.get("PATH", os.defpath)}
        return {**SETTINGS, **listen, **path, **{name: str(place) for name, place in places.items()}}

    def ready(self) -> None:
        """Waits until it is up. Raises MissingExtra if it is not installed, Unavailable with its last words."""
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline and self._process.poll() is None:
            if re.search(rb"^Ready\.", self._log.read_bytes(), re.MULTILINE):
                return
            time.sleep(0.02)
        code, said = self._process.poll(), self._log.read_text(errors="replace").strip()
        self.close()
        if code == ABSENT:
            raise absent(f"{self._python} has no LocalStack: {said}")
        last = said.splitlines()[-1:] or ["it said nothing"]
        raise Unavailable(f"LocalStack did not start: {last[0]}", hint=how())

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, request: Request, account: str | None) -> Answer:
        """Its answer. Raises Refused for what nobody signed, which LocalStack would answer."""
        if account is None:
            raise Refused("AccessDenied", "Access Denied", 403)
        answer = self._send(replace(request, headers=_signed(request, account)))
        self._remember(request, account, answer)
        return answer

    def find(self, key: str) -> Key | None:
        """A key that it gave out through this emulator."""
        return self._keys.get(key)

    def _send(self, request: Request) -> Answer:
        while True:
            connection, fresh = self._connection()
            try:
                connection.request(request.method, request.target, request.body, dict(request.headers))
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh or isinstance(error, TimeoutError):
                    raise Refused("ServiceUnavailable", f"LocalStack does not answer: {error!r}", 503) from error
                continue  # it had been idle for too long
            self._idle.append(connection)
            headers = {name: value for name, value in response.getheaders() if name.lower() not in OF_CONNECTION}
            return Answer(response.status, headers, body)

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """One that is idle, or a fresh one."""
        try:
            return self._idle.pop(), False
        except IndexError:
            return http.client.HTTPConnection(LOOPBACK, self._port, timeout=LONGEST), True

    def _remember(self, request: Request, account: str, answer: Answer) -> None:
        """The keys that IAM and STS give out and take back; LocalStack itself lets any key pass, for ever."""
        if not request.host.startswith(("iam.", "sts.")):
            return
        if b"Action=DeleteAccessKey" in request.body and answer.status == 200:
            self._keys.pop(parse_qs(request.body.decode())["AccessKeyId"][0], None)
        text = answer.body.decode(errors="replace")
        if "<SecretAccessKey>" in text:
            told = dict(re.findall(r"<(\w+)>([^<]*)</\1>", text))
            role = re.search(r"arn:aws[\w-]*:sts::(\d{12}):", told.get("Arn", ""))
            expires = datetime.fromisoformat(told["Expiration"]) if "Expiration" in told else None
            owner = role[1] if role else account
            self._keys[told["AccessKeyId"]] = Key(owner, told.get("SessionToken"), expires)


def _signed(request: Request, account: str) -> Mapping[str, str]:
    """The headers, in which a key of this emulator's own is the account that it stands for; LocalStack reads that."""
    headers = {name: value for name, value in request.headers.items() if name not in OF_CONNECTION}
    signer = request.signer
    if signer and "authorization" not in headers:  # the address is signed
        scope = f"{signer.key}/20000101/{signer.region}/{signer.service}/aws4_request"
        headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    if signer and account_in(signer.key):
        headers["authorization"] = CREDENTIAL.sub(
            lambda found: found[0].replace(found[1], account, 1), headers["authorization"], 1
        )
    return headers
