"""IAM's SimulatePrincipalPolicy, which moto lacks: what the policies of a role allow. No call is checked against them.

The sagemaker SDK asks it before it starts a training. A statement with a condition does not apply: nothing is known of
the values that it needs, as where the real one is given none.
"""

from __future__ import annotations

import fnmatch
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.exceptions import ClientError

from cloudml_sagemaker.emulator.accounts import World
from cloudml_sagemaker.emulator.front import Answer, Request
from cloudml_sagemaker.emulator.problems import Refused, outside

NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
OPERATION = "SimulatePrincipalPolicy"
GLOBAL = "us-east-1"


def simulate(world: World, account: str, request: Request) -> Answer:
    """The answer to SimulatePrincipalPolicy. Raises Refused for a role that is not there, and for who is no role."""
    asked = parse_qs(request.body.decode())
    (source,) = asked.get("PolicySourceArn", [""])
    if ":role/" not in source:
        raise outside(f"{OPERATION} for another source than a role")
    statements = [*_statements(world.services.client("iam", account, GLOBAL), source.rpartition("/")[2])]
    resources = _members(asked, "ResourceArns") or ["*"]
    results = [
        f"<member><EvalActionName>{escape(action)}</EvalActionName><EvalResourceName>{escape(resource)}"
        f"</EvalResourceName><EvalDecision>{_decision(statements, action, resource)}</EvalDecision>"
        "<MatchedStatements/><MissingContextValues/></member>"
        for action in _members(asked, "ActionNames")
        for resource in resources
    ]
    inner = f"<IsTruncated>false</IsTruncated><EvaluationResults>{''.join(results)}</EvaluationResults>"
    about = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    body = f"<{OPERATION}Result>{inner}</{OPERATION}Result>{about}"
    whole = f'<{OPERATION}Response xmlns="{NAMESPACE}">{body}</{OPERATION}Response>'
    return Answer(200, {"Content-Type": "text/xml"}, whole.encode())


def _members(asked: Mapping[str, list[str]], name: str) -> list[str]:
    """A list of the query protocol: ``ActionNames.member.1`` and so on."""
    return [value for key, (value, *_) in asked.items() if key.startswith(f"{name}.member.")]


def _statements(iam: Any, role: str) -> Iterator[Mapping[str, Any]]:
    """Of the role's own policies and of those that are attached to it."""
    try:
        own = iam.list_role_policies(RoleName=role)["PolicyNames"]
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        found = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in own]
        for each in attached:
            version = iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"]
            asked = {"PolicyArn": each["PolicyArn"], "VersionId": version}
            found.append(iam.get_policy_version(**asked)["PolicyVersion"]["Document"])
    except ClientError as error:
        said = error.response["Error"]
        raise Refused(said["Code"], said["Message"], error.response["ResponseMetadata"]["HTTPStatusCode"]) from error
    for document in found:
        whole = json.loads(document) if isinstance(document, str) else document
        yield from _listed(whole["Statement"])


def _decision(statements: Sequence[Mapping[str, Any]], action: str, resource: str) -> str:
    effects = {each["Effect"] for each in statements if _applies(each, action, resource)}
    return "explicitDeny" if "Deny" in effects else "allowed" if "Allow" in effects else "implicitDeny"


def _applies(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    return (
        "Condition" not in statement
        and _fits(statement, "Action", action.lower())
        and _fits(statement, "Resource", resource.lower())
    )


def _fits(statement: Mapping[str, Any], element: str, value: str) -> bool:
    """Whether an element, or the one that begins with Not, takes in a value."""
    if element in statement:
        return any(fnmatch.fnmatchcase(value, each.lower()) for each in _listed(statement[element]))
    return not any(fnmatch.fnmatchcase(value, each.lower()) for each in _listed(statement[f"Not{element}"]))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
