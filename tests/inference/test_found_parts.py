"""Ribs by number and organs by side, from a network's channels to a segmentation."""

import logging
import shutil

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from conftest import REPOSITORY, run_inference
from cxr_attn_unet import Segmenter
from cxr_attn_unet.inference import segmenter as segmenter_module
from cxr_attn_unet.io import read_mask
from cxr_attn_unet.networks import load_weights
from part_bundles import RIBS, lung_masks, picture_of, rib_masks, write_bundle
from samples import write_dicom

MASKS = rib_masks(missing=("L12",))
PICTURE = picture_of(MASKS, RIBS)
LUNGS = lung_masks()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Bundles of ribs and lungs that tell parts apart, beside the shipped one of the heart."""
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "ribs")
    write_bundle(folder, "lungs")
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet", folder / "heart_attn_unet")
    return folder


@pytest.fixture(scope="module")
def ribs(bundles):
    return Segmenter.from_bundles(["ribs"], bundles, "cpu", parts=True)


@pytest.fixture(scope="module")
def found(ribs):
    return ribs(PICTURE)


# two parts at six pixels: sure, sure of both, unsure, improbable, outside of the structure, unsure of both
PROBABILITIES = torch.tensor([[[0.9, 0.8, 0.3, 0.05, 0.9, 0.2]], [[0.1, 0.7, 0.2, 0.02, 0.1, 0.4]]])
STRUCTURE = np.array([[True, True, True, True, False, True]])


def overlapping(probabilities):
    return [mask[0].tolist() for mask in segmenter_module._overlapping(torch.Tensor.numpy, probabilities, STRUCTURE)]


def test_parts_may_overlap_and_unsure_pixels_are_of_the_most_probable_part():
    first, second = overlapping(PROBABILITIES)
    assert first == [True, True, True, False, False, False]
    assert second == [False, True, False, False, False, True]


def test_a_part_that_is_nowhere_probable_is_not_found():
    assert not any(overlapping(0.6 * PROBABILITIES)[1])


@pytest.mark.parametrize("name", RIBS)
def test_each_rib_has_its_mask(found, name):
    assert np.array_equal(found.parts["ribs"][name], MASKS.get(name, np.zeros(PICTURE.shape, bool)))


def test_the_structure_is_all_ribs_together(found):
    assert np.array_equal(found.masks["ribs"], np.any(list(MASKS.values()), axis=0))


def test_the_probability_is_that_of_the_structure(found):
    assert np.array_equal(found.probabilities["ribs"] > 0.5, found.masks["ribs"])


def test_ribs_are_counted(found):
    assert (found.measurements["ribs_right"], found.measurements["ribs_left"]) == (12, 11)


def test_the_numbering_is_sure(found):
    assert found.measurements["ribs_numbering"] == "sure"


def test_an_uncertain_numbering_is_a_warning(ribs):
    doubtful = ribs(picture_of(rib_masks(missing=("R5",)), RIBS))
    assert "ribs: numbers uncertain (right rib 5 missing between others)" in doubtful.warnings


def test_ribs_of_an_uncertain_numbering_are_given_all_the_same(ribs):
    assert ribs(picture_of(rib_masks(missing=("R5",)), RIBS)).parts["ribs"].found == [*RIBS[:4], *RIBS[5:]]


def test_parts_lie_over_the_files_own_pixels(ribs, tmp_path):
    found = ribs(write_dicom(tmp_path / "a.dcm", PICTURE.T, bits=8, PatientOrientation=["F", "L"]))
    assert np.array_equal(found.parts["ribs"]["R7"], MASKS["R7"].T)


def test_a_part_upright(ribs, tmp_path):
    found = ribs(write_dicom(tmp_path / "a.dcm", PICTURE.T, bits=8, PatientOrientation=["F", "L"]))
    assert np.array_equal(found.upright("ribs", "R7"), MASKS["R7"])


def test_parts_lie_within_their_structure(bundles):
    """A threshold moves the border of the structure, and with it that of its parts."""
    strict = Segmenter.from_bundles(["ribs"], bundles, "cpu", threshold=0.999, parts=True)(PICTURE)
    assert not (strict.parts["ribs"]["L3"] & ~strict.masks["ribs"]).any()


def test_several_views_give_the_same_ribs(bundles):
    averaged = Segmenter.from_bundles(["ribs"], bundles, "cpu", tta=True, parts=True)(PICTURE)
    both = (averaged.parts["ribs"]["R7"] & MASKS["R7"]).sum()
    assert 2 * both / (averaged.parts["ribs"]["R7"].sum() + MASKS["R7"].sum()) > 0.7


def test_parts_are_given_only_if_wanted(bundles):
    assert Segmenter.from_bundles(["ribs"], bundles, "cpu")(PICTURE).parts == {}


def test_the_structure_is_the_same_without_parts(bundles, found):
    assert np.array_equal(Segmenter.from_bundles(["ribs"], bundles, "cpu")(PICTURE).masks["ribs"], found.masks["ribs"])


def test_results_with_parts_have_another_identity(bundles, ribs):
    assert Segmenter.from_bundles(["ribs"], bundles, "cpu").identity != ribs.identity


def test_the_parts_of_a_segmenter(ribs):
    assert ribs.parts == {"ribs": RIBS}


@pytest.fixture(scope="module")
def lungs(bundles):
    return Segmenter.from_bundles(["lungs"], bundles, "cpu", parts=True)(picture_of(LUNGS, list(LUNGS)), (0.5, 0.5))


@pytest.mark.parametrize("name", LUNGS)
def test_each_lung_has_its_mask(lungs, name):
    assert np.array_equal(lungs.parts["lungs"][name], LUNGS[name])


def test_areas_of_lungs_are_in_square_millimetres(lungs):
    assert lungs.measurements["right_lung_area"] == LUNGS["right_lung"].sum() / 4


def test_both_lungs_add_up_to_the_structure(lungs):
    assert np.array_equal(lungs.parts["lungs"]["right_lung"] ^ lungs.parts["lungs"]["left_lung"], lungs.masks["lungs"])


def test_heart_has_no_parts_and_is_no_hindrance(bundles, caplog):
    with caplog.at_level(logging.WARNING):
        segmenter = Segmenter.from_bundles(["heart", "ribs"], bundles, "cpu", parts=True)
    assert (list(segmenter.parts), caplog.text) == (["ribs"], "")


def test_a_bundle_without_parts_is_named(tmp_path):
    write_bundle(tmp_path, "ribs", with_parts=False)
    with pytest.raises(ValueError, match="ribs_attn_unet: no parts, such as numbered ribs, are told apart"):
        Segmenter.from_bundles(["ribs"], tmp_path, "cpu", parts=True)


def test_a_bundle_without_parts_among_others_is_named(bundles, tmp_path, caplog):
    shutil.copytree(bundles / "lungs_attn_unet", tmp_path / "lungs_attn_unet")
    write_bundle(tmp_path, "ribs", with_parts=False)
    with caplog.at_level(logging.WARNING):
        Segmenter.from_bundles(None, tmp_path, "cpu", parts=True)
    assert "ribs_attn_unet: its weights tell no parts apart" in caplog.text


@pytest.fixture(scope="module")
def clavicles():
    """Of the shipped bundle, whose network tells no sides apart."""
    pixels = np.asarray(Image.open(REPOSITORY / "examples" / "open_radiographs" / "f6575117.png"))
    segmenter = Segmenter.from_bundles(["clavicles"], device="cpu", parts=True)
    return segmenter(pixels, (0.4, 0.4))


def test_the_sides_of_a_pair_follow_from_their_place(clavicles):
    right, left = (clavicles.parts["clavicles"][f"{side}_clavicle"] for side in ("right", "left"))
    assert np.flatnonzero(right.any(0)).max() < np.flatnonzero(left.any(0)).min()
    assert np.array_equal(right | left, clavicles.masks["clavicles"])


def test_sides_that_follow_from_their_place_are_measured(clavicles):
    sides = [clavicles.measurements[f"{side}_clavicle_area"] for side in ("right", "left")]
    assert 0.5 < sides[0] / sides[1] < 2


def test_the_bundle_by_itself_gives_the_structure(bundles, found, tmp_path):
    """What its inference.json writes is the union, as if there were no parts."""
    (tmp_path / "in").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "in" / "a.png")
    root = bundles / "ribs_attn_unet"
    run_inference(root, tmp_path / "in", tmp_path / "out")
    assert np.array_equal(read_mask(tmp_path / "out" / "a_ribs.png"), found.masks["ribs"])


def test_the_first_two_channels_of_an_exported_network_are_the_structure(bundles):
    parser = ConfigParser()
    parser.read_config(bundles / "ribs_attn_unet" / "configs" / "inference.json")
    network = load_weights(parser.get_parsed_content("network_def"), bundles / "ribs_attn_unet" / "models" / "model.pt")
    image = torch.from_numpy(PICTURE / PICTURE.max()).float()[None, None]
    with torch.no_grad():
        logits = torch.jit.script(network.eval())(image)[0]
    assert np.array_equal(logits[:2].argmax(0).bool(), np.any(list(MASKS.values()), axis=0))
