"""What of the queue is also on disk as plain files, so that the database can be rebuilt from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.paths import Paths
from scheduler.store.tables import JobRow, PipelineRow


def pipelines_folder(paths: Paths) -> Path:
    return paths.state / "pipelines"


def write_pipeline(paths: Paths, row: PipelineRow, rows: Sequence[JobRow]) -> None:
    """Write a tune down: jobs that have not started have no folder yet, and are found here."""
    body = {
        "schema": "luthier.pipeline/1",
        **row.model_dump(exclude={"number"}),
        "jobs": [job.model_dump(include={"id", "kind", "depends_on", "created_at"}) for job in rows],
    }
    durable.make_folder(pipelines_folder(paths))
    durable.write_json(pipelines_folder(paths) / f"{row.id}.json", body)


def read_pipelines(paths: Paths) -> Iterator[dict[str, Any]]:
    """Every tune that was written down, oldest first; a file that cannot be read is left out."""
    found = []
    for path in pipelines_folder(paths).glob("p-*.json"):
        try:
            body = json.loads(path.read_bytes())
        except ValueError:
            continue
        if isinstance(body, dict) and body.get("schema") == "luthier.pipeline/1":
            found.append(body)
    yield from sorted(found, key=lambda body: str(body["created_at"]))
