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
    Reaction,
    Referred,
    Secret,
    Sync,
    TableMapping,
    Team,
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
    "Reaction",
    "Referred",
    "Secret",
    "Sync",
    "TableMapping",
    "Team",
    "Upstream",
    "load",
    "require",
]
