"""Names of version 0.1.0 still work and say what replaces them."""

import importlib
import logging
import pydoc
import subprocess
import sys

import pytest

import cxr_attn_unet
from cxr_attn_unet.former_names import MODULES, setting
from cxr_attn_unet.inference.test_time_augmentation import TestTimeAugmentationInferer
from cxr_attn_unet.networks import AttentionUNet, build_network
from cxr_attn_unet.networks.gates import SpatialGate


@pytest.fixture(autouse=True)
def not_yet_imported():
    """Each test meets the former modules for the first time."""
    for name in MODULES:
        vars(cxr_attn_unet).pop(name, None)
        for loaded in [loaded for loaded in sys.modules if loaded.startswith(f"cxr_attn_unet.{name}")]:
            if loaded.split(".")[1] == name:
                del sys.modules[loaded]


@pytest.mark.parametrize(("old", "new"), MODULES.items())
def test_a_former_module_is_the_present_one(old, new):
    message = f"cxr_attn_unet.{old} is now called cxr_attn_unet.{new}"
    with pytest.warns(FutureWarning, match=message):
        former = importlib.import_module(f"cxr_attn_unet.{old}")
    assert former is importlib.import_module(f"cxr_attn_unet.{new}")


def test_a_former_module_is_an_attribute_of_the_package():
    with pytest.warns(FutureWarning, match=r"cxr_attn_unet\.precision is now called"):
        former = cxr_attn_unet.precision
    assert former.half_precision_pays is cxr_attn_unet.training.precision.half_precision_pays


def test_a_module_inside_a_former_one_is_not_imported_twice():
    from cxr_attn_unet.training.handlers.guards import StopOnNaN

    assert importlib.import_module("cxr_attn_unet.handlers.guards").StopOnNaN is StopOnNaN


def test_a_present_module_keeps_its_own_specification():
    importlib.import_module("cxr_attn_unet.metrics")
    assert importlib.import_module("cxr_attn_unet.training.metrics").__spec__.name == "cxr_attn_unet.training.metrics"


def test_what_was_never_there_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"cxr_attn_unet.handlers.none"):
        importlib.import_module("cxr_attn_unet.handlers.none")


def test_a_former_target_is_found_as_monai_finds_it():
    with pytest.warns(FutureWarning, match=r"ViewsInferer is now called TestTimeAugmentationInferer"):
        found = pydoc.locate("cxr_attn_unet.views.ViewsInferer")
    assert found is TestTimeAugmentationInferer


def test_the_message_is_seen_without_asking_for_it():
    done = subprocess.run([sys.executable, "-c", "import cxr_attn_unet.metrics"], capture_output=True, text=True)
    assert "FutureWarning: cxr_attn_unet.metrics is now called cxr_attn_unet.training.metrics." in done.stderr


@pytest.mark.parametrize(
    "make",
    [
        lambda: build_network("spatial_attention_unet", width=4, scale=True).decoder[0].gate,
        lambda: AttentionUNet("full_spatial", width=4, scale=True).decoder[0].gate,
        lambda: SpatialGate(4, scale=True),
    ],
    ids=["build_network", "network", "gate"],
)
def test_attention_is_scaled_by_the_former_name_too(make):
    with pytest.warns(FutureWarning, match=r"scale of \S+ is now called scale_attention"):
        gate = make()
    assert gate.scale_attention


def test_a_setting_has_its_value():
    assert setting("ema_share", 0.1, average=None) == 0.1


@pytest.mark.parametrize("given", [0, False, 0.2])
def test_a_setting_has_the_value_given_by_its_former_name(given):
    assert setting("ema_share", 0.1, average=given) == given


def test_a_setting_given_by_its_former_name_is_reported_in_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        setting("ema_share", 0.1, average=0)
    assert "--average is now called --ema_share; its value 0 is used. Use the new name." in caplog.text
