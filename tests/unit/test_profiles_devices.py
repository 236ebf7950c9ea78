"""Devices: simulated ones that look alive, and machines with a GPU that cannot be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from profiles.devices import Machine, read_devices
from profiles.devices.fake import read
from profiles.fitting import Question


def test_a_simulated_gpu_looks_alive_and_is_the_same_at_the_same_moment() -> None:
    assert read("fake:2xRTX4090", seconds=10) == read("fake:2xRTX4090", seconds=10)
    seen = [read("fake:2xRTX4090", seconds=second)[0] for second in range(0, 90, 5)]
    assert len({device.utilization for device in seen}) > 5
    for device in seen:
        assert 0 <= (device.utilization or -1) <= 1
        assert (device.power_watts or 1e9) <= (device.power_limit_watts or 0)
        assert 30 < (device.temperature_celsius or 0) < 90
    energies = [device.energy_joules or 0 for device in seen]
    assert energies == sorted(energies)
    first, second = read("fake:2xRTX4090", seconds=10)[:2]
    assert first.utilization != second.utilization


def test_the_host_says_its_swap() -> None:
    cpu = read_devices({})[-1]
    assert (cpu.swap_total_bytes or 0) >= (cpu.swap_free_bytes or 0)


@pytest.mark.parametrize("state", ["lost", "unreadable"])
def test_no_plan_is_made_for_a_gpu_that_cannot_be_used(state: str) -> None:
    first, second, cpu = read("fake:2x24GB")
    broken = replace(first, kind="unusable", state=state, memory_free_bytes=None)
    machine = Machine(devices=(broken, second, cpu), host_total_bytes=1, host_free_bytes=1)
    assert machine.gpus == (second,)
    from appliance import spec as specs
    from profiles.model import catalogue_model

    question = Question(spec=specs.parse({}), dataset={}, model=catalogue_model("gpt2"), machine=machine)
    assert question.device == second
