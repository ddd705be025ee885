"""What is above workspaces: the tenant, its subscriptions and their resource group, as `az login` and `az group` ask.

As the REST reference of Azure Resource Manager has it (Subscriptions, Tenants, Resource Groups), of any api-version.
"""

from __future__ import annotations

import re

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Document, Refused, Request
from cloudml_azureml.emulator.store import GROUP, WORKSPACES, Store

PATH = re.compile(r"/(tenants|subscriptions(?:/([^/]+)(?:/(resourceGroups)(?:/([^/]+))?)?)?)/?", re.IGNORECASE)
NAME = "cloudml"  # of the tenant and of each subscription, for people


class Subscriptions:
    def __init__(self, store: Store) -> None:
        self._store = store

    def respond(self, request: Request) -> Answer | None:
        """None for a path that is none of these. Raises Refused."""
        found = PATH.fullmatch(request.path)
        if found is None:
            return None
        if request.method != "GET":
            raise Refused(405, "MethodNotAllowed", f"{request.method} is not emulated on {request.path}.")
        what, subscription, groups, group = found.groups()
        if what.lower() == "tenants":
            return Answer(200, {"value": [self._tenant()]})
        if subscription is None:
            known = [self._subscription(each) for each in self._store.subscriptions()]
            return Answer(200, {"value": known, "count": {"type": "Total", "value": len(known)}})
        if groups is None:
            self._region(subscription, GROUP)
            return Answer(200, self._subscription(subscription))
        one = self._group(subscription, group or GROUP)
        return Answer(200, one if group else {"value": [one]})

    def _region(self, subscription: str, group: str) -> str:
        """Raises Refused for what is not there."""
        return self._store.workspace(subscription, group, next(iter(WORKSPACES))).region

    def _tenant(self) -> Document:
        id = self._store.tenant
        return {"id": f"/tenants/{id}", "tenantId": id, "displayName": NAME, "tenantCategory": "Home"}

    def _subscription(self, id: str) -> Document:
        return {
            "id": f"/subscriptions/{id}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": id,
            "tenantId": self._store.tenant,
            "displayName": NAME,
            "state": "Enabled",
            "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01", "spendingLimit": "Off"},
        }

    def _group(self, subscription: str, name: str) -> Document:
        id = f"/subscriptions/{subscription}/resourceGroups/{GROUP}"
        place = {"location": self._region(subscription, name), "tags": {}}
        kind = "Microsoft.Resources/resourceGroups"
        return {"id": id, "name": GROUP, "type": kind, **place, "properties": {"provisioningState": "Succeeded"}}
