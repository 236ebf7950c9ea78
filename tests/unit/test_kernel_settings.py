"""Settings: flag > environment > file > default, and no key is ever ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import InvalidConfig
from appliance.paths import find_paths
from appliance.settings import SECTIONS, Settings, load_settings


def test_without_a_file_everything_is_a_default(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "config.toml", environ={}) == Settings()


def test_a_flag_beats_the_environment_and_the_environment_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[serve]\nport = 1\nslots = 2\n[network]\noffline = false\n")
    environ = {"LUTHIER_SERVE__PORT": "3", "LUTHIER_HOME": "/x"}
    settings = load_settings(file, flags={"serve.slots": "5"}, environ=environ)
    assert (settings.serve.port, settings.serve.slots, settings.network.offline) == (3, 5, False)
    assert settings.origins["serve.port"] == "environment"
    assert settings.origins["network.offline"] == str(file)


def test_every_wrong_key_and_value_is_named_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[serve]\nprot = 1\n[network]\noffline = "maybe"\n[exprot]\nformats = []\n')
    with pytest.raises(InvalidConfig) as caught:
        load_settings(file, environ={"LUTHIER_SERVE__SLOTS": "many"})
    for part in ("serve.prot", "'serve.port'", "network.offline", "true or false", "exprot.formats", "whole number"):
        assert part in caught.value.message


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xff\xfe[serve]")
    with pytest.raises(InvalidConfig, match=r"config\.toml"):
        load_settings(file, environ={})


def test_every_setting_has_a_place_in_the_printed_table() -> None:
    assert set(Settings().as_dict()) == set(SECTIONS)


def test_one_home_holds_everything() -> None:
    paths = find_paths({"LUTHIER_HOME": "/tmp/h"})
    assert {str(path)[:6] for path in (paths.config_file, paths.database, paths.jobs, paths.socket)} == {"/tmp/h"}


def test_a_home_too_long_for_a_socket_gets_a_short_one(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    first, second = find_paths({"LUTHIER_HOME": str(long)}), find_paths({"LUTHIER_HOME": str(long) + "y"})
    assert len(str(first.socket)) < 100
    assert first.socket != second.socket


def test_a_service_keeps_its_state_where_systemd_says() -> None:
    paths = find_paths({"STATE_DIRECTORY": "/var/lib/luthier", "RUNTIME_DIRECTORY": "/run/luthier"})
    assert str(paths.socket) == "/run/luthier/control.sock"
    assert str(paths.config_file) == "/etc/luthier/config.toml"


def test_a_person_gets_the_xdg_folders() -> None:
    paths = find_paths({"HOME": "/home/ana", "XDG_CONFIG_HOME": "/c"})
    assert str(paths.config_file) == "/c/luthier/config.toml"
    assert str(paths.state) == "/home/ana/.local/state/luthier"
