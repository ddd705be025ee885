"""The hosts of ECR, ``ACCOUNT.dkr.ecr.REGION.amazonaws.com``: the kit's registry with ECR's login.

It takes images for repositories that ECR, which is moto's, knows; a manifest that is pushed is told to it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress

from botocore.exceptions import ClientError

from cloudml.emulation import http
from cloudml.emulation.registry import DIGEST, Asked, Image, Shelf, error, greeting, inside
from cloudml_sagemaker.emulator.accounts import World
from cloudml_sagemaker.emulator.front import Answer, Request

HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?::\d+)?")


class Registry:
    """Answers requests to every registry of the emulated ECR; each account's files are its own."""

    def __init__(self, world: World) -> None:
        self._world = world

    def stream(self, request: Request, body: Iterator[bytes]) -> Answer:
        """The answer to a request whose body is read as it comes."""
        found = self._answer(http.Request(request.method, request.target, request.headers), request.host, body)
        content, kind = found.content()
        headers = {**({"Content-Type": kind} if kind else {}), **found.headers}
        return Answer(found.status, headers, content, found.file)

    def local(self, image: str, port: int) -> str:
        """The name under which an engine of this machine gets an image that was pushed; any other stays as it is."""
        named = Image.parse(image)
        host = HOST.fullmatch(named.host) if named else None
        if not named or not host:
            return image
        pushed = self._shelf(host[1], host[2], named.repository).get(named.reference)
        return named.fetched(port) if pushed else image

    def _answer(self, request: http.Request, name: str, body: Iterator[bytes]) -> http.Answer:
        path, fetched = request.path, inside(request)
        if fetched:
            name, path = fetched
        host = HOST.fullmatch(name)
        if host and not fetched and (refused := _refused(request, host[1])):
            return refused
        if path in ("/v2", "/v2/"):
            return greeting()
        asked = Asked.parse(path)
        if not host or not asked:
            return error(404, "UNSUPPORTED", f"{name}{path} is nothing that a registry has")
        account, region = host.groups()
        if not self._exists(account, region, asked.repository):
            text = f"The repository with name '{asked.repository}' does not exist in the registry with id '{account}'"
            return error(404, "NAME_UNKNOWN", text)
        shelf = self._shelf(account, region, asked.repository)
        answer = shelf.answer(request, asked, body)
        if asked.part == "manifests" and answer.status == 201:
            self._tell(account, region, shelf, asked.reference)
        return answer

    def _shelf(self, account: str, region: str, repository: str) -> Shelf:
        return Shelf(self._world.site.folder / "registry" / account / region, repository)

    def _exists(self, account: str, region: str, name: str) -> bool:
        try:
            self._world.services.client("ecr", account, region).describe_repositories(repositoryNames=[name])
        except ClientError:
            return False
        return True

    def _tell(self, account: str, region: str, shelf: Shelf, reference: str) -> None:
        """ECR's own list of images has it too."""
        found = shelf.get(reference)
        assert found, "it was put there just now"
        tag = {} if DIGEST.fullmatch(reference) else {"imageTag": reference}
        with suppress(ClientError):  # the same manifest once more
            self._world.services.client("ecr", account, region).put_image(
                repositoryName=shelf.name,
                imageManifest=found[2].decode(),
                imageManifestMediaType=found[1],
                imageDigest=f"sha256:{hashlib.sha256(found[2]).hexdigest()}",
                **tag,
            )


def _refused(request: http.Request, account: str) -> http.Answer | None:
    """ECR's login: the user AWS with the token of GetAuthorizationToken."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        realm = f'Basic realm="https://{request.host}/",service="ecr.amazonaws.com"'
        return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": realm})
    with suppress(ValueError):
        if base64.b64decode(token).decode() == f"AWS:{account}-auth-token":
            return None
    return error(403, "DENIED", "Your authorization token is not valid. Reauthenticate and try again.")
