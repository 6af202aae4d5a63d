"""When an instance is tried again, and when it is not."""

import pytest

from cxr_attn_unet.dicom_network.work import Retries, Selection
from samples import picture, write_dicom


def test_pauses_double_up_to_the_longest():
    retries = Retries(first=5, longest=60)
    assert [retries.pause(attempts) for attempts in (1, 2, 3, 4, 5, 500)] == [5, 10, 20, 40, 60, 60]


@pytest.mark.parametrize(
    ("tags", "objection"),
    [
        ({"BodyPartExamined": "CHEST"}, ""),
        ({"BodyPartExamined": "chest"}, ""),
        ({"BodyPartExamined": ""}, ""),
        ({}, ""),
        ({"BodyPartExamined": "HAND"}, "its body part is HAND"),
        ({"Modality": "MG"}, "its modality is MG"),
        ({"ManufacturerModelName": "cxr-attn-unet"}, "it is a result of this program"),
    ],
)
def test_what_is_not_segmented(tags, objection, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", picture(), bits=8, **tags)
    assert Selection(["CR", "DX"], ["CHEST"]).objection(path) == objection


def test_any_body_part_is_taken_where_none_is_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", picture(), bits=8, BodyPartExamined="HAND")
    assert Selection(["DX"], []).objection(path) == ""


def test_what_cannot_be_read_is_left_to_those_who_say_why(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(b"nothing")
    assert Selection(["DX"], ["CHEST"]).objection(path) == ""
