"""The variables by which clients find the proxy and trust its authority, and the clean environment they are added to.

What each client reads was tried with some thirty of them; the table is in docs/facts/emulation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PROXY = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")  # clients differ in the case that they read, so both are set
AUTHORITY = (
    "AWS_CA_BUNDLE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "npm_config_cafile",
)
NOT_PROXIED = "localhost,127.0.0.1,::1,127.0.0.0/8"  # 127.0.0.1 by itself: several clients do not read the last form
# Of whoever starts the program: each of these would win over what is set here, or belongs to a real account.
FOREIGN_PREFIXES = (
    "AWS_",
    "AZURE_",
    "AZUREML_",
    "ARM_",
    "GOOGLE_",
    "GCE_",
    "GCLOUD_",
    "CLOUDSDK_",
    "MSI_",
    "IDENTITY_",
)
FOREIGN = {
    *AUTHORITY,
    "SSL_CERT_DIR",
    "GIT_SSL_CAPATH",
    "NO_PROXY",
    "FTP_PROXY",
    "GRPC_PROXY",
    "NO_GCE_CHECK",
    "NODE_OPTIONS",
    "WGETRC",
    "BOTO_CONFIG",
    "STORAGE_EMULATOR_HOST",
    "KUBECONFIG",
    *PROXY,
}
# The vendors' own files of settings and credentials: not those of the home folder, which are a real account's.
SETTINGS = {
    "AWS_CONFIG_FILE": "aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "aws/credentials",
    "AZURE_CONFIG_DIR": "azure",
    "CLOUDSDK_CONFIG": "gcloud",
}
NO_METADATA = {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true"}


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what leads to another network, to other roots or to a real account."""
    return {
        name: value
        for name, value in environment.items()
        if name not in FOREIGN and name.upper() not in FOREIGN and not name.upper().startswith(FOREIGN_PREFIXES)
    }


def trust(certificate: Path, wgetrc: Path) -> dict[str, str]:
    """What makes clients trust the authority, and it alone."""
    return dict.fromkeys(AUTHORITY, str(certificate)) | {"WGETRC": str(wgetrc)}


def settings(folder: Path) -> dict[str, str]:
    """What leads the vendors' tools to files below ``folder``, where there is none yet."""
    return {name: str(folder / place) for name, place in SETTINGS.items()}


def through_proxy(port: int) -> dict[str, str]:
    """What leads clients to the proxy on this port of the loopback, and what listens on the loopback past it."""
    names = [*PROXY, *map(str.lower, PROXY), "grpc_proxy"]
    not_proxied = {"NO_PROXY": NOT_PROXIED, "no_proxy": NOT_PROXIED}
    return dict.fromkeys(names, f"http://127.0.0.1:{port}") | not_proxied | {"NODE_USE_ENV_PROXY": "1"}
