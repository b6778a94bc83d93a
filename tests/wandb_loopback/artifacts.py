"""Artifacts: what `run.log_artifact` and logged tables upload, and `Api.artifact` reads."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from .answering import Refused
from .filters import page
from .state import Artifact, Project, Store

View = dict[str, Any]


class Artifacts:
    """The part of the schema that creates artifacts; `url` is the server's."""

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url

    def mutations(self) -> View:
        """What can be changed."""
        return {
            "createArtifact": lambda input: self._create(**input),
            "createArtifactManifest": lambda input: self._manifest(**input),
            "createArtifactFiles": lambda input: self._files(input["artifactFiles"]),
            "commitArtifact": lambda input: self._commit(input["artifactID"]),
            "useArtifact": lambda input: {"artifact": {"id": input["artifactID"]}},
        }

    def queries(self) -> View:
        """What can be asked."""

        def artifact(id: str) -> View:
            project, found = located(self.store, id)
            return view(project, found, self.url)

        return {"artifact": artifact}

    def _create(self, **given: Any) -> View:
        project = self.store.made_project(given.get("entityName"), given.get("projectName"))
        name, digest = given["artifactCollectionName"], given["digest"]
        versions = [each for each in project.artifacts if each.name == name]
        latest = versions[-1].id if versions else None
        found = next((each for each in versions if each.digest == digest), None)
        if found is None:
            kind = given["artifactTypeName"]
            found = Artifact(self.store.fresh_id(), name, kind, digest, len(versions))
            found.run, found.description = given.get("runName"), given.get("description")
            found.metadata = json.loads(given.get("metadata") or "{}")
            project.artifacts.append(found)
        for alias in [each["alias"] for each in given.get("aliases") or []]:
            for other in versions:
                other.aliases = [each for each in other.aliases if each != alias]
            found.aliases.append(alias)
        sequence = {"latestArtifact": {"id": latest} if latest else None}
        return {"artifact": {"id": found.id, "state": found.state, "artifactSequence": sequence}}

    def _manifest(self, **given: Any) -> View:
        _, found = located(self.store, given["artifactID"])
        link = f"{self.url}/artifacts/{found.id}/manifest"
        file = {"id": f"{found.id}-file", "uploadUrl": link, "uploadHeaders": []}
        return {"artifactManifest": {"id": f"{found.id}-manifest", "file": file}}

    def _files(self, wanted: list[dict[str, Any]]) -> View:
        nodes = [
            {
                "storagePath": f"{each['artifactID']}/{each['name']}",
                "uploadUrl": f"{self.url}/artifacts/{each['artifactID']}/file/"
                + quote(each["name"]),
                "uploadHeaders": [],
                "artifact": {"id": each["artifactID"]},
            }
            for each in wanted
        ]
        return {"files": page(nodes)}

    def _commit(self, wanted: str) -> View:
        _, found = located(self.store, wanted)
        found.state = "COMMITTED"
        return {"artifact": {"id": found.id, "digest": found.digest}}


def located(store: Store, wanted: str) -> tuple[Project, Artifact]:
    """The artifact with this id, and its project."""
    for project in store.projects.values():
        for artifact in project.artifacts:
            if artifact.id == wanted:
                return project, artifact
    raise Refused("artifact not found", 404)


def named(project: Project, name: str) -> Artifact | None:
    """The artifact `name:alias`, by an alias or a version such as `v0`."""
    wanted, _, alias = name.rpartition(":") if ":" in name else (name, "", "latest")
    versions = [each for each in project.artifacts if each.name == wanted]
    fitting = [each for each in versions if alias in (f"v{each.version}", *each.aliases)]
    return fitting[-1] if fitting else None


def membership(project: Project, found: Artifact | None, url: str) -> View | None:
    """An artifact as a version of its collection."""
    if found is None:
        return None
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": f"{found.id}-membership",
        "versionIndex": found.version,
        "createdAt": found.created_at,
        "aliases": _aliases(project, found),
        "artifactCollection": _collection(project, found, "ArtifactSequence"),
        "artifact": view(project, found, url),
        "files": lambda **_: _listed(found, url),
    }


def view(project: Project, found: Artifact, url: str) -> View:
    """An artifact with everything but its files' contents."""
    link = {"directUrl": f"{url}/artifacts/{found.id}/manifest"}
    return {
        "__typename": "Artifact",
        "id": found.id,
        "artifactSequence": _collection(project, found, "ArtifactSequence"),
        "versionIndex": found.version,
        "artifactType": {"name": found.type},
        "description": found.description,
        "metadata": json.dumps(found.metadata),
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "tags": [],
        "state": found.state,
        "size": sum(map(len, found.files.values())),
        "digest": found.digest,
        "commitHash": found.id,
        "fileCount": len(found.files),
        "createdAt": found.created_at,
        "aliases": _aliases(project, found),
        "currentManifest": {"file": link},
    }


def _aliases(project: Project, found: Artifact) -> list[View]:
    collection = _collection(project, found, "ArtifactSequence")
    return [
        {
            "__typename": "ArtifactAlias",
            "id": f"{found.id}-{alias}",
            "alias": alias,
            "artifactCollection": collection,
        }
        for alias in found.aliases
    ]


def _collection(project: Project, found: Artifact, kind: str) -> View:
    owner = {
        "id": project.storage_id,
        "internalId": str(project.number),
        "name": project.name,
        "entity": {"name": project.entity},
    }
    return {"__typename": kind, "name": found.name, "project": owner}


def _listed(found: Artifact, url: str) -> View:
    return page(
        [
            {
                "__typename": "File",
                "id": f"{found.id}-{name}",
                "name": name,
                "displayName": name,
                "sizeBytes": len(content),
                "directUrl": f"{url}/artifacts/{found.id}/file/{quote(name)}",
                "url": f"{url}/artifacts/{found.id}/file/{quote(name)}",
            }
            for name, content in found.files.items()
        ]
    )
