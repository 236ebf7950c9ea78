"""The probe of NVIDIA GPUs, through the real binding, against a library that fails in every way a driver does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } rates_t;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gi, ci; } process_t;
#define LOST 15
#define UNSUPPORTED 3
static int dead(void *h) {
#ifdef LOST_GPU
    return (long)h == 2 ? LOST : 0;
#else
    return 0;
#endif
}
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)(long)(i + 1); return 0; }
int nvmlDeviceGetTemperature(void *h, int k, unsigned *t) { *t = 61; return dead(h); }
int nvmlDeviceGetMemoryInfo(void *h, memory_t *m) {
    m->total = 24000000000ull; m->free = 20000000000ull; m->used = 4000000000ull; return dead(h); }
int nvmlDeviceGetName(void *h, char *s, unsigned n) { strncpy(s, "NVIDIA GeForce RTX 4090", n); return dead(h); }
int nvmlDeviceGetUUID(void *h, char *s, unsigned n) { strncpy(s, "GPU-1234", n); return dead(h); }
int nvmlSystemGetDriverVersion(char *s, unsigned n) { strncpy(s, "570.86.10", n); return 0; }
#ifndef OLD_DRIVER
int nvmlSystemGetCudaDriverVersion(int *v) { *v = 12080; return 0; }
int nvmlDeviceGetCurrentClocksEventReasons(void *h, unsigned long long *r) { *r = 0x1 | 0x4 | 0x20; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *e) { *e = 5000; return 0; }
int nvmlDeviceGetPowerUsage(void *h, unsigned *p) { *p = 123000; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *h, unsigned *p) { *p = 450000; return 0; }
int nvmlDeviceGetUtilizationRates(void *h, rates_t *r) { r->gpu = 42; r->memory = 7; return 0; }
int nvmlDeviceGetClockInfo(void *h, int k, unsigned *c) { *c = 1500; return 0; }
int nvmlDeviceGetMaxClockInfo(void *h, int k, unsigned *c) { *c = 3105; return 0; }
int nvmlDeviceGetCurrPcieLinkGeneration(void *h, unsigned *g) { *g = 4; return 0; }
int nvmlDeviceGetCurrPcieLinkWidth(void *h, unsigned *w) { *w = 16; return 0; }
#else
int nvmlDeviceGetCurrentClocksThrottleReasons(void *h, unsigned long long *r) { *r = 0; return 0; }
#endif
int nvmlDeviceGetCudaComputeCapability(void *h, int *a, int *b) { *a = 8; *b = 9; return 0; }
int nvmlDeviceGetEccMode(void *h, int *a, int *b) { return UNSUPPORTED; }
int nvmlDeviceGetMigMode(void *h, unsigned *a, unsigned *b) { *a = 0; *b = 0; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, process_t *p) {
    if (*n < 1) { *n = 1; return 7; }
    *n = 1; p[0].pid = 4242; p[0].used = 3000000000ull; p[0].gi = p[0].ci = 0xffffffff; return 0; }
int nvmlSystemGetProcessName(unsigned pid, char *s, unsigned n) { strncpy(s, "/usr/bin/python3", n); return 0; }
"""
COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler to build a library with")


def probe(folder: Path, *flags: str) -> list[dict[str, Any]]:
    """What ``python -m profiles devices`` says under a library built with ``flags``."""
    (folder / "nvml.c").write_text(SOURCE)
    library = folder / "libnvidia-ml.so.1"
    command = [str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(folder / "nvml.c")]
    subprocess.run([*command, *(f"-D{flag}" for flag in flags)], check=True)
    return devices(folder)


def devices(library: Path) -> list[dict[str, Any]]:
    environment = os.environ | {"LD_LIBRARY_PATH": str(library)}
    command = [sys.executable, "-m", "profiles", "devices"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def test_everything_a_driver_says_is_read(tmp_path: Path) -> None:
    first, second, cpu = probe(tmp_path)
    assert (first["name"], first["uuid"], first["state"]) == ("NVIDIA GeForce RTX 4090", "GPU-1234", "ok")
    assert (first["memory_total_bytes"], first["memory_free_bytes"]) == (24 * 10**9, 20 * 10**9)
    assert (first["capability"], first["driver"], first["cuda"]) == ([8, 9], "570.86.10", "12.8")
    assert (first["power_watts"], first["power_limit_watts"], first["utilization"]) == (123.0, 450.0, 0.42)
    assert (first["clock_mhz"], first["clock_max_mhz"], first["energy_joules"]) == (1500, 3105, 5.0)
    assert (first["pcie_generation"], first["pcie_width"]) == (4, 16)
    assert first["throttle"] == ["power cap", "thermal slowdown"]
    assert (first["ecc"], first["mig"], first["nvlinks"]) == (None, False, None)
    assert first["processes"] == [{"pid": 4242, "name": "/usr/bin/python3", "memory_bytes": 3 * 10**9}]
    assert second["index"] == 1
    assert cpu["kind"] == "cpu"


def test_a_lost_gpu_is_a_state_and_its_neighbour_is_read(tmp_path: Path) -> None:
    first, second, _ = probe(tmp_path, "LOST_GPU")
    assert first["state"] == "ok"
    assert (second["state"], second["memory_total_bytes"], second["id"]) == ("lost", None, "gpu1")
    assert second["kind"] == "unusable", "no job is ever given to it"


def test_what_an_old_driver_does_not_know_is_unknown(tmp_path: Path) -> None:
    first, *_ = probe(tmp_path, "OLD_DRIVER")
    assert first["memory_total_bytes"] == 24 * 10**9
    for name in ("cuda", "power_watts", "utilization", "energy_joules", "clock_mhz", "pcie_width"):
        assert first[name] is None
    assert first["throttle"] == []


def test_without_a_driver_there_is_the_processor_alone(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library")
    assert [device["kind"] for device in devices(tmp_path)] == ["cpu"]
