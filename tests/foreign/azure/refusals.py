"""What is refused, as the classes of Microsoft's SDK: 400, 401, 404, 409, 429."""

import os
import uuid

from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, ManagedOnlineEndpoint, Model
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import ClientSecretCredential, DefaultAzureCredential

subscription, tenant = os.environ["AZURE_SUBSCRIPTION_ID"], os.environ["AZURE_TENANT_ID"]
ml_client = MLClient(DefaultAzureCredential(), subscription, "cloudml", "cloudml")


def refused(kind, call):
    """The error that a call ends with."""
    try:
        call()
    except kind as error:
        print(kind.__name__, str(error).splitlines()[0][:100])
        return error
    raise AssertionError(f"expected {kind.__name__}")


refused(ResourceNotFoundError, lambda: ml_client.models.get("nothing", "1"))
refused(ResourceNotFoundError, lambda: ml_client.jobs.get("nothing"))
refused(ResourceNotFoundError, lambda: ml_client.compute.get("no-cluster"))
elsewhere = MLClient(DefaultAzureCredential(), subscription, "cloudml", "no-workspace")
error = refused(ResourceNotFoundError, lambda: elsewhere.models.get("m", "1"))
assert error.error.code == "ResourceNotFound", error
elsewhere = MLClient(DefaultAzureCredential(), subscription, "no-group", "cloudml")
error = refused(ResourceNotFoundError, lambda: elsewhere.models.get("m", "1"))
assert error.error.code == "ResourceGroupNotFound", error

wrong = ClientSecretCredential(tenant, os.environ["AZURE_CLIENT_ID"], "wrong")
error = refused(ClientAuthenticationError, lambda: MLClient(wrong, subscription, "cloudml", "cloudml").jobs.get("x"))
assert "AADSTS7000215" in str(error), error
stranger = ClientSecretCredential(str(uuid.uuid4()), os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"])
refused(ClientAuthenticationError, lambda: MLClient(stranger, subscription, "cloudml", "cloudml").jobs.get("x"))


class Forged:
    """A token that nobody has signed."""

    def get_token(self, *scopes, **_):
        real = DefaultAzureCredential().get_token(*scopes)
        return AccessToken(real.token[:-8] + "AAAAAAAA", real.expires_on)


forged = MLClient(Forged(), subscription, "cloudml", "cloudml")
error = refused(ClientAuthenticationError, lambda: forged.models.get("m", "1"))
assert error.status_code == 401, error

ml_client.environments.create_or_update(Environment(name="kept", version="1", image="one"))
ml_client.environments.create_or_update(Environment(name="kept", version="1", image="one", tags={"new": "tag"}))
changed = Environment(name="kept", version="1", image="another")
refused(ResourceExistsError, lambda: ml_client.environments.create_or_update(changed))
place = "azureml://datastores/workspaceblobstore/paths/a/"
ml_client.models.create_or_update(Model(name="m", version="1", path=place))
changed_model = Model(name="m", version="1", path=place.replace("/a/", "/b/"))
refused(ResourceExistsError, lambda: ml_client.models.create_or_update(changed_model))

name = f"endpoint-{uuid.uuid4().hex[:8]}"
endpoint = ManagedOnlineEndpoint(name=name, auth_mode="key")
endpoint.traffic = {"blue": 100}
error = refused(HttpResponseError, lambda: ml_client.online_endpoints.begin_create_or_update(endpoint).result())
assert error.status_code == 400, error
assert "blue" in str(error), error

# The test ordered that this model be throttled: twice, and then for longer than a client without patience waits.
assert ml_client.models.get("m", "1").version == "1"
hurried = MLClient(DefaultAzureCredential(), subscription, "cloudml", "cloudml", retry_total=0, retry_status=0)
error = refused(HttpResponseError, lambda: hurried.environments.get("kept", "1"))
assert error.status_code == 429, error
print("refused")
