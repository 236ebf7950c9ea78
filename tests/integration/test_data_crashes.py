"""The processes that read files survive what the files do to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from appliance.jobdir import Job, JobDir

ROOT = Path(__file__).parents[2]
# A reader with a hole: what a library in C does when it meets a file made for it.
BROKEN = """
    import ctypes, sys
    from appliance.data.readers import json_lines
    def read(source, encoding):
        {harm}
        yield
    json_lines.read = read
"""
HARMS = {"SIGSEGV": "ctypes.string_at(0)", "SIGABRT": "__import__('os').abort()", "memory": "bytes(2**45)"}


def run(harm: str, call: str) -> subprocess.CompletedProcess[str]:
    script = textwrap.dedent(BROKEN).format(harm=HARMS[harm]) + call
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("harm", HARMS)
def test_a_reader_that_crashes_while_a_file_is_checked_is_told_by_name(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n')
    done = run(harm, f"from appliance.data.check import main; sys.exit(main([{str(path)!r}]))")
    assert done.returncode == 8, done.stderr
    body = json.loads(done.stderr.splitlines()[-1])
    assert body["code"] == "parser-crashed"
    assert harm in body["message"]
    assert "bad.jsonl" in body["message"]


@pytest.mark.parametrize("harm", HARMS)
def test_a_reader_that_crashes_fails_the_job_by_name_and_leaves_no_dataset(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n')
    job = JobDir(tmp_path / "job")
    job.create(Job(id="j-000001", kind="ingest", name="bad", spec={"data": {"path": str(path)}}, inputs={}))
    done = run(harm, f"from appliance.work import main; sys.exit(main([{str(job.path)!r}]))")
    assert done.returncode == 1
    result = json.loads(job.result_file(1).read_text())
    assert result["error"]["code"] == "parser-crashed"
    assert harm in result["error"]["message"]
    assert list(job.artifacts.iterdir()) == []
