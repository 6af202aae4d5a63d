"""Health and metrics of a service that does nothing, or hangs."""

import json
import urllib.error
import urllib.request

import pytest

from cxr_attn_unet.dicom_network import State
from cxr_attn_unet.dicom_network.monitor import Monitor

pytest.importorskip("prometheus_client")


@pytest.fixture
def monitor(tmp_path):
    return Monitor(State(tmp_path))


def answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_service_without_a_sign_of_life_is_stuck(monitor, monkeypatch):
    monkeypatch.setattr("cxr_attn_unet.dicom_network.monitor.STUCK_SECONDS", 0.0)
    status, text = answer(monitor.serve(0), "/health")
    assert (status, json.loads(text)["status"]) == (503, "stuck")


def test_failures_are_counted_by_step_and_the_last_one_is_said(monitor):
    monitor.failed("store", "the archive is away")
    port = monitor.serve(0)
    assert 'cxr_attn_unet_dicom_failures_total{step="store"} 1.0' in answer(port, "/metrics")[1]
    assert json.loads(answer(port, "/health")[1])["last_failure"] == "the archive is away"


def test_another_path_is_not_found(monitor):
    assert answer(monitor.serve(0), "/")[0] == 404


def test_a_port_that_is_taken_is_an_error(monitor):
    port = monitor.serve(0)
    with pytest.raises(OSError, match="in use"):
        monitor.serve(port)
