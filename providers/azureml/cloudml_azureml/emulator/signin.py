"""Microsoft Entra ID as far as a client secret needs it: discovery, tokens, and what a bearer token must be."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Document, Refused, Request

ARM = "https://management.azure.com"
ML = "https://ml.azure.com"
AUDIENCES = {ARM: (ARM, f"{ARM}/", "https://management.core.windows.net/"), ML: (ML, f"{ML}/")}
LIFETIME = 3600  # seconds


def _encoded(document: Mapping[str, Any]) -> str:
    return _text(json.dumps(document, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Directory:
    """One tenant with one application, whose secret is known to whoever started the emulator."""

    tenant: str = field(default_factory=lambda: str(uuid.uuid4()))
    client: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def token(self, audience: str, seconds: float = LIFETIME) -> str:
        """A signed JWT for an audience."""
        now = int(time.time())
        claims = {"aud": audience, "iss": f"https://sts.windows.net/{self.tenant}/", "tid": self.tenant, "ver": "1.0"}
        claims |= {"appid": self.client, "oid": self.client, "sub": self.client, "idtyp": "app"}
        head = _encoded({"typ": "JWT", "alg": "HS256"})
        signed = f"{head}.{_encoded({**claims, 'iat': now, 'nbf': now, 'exp': now + int(seconds)})}"
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        return _text(hmac.new(self._key, signed.encode(), hashlib.sha256).digest())

    def check(self, request: Request, *audiences: str) -> None:
        """Raises Refused unless the request carries a token of this directory for one of the audiences."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _unauthorized("Authentication failed. The 'Authorization' header is missing.")
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(signed), signature):
            raise _unauthorized("The access token is invalid.", "InvalidAuthenticationToken")
        claims = json.loads(base64.urlsafe_b64decode(signed.rpartition(".")[2] + "=="))
        if claims["exp"] <= time.time():
            raise _unauthorized(
                "The access token expiry UTC time is earlier than current UTC time.", "ExpiredAuthenticationToken"
            )
        if claims["aud"] not in [each for audience in audiences for each in AUDIENCES[audience]]:
            said = f"The access token has been obtained for wrong audience or resource '{claims['aud']}'."
            raise _unauthorized(said, "InvalidAuthenticationTokenAudience")

    def respond(self, request: Request) -> Answer:
        """What login.microsoftonline.com says."""
        parts = request.path.strip("/").split("/")
        if parts[-1] == "instance":  # /common/discovery/instance
            return Answer(200, self._instance())
        tenant = parts[0]
        if tenant.lower() not in (self.tenant, "organizations", "common"):
            said = f"AADSTS90002: Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
            return _failed(400, "invalid_request", said, 90002)
        if parts[-1] == "openid-configuration":
            return Answer(200, self._configuration())
        if parts[-1] == "token" and request.method == "POST":
            return self._granted(request)
        return Answer(404, {"error": "not_found"})

    def _instance(self) -> Document:
        host = {"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net"}
        known = [{**host, "aliases": ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com"]}]
        endpoint = f"https://login.microsoftonline.com/{self.tenant}/.well-known/openid-configuration"
        return {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": known}

    def _configuration(self) -> Document:
        base = f"https://login.microsoftonline.com/{self.tenant}"
        return {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "issuer": f"{base}/v2.0",
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
        }

    def _granted(self, request: Request) -> Answer:
        form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("grant_type") != "client_credentials":
            said = "AADSTS70003: The app requested an unsupported grant type."
            return _failed(400, "unsupported_grant_type", said, 70003)
        if form.get("client_id", "").lower() != self.client:
            said = (
                f"AADSTS700016: Application with identifier '{form.get('client_id')}' was not found in the directory."
            )
            return _failed(400, "unauthorized_client", said, 700016)
        if not hmac.compare_digest(form.get("client_secret", "").encode(), self.secret.encode()):
            said = f"AADSTS7000215: Invalid client secret provided for app '{self.client}'."
            return _failed(401, "invalid_client", said, 7000215)
        audience = form.get("scope", "").split(" ")[0].removesuffix("/.default")
        granted = {"token_type": "Bearer", "expires_in": LIFETIME, "ext_expires_in": LIFETIME}
        return Answer(200, {**granted, "access_token": self.token(audience)})


def _failed(status: int, error: str, said: str, code: int) -> Answer:
    trace = {"trace_id": str(uuid.uuid4()), "correlation_id": str(uuid.uuid4())}
    return Answer(status, {"error": error, "error_description": said, "error_codes": [code], **trace})


def _unauthorized(message: str, code: str = "AuthenticationFailed") -> Refused:
    challenge = 'Bearer authorization_uri="https://login.microsoftonline.com/", error="invalid_token"'
    return Refused(401, code, message, headers={"WWW-Authenticate": challenge})
