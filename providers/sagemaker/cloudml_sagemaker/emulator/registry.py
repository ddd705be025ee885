"""The hosts of ECR, ``ACCOUNT.dkr.ecr.REGION.amazonaws.com``: a real registry behind ECR's login and its repositories.

Each account has a ``docker-registry`` of its own, started when it is first asked. What ECR says of repositories and
images is moto's; a manifest that is pushed is told to it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import socket
import threading
import time
from contextlib import suppress

from botocore.exceptions import ClientError

from cloudml.emulation import Container
from cloudml_sagemaker.emulator.accounts import World
from cloudml_sagemaker.emulator.front import Answer, Request

HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?::\d+)?")
NAMED = re.compile(r"/v2/(?P<name>.+?)/(?P<part>blobs|manifests|tags)/(?P<reference>.*)")
PROGRAM, PORT, STARTING = "docker-registry", 5000, 20.0
CONFIG = """\
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:5000", relativeurls: true}
"""
API = {"Docker-Distribution-Api-Version": "registry/2.0", "Content-Type": "application/json"}


class Registry:
    """Opens a connection to the registry that a request is for, or answers in its place."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()

    def open(self, request: Request) -> Answer | socket.socket:
        match = HOST.fullmatch(request.host)
        if not match:
            return _error(404, "UNSUPPORTED", f"{request.host} is no registry")
        account, region = match.groups()
        if refused := _refused(request, account):
            return refused
        named = NAMED.fullmatch(request.path)
        if named and not self._exists(account, region, named["name"]):
            text = f"The repository with name '{named['name']}' does not exist in the registry with id '{account}'"
            return _error(404, "NAME_UNKNOWN", text)
        if not shutil.which(PROGRAM):
            return _error(501, "UNSUPPORTED", f"the emulated ECR keeps images with {PROGRAM}, which is not installed")
        return socket.create_connection(self._address(account), timeout=60)

    def pushed(self, request: Request, manifest: bytes) -> None:
        """Tells ECR of a manifest."""
        host, named = HOST.fullmatch(request.host), NAMED.fullmatch(request.path)
        if host and named:
            tag = {} if named["reference"].startswith("sha256:") else {"imageTag": named["reference"]}
            client = self._world.services.client("ecr", host[1], host[2])
            with suppress(ClientError):  # the same manifest once more
                client.put_image(
                    repositoryName=named["name"],
                    imageManifest=manifest.decode(),
                    imageDigest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
                    imageManifestMediaType=request.headers.get("content-type", ""),
                    **tag,
                )

    def _exists(self, account: str, region: str, name: str) -> bool:
        try:
            self._world.services.client("ecr", account, region).describe_repositories(repositoryNames=[name])
        except ClientError:
            return False
        return True

    def _address(self, account: str) -> tuple[str, int]:
        """Where the account's registry listens; it is started if need be."""
        id, containers = f"registry-{account}", self._world.site.containers
        with self._lock:
            if containers.look(id) is None:
                folder = self._world.site.folder / id
                for name in ("config", "images"):
                    (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / "config/config.yml").write_text(CONFIG)
                mounts = {"/etc/emulated-ecr": folder / "config", "/var/lib/registry": folder / "images"}
                containers.start(
                    Container(
                        id,
                        PROGRAM,
                        (PROGRAM, "serve", "/etc/emulated-ecr/config.yml"),
                        env={"REGISTRY_HTTP_ADDR": "127.0.0.1:{port}", "OTEL_TRACES_EXPORTER": "none"},
                        mounts=mounts,
                        port=PORT,
                        grace=2.0,
                    )
                )
            return self._listening(id)

    def _listening(self, id: str) -> tuple[str, int]:
        until = time.monotonic() + STARTING
        while time.monotonic() < until:
            ran = self._world.site.containers.look(id)
            if ran and ran.address:
                with suppress(OSError), socket.create_connection(ran.address, timeout=1):
                    return ran.address
            if ran is None or not ran.running:
                break
            time.sleep(self._world.timing.tick)
        raise ConnectionError(f"{PROGRAM} did not start")


def _refused(request: Request, account: str) -> Answer | None:
    """ECR's login: the user AWS with the token of GetAuthorizationToken."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        realm = f'Basic realm="https://{request.host}/",service="ecr.amazonaws.com"'
        return _error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": realm})
    with suppress(ValueError):
        if base64.b64decode(token).decode() == f"AWS:{account}-auth-token":
            return None
    return _error(403, "DENIED", "Your authorization token is not valid. Reauthenticate and try again.")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, API | (headers or {}), body)
