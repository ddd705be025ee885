"""Whether SageMaker may take on a role."""

from __future__ import annotations

from botocore.exceptions import ClientError

from cloudml_sagemaker.emulator.accounts import Scope
from cloudml_sagemaker.emulator.problems import Refused, invalid


def check(scope: Scope, arn: str) -> None:
    """Raises Refused for a role of another account, and for one that does not exist in an account that has roles."""
    if arn.split(":")[4] != scope.account:
        raise Refused("AccessDeniedException", "Cross-account pass role is not allowed.")
    if arn in scope.table("roles"):
        return
    iam = scope.world.services.client("iam", scope.account, scope.region)
    try:
        iam.get_role(RoleName=arn.rpartition("/")[2])
    except ClientError as error:
        if iam.list_roles(MaxItems=1)["Roles"]:
            message = f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            raise invalid(f"{message}'sagemaker.amazonaws.com' to assume the role.") from error
        return
    scope.table("roles")[arn] = True
