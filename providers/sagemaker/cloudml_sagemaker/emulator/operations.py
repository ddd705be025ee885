"""Which operation of which service a request calls, for faults and for the form of errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from cloudml_sagemaker.emulator.front import Request

S3_HOST = re.compile(r"(?:(?P<bucket>.+?)\.)?s3(?:[.-][a-z0-9.-]+)?\.amazonaws\.com(?:\.cn)?(?::\d+)?")
QUERY = (
    "iam",
    "sts",
    "sns",
    "sqs",
    "monitoring",
    "autoscaling",
    "ec2",
    "elasticloadbalancing",
    "cloudformation",
    "rds",
)
# S3's operations by method, by whether there is a key, and by the word in the query that tells them apart.
S3 = {
    ("GET", False, ""): "ListObjects",
    ("GET", False, "list-type"): "ListObjectsV2",
    ("GET", False, "location"): "GetBucketLocation",
    ("GET", False, "versioning"): "GetBucketVersioning",
    ("GET", False, "uploads"): "ListMultipartUploads",
    ("HEAD", False, ""): "HeadBucket",
    ("PUT", False, ""): "CreateBucket",
    ("DELETE", False, ""): "DeleteBucket",
    ("POST", False, "delete"): "DeleteObjects",
    ("GET", True, ""): "GetObject",
    ("GET", True, "tagging"): "GetObjectTagging",
    ("HEAD", True, ""): "HeadObject",
    ("PUT", True, ""): "PutObject",
    ("PUT", True, "partNumber"): "UploadPart",
    ("PUT", True, "tagging"): "PutObjectTagging",
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("DELETE", True, ""): "DeleteObject",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
}
WORDS = sorted({word for _, _, word in S3 if word})


@dataclass(frozen=True)
class Called:
    """``protocol`` is json or xml; ``target`` what the operation works on, as far as the address tells."""

    service: str
    operation: str
    target: str
    protocol: str


def called(request: Request) -> Called:
    """By host, header and body."""
    if match := S3_HOST.fullmatch(request.host):
        return _s3(request, match["bucket"])
    service = request.host.split(".")[0]
    if service == "api":
        service = request.host.split(".")[1]
    if target := request.headers.get("x-amz-target"):
        return Called(service, target.rpartition(".")[2], "", "json")
    if action := parse_qs(request.body.decode(errors="replace") if _is_form(request) else request.query).get("Action"):
        return Called(service, action[0], "", "xml")
    return Called(service, f"{request.method} {request.path}", request.path, "xml" if service in QUERY else "json")


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _s3(request: Request, bucket: str | None) -> Called:
    path = unquote(request.path[1:])
    if bucket is None:
        bucket, _, path = path.partition("/")
    if not bucket:
        return Called("s3", "ListBuckets", "", "xml")
    query = parse_qs(request.query, keep_blank_values=True)
    word = next((word for word in WORDS if word in query), "")
    operation = S3.get((request.method, bool(path), word)) or S3.get((request.method, bool(path), ""), request.method)
    if operation == "PutObject" and "x-amz-copy-source" in request.headers:
        operation = "CopyObject"
    return Called("s3", operation, f"{bucket}/{path}", "xml")
