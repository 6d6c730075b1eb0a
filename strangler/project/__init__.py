"""The project: ``strangler.toml`` and the capabilities' folders, loaded once into frozen values."""

from strangler.project.load import load, require
from strangler.project.values import (
    CapabilityFiles,
    Control,
    Manage,
    OnDelete,
    Problem,
    Project,
    ProjectInvalid,
    Proxy,
    Referred,
    Secret,
    Sync,
    TableMapping,
    Upstream,
)

__all__ = [
    "CapabilityFiles",
    "Control",
    "Manage",
    "OnDelete",
    "Problem",
    "Project",
    "ProjectInvalid",
    "Proxy",
    "Referred",
    "Secret",
    "Sync",
    "TableMapping",
    "Upstream",
    "load",
    "require",
]
