import pytest

from mimir_rw.app.build.base import server_settings
from mimir_rw.app.process import pid_file
from mimir_rw.app.welcome import first_screen
from mimir_rw.config.settings import build
from mimir_rw.config.tree import Config


def test_first_screen_shows_how_to_write_and_ask():
    text = first_screen(Config(), 8080)
    assert "http://localhost:8080/api/v1/push" in text
    assert "X-Scope-OrgID: demo" in text
    assert "http://localhost:8080/prometheus/api/v1/query" in text
    assert "/tsdb" in text
    assert max(map(len, text.splitlines())) <= 140


def test_first_screen_without_tenants_behind_a_prefix_on_ipv6():
    config = build(
        Config,
        {
            ("multitenancy_enabled",): False,
            ("server", "http_listen_address"): "::1",
            ("server", "http_path_prefix"): "/m",
            ("server", "http_tls_config", "cert_file"): "x",
        },
    )
    text = first_screen(config, 9)
    assert "X-Scope-OrgID" not in text
    assert "https://[::1]:9/m/api/v1/push" in text


def test_server_settings_are_in_seconds():
    settings = server_settings(Config())
    assert (settings.graceful_s, settings.idle_s) == (30.0, 120.0)
    assert not settings.tls.enabled


def test_pid_file_lives_as_long_as_the_process(tmp_path):
    path = tmp_path / "pid"
    with pid_file(str(path), 42):
        assert path.read_text() == "42\n"
    assert not path.exists()
    with pid_file("", 1):
        pass
    with pytest.raises(OSError, match="nowhere"), pid_file(str(tmp_path / "nowhere" / "x"), 1):
        pass
