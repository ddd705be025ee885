"""``cloudml.yaml`` as specs: environments, variables, secrets by reference; errors with ``file:line:column``."""

from cloudml.config.loading import Project, load
from cloudml.config.problems import ConfigErrors
from cloudml.config.schema import schema
from cloudml.profiles import load_profile

__all__ = ["ConfigErrors", "Project", "load", "load_profile", "schema"]
