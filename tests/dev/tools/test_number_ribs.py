"""Numbers for the ribs of real radiographs: one number for each posterior rib, and what is not sure left open."""

from pathlib import Path

import numpy as np
from PIL import Image

from cxr_attn_unet.datasets import load_data
from cxr_attn_unet.io import IGNORED, UNKNOWN, read_parts
from cxr_attn_unet.structures import part_names
from cxr_attn_unet_dev.tools.number_ribs import labels_of, main
from rib_ladder import LEFT, RIGHT, SPINE, chest, rib_mask, swap

EXAMPLES = Path(__file__).parents[3] / "examples" / "rendered"


def is_part(bits, index):
    return (bits != UNKNOWN) & ((bits >> index & 1) > 0)


def test_a_rib_with_two_numbers_gets_one():
    probabilities = chest()
    near_spine = slice(SPINE + 20, SPINE + 33)
    swap(probabilities, 7, False, near_spine)
    bits = labels_of(probabilities).bits
    rib = rib_mask(7, False)
    assert is_part(bits, LEFT + 6)[rib].all()
    assert not is_part(bits, LEFT + 7)[rib].any()


def test_the_other_side_decides_where_a_side_is_shifted():
    probabilities = chest()
    for number in range(5, 8):
        swap(probabilities, number, False, slice(SPINE + 20, SPINE + 88))
    ribs = labels_of(probabilities)
    near_spine = np.s_[:, SPINE + 25 : SPINE + 80]
    for number in range(5, 8):
        rib = rib_mask(number, False)[near_spine]
        assert is_part(ribs.bits, LEFT + number - 1)[near_spine][rib].all(), number


def test_how_a_rib_goes_on_is_left_open_where_most_of_it_had_another_number():
    probabilities = chest()
    swap(probabilities, 7, False, slice(SPINE + 20, SPINE + 80))
    bits = labels_of(probabilities).bits
    to_the_side = rib_mask(7, False)
    to_the_side[:, : SPINE + 100] = False
    assert (bits[to_the_side] == UNKNOWN).all()
    assert (bits[rib_mask(10, False)] != UNKNOWN).all()


def test_a_side_of_which_nothing_is_sure_is_left_open():
    probabilities = chest()
    left = np.s_[13:25, :, SPINE:]
    probabilities[left] = np.where(probabilities[0, :, SPINE:] > 0.5, 0.15, 0.01)
    labels = labels_of(probabilities)
    assert labels.sides == 1
    assert (labels.bits[rib_mask(6, False)] == UNKNOWN).all()
    assert is_part(labels.bits, RIGHT + 5)[rib_mask(6, True)].all()


def test_a_label_of_all_ribs_counts_more_than_what_is_found():
    probabilities = chest()
    label = np.where(probabilities[0] > 0.5, 1, 0)
    label[rib_mask(6, True)] = 0
    label[:, SPINE:] = IGNORED
    labels = labels_of(probabilities, label)
    assert not labels.mask[rib_mask(6, True)].any()
    assert (labels.bits[rib_mask(6, True)] == 0).all()
    assert labels.mask[rib_mask(6, False)].all()


def test_labels_are_written_that_can_be_trained_on(tmp_path):
    output = tmp_path / "numbered"
    assert main(["--dataset_dir", str(EXAMPLES), "--output", str(output), "--count", "2"]) == 0
    data = load_data(str(output), "ribs")
    assert data["validation"] == []
    item = data["training"][0]
    bits = read_parts(item["parts"], len(part_names("ribs")))
    assert bits.shape == np.asarray(Image.open(item["image"])).shape
    assert (bits > 0).mean() > 0.03


def test_a_missing_data_set_is_named(tmp_path, capsys):
    assert main(["--dataset_dir", str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
