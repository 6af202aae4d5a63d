"""One style for the JSON files that people read."""

import json

import pytest

from cxr_attn_unet_dev.json_style import format_json

CONTENT = {
    "name": "Herz über alles",
    "views": [[0, 1], [0, 1.3, True]],
    "loss": {"_target_": "DiceCELoss", "softmax": True},
    "empty": {},
    "none": None,
    "transforms": [{"keys": "image"}, "%intensity"],
    "metric": {"dice": {"mean": 0.5}},
}
STYLED = """{
    "name": "Herz über alles",
    "views": [[0, 1], [0, 1.3, true]],
    "loss": {"_target_": "DiceCELoss", "softmax": true},
    "empty": {},
    "none": null,
    "transforms": [
        {"keys": "image"},
        "%intensity"
    ],
    "metric": {
        "dice": {"mean": 0.5}
    }
}
"""


def test_what_holds_no_dictionary_stays_on_one_line():
    assert format_json(CONTENT) == STYLED


def test_the_content_is_the_same():
    assert json.loads(format_json(CONTENT)) == CONTENT


@pytest.mark.parametrize(("length", "lines"), [(103, 3), (104, 5)])
def test_what_is_wider_than_120_columns_with_a_comma_is_opened_up(length, lines):
    # four spaces, "long": ["x...x"], : 17 characters more than the x
    assert len(format_json({"long": ["x" * length]}).splitlines()) == lines
