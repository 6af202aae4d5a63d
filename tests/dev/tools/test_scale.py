"""Hours and cost follow from what was measured and assumed."""

import pytest

from conftest import REPOSITORY
from cxr_attn_unet_dev.json_style import read_json
from cxr_attn_unet_dev.tools.scale import machines_of, main, scale_text, work_of

MEASURED = {
    "core_seconds": {"read": 0.1, "networks": 2.0, "around the networks": 0.8, "encode": 0.1},
    "operations": 100e9,
    "bytes_of_results": 0,
}
ASSUMED = {
    "bytes_of_radiograph": 1e6,
    "core_hour": 0.05,
    "cores_per_machine": 60,
    "gpu_hour": 3,
    "gpu_operations_per_second": 1e15,
    "gpu_utilisation_low": 0.01,
    "gpu_utilisation_high": 0.1,
    "cores_per_gpu": 16,
    "network_per_machine": 8e9,
    "time_at_work": 0.5,
}


@pytest.fixture
def machines():
    return machines_of(MEASURED, ASSUMED)


def test_cores_segment_as_many_as_their_seconds_allow(machines):
    assert machines[0].rates["cores"] == pytest.approx(60 / 3)


def test_a_gpu_is_as_fast_as_its_operations(machines):
    assert [machine.rates["GPU"] for machine in machines[1:]] == pytest.approx([100, 1000])


def test_the_cores_beside_a_gpu_do_all_but_the_networks(machines):
    assert machines[1].rates["cores beside the GPU"] == pytest.approx(16 / 1)


def test_the_network_carries_the_radiographs(machines):
    assert machines[0].rates["network"] == pytest.approx(1000)


def test_the_slowest_sets_the_pace(machines):
    assert (machines[1].slowest, machines[1].rate) == ("cores beside the GPU", pytest.approx(16))


def test_hours_and_cost_follow_from_the_pace(machines):
    work = work_of(machines[0], 36000, ASSUMED, (2,))
    assert (work.machine_hours, work.cost) == pytest.approx((1, 60 * 0.05))
    assert work.hours_on == {2: pytest.approx(1 / 2)}


def test_every_assumption_has_a_reason():
    assumptions = read_json(REPOSITORY / "docs" / "scale_assumptions.json")
    assert [name for name, one in assumptions.items() if not one["why"]] == []


def test_the_text_names_every_assumption():
    assumptions = read_json(REPOSITORY / "docs" / "scale_assumptions.json")
    text = scale_text(read_json(REPOSITORY / "docs" / "scale_measured.json"), assumptions)
    assert [name for name in assumptions if f"`{name}`" not in text] == []


def test_another_price_changes_the_text(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    texts = []
    for arguments in ([], ["--set", "core_hour=0.4"]):
        assert main(arguments) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] != texts[1]


def test_an_unknown_assumption_is_named(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert main(["--set", "moon=1"]) == 1
    assert "--set moon=1: no such assumption" in capsys.readouterr().err
