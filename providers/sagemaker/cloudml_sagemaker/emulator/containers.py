"""What every container of SageMaker has in its environment."""

from __future__ import annotations

from cloudml_sagemaker.emulator.accounts import Scope
from cloudml_sagemaker.emulator.signing import access_key

SECRET = "emulated-secret"
OURS = "CLOUDML_SAGEMAKER_"  # for cloudml on the outside, not for containers


def environment(scope: Scope, isolated: bool = False) -> dict[str, str]:
    """The way to the emulated clouds, and the role's credentials; none of it with network isolation."""
    region = {"AWS_REGION": scope.region, "AWS_DEFAULT_REGION": scope.region}
    if isolated:
        return region
    network = {name: value for name, value in scope.world.site.environment().items() if not name.startswith(OURS)}
    return {
        **network,
        **region,
        "AWS_ACCESS_KEY_ID": access_key(scope.account),
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
