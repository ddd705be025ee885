"""``cloudml.yaml`` as specs: environments, variables, secrets by reference; errors with ``file:line:column``."""

from cloudml.config.environments import without_file
from cloudml.config.loading import DEFAULT_PROJECT, Project, load
from cloudml.config.problems import ConfigErrors
from cloudml.config.schema import schema
from cloudml.profiles import load_profile

__all__ = ["DEFAULT_PROJECT", "ConfigErrors", "Project", "load", "load_profile", "schema", "without_file"]
