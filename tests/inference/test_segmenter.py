"""All structures of a radiograph in one call."""

import doctest
import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from conftest import BUNDLES, EXAMPLES, REPOSITORY, run_inference
from cxr_attn_unet import Segmenter
from cxr_attn_unet.bundle import BUNDLES_VARIABLE, bundles_folder
from cxr_attn_unet.inference import segmenter as segmenter_module
from cxr_attn_unet.inference.segmenter import bundle_structures
from cxr_attn_unet.io import Radiograph, RadiographError, read_mask, read_radiograph
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.transforms import without_small_pieces
from samples import write_dicom, write_nifti

FILE = EXAMPLES / "rendered" / "images" / "rendered_01.png"
PIXELS = np.asarray(Image.open(FILE))


@pytest.fixture(scope="module")
def all_four():
    return Segmenter.from_bundles()


@pytest.fixture(scope="module")
def heart():
    return Segmenter.from_bundles(["heart"], device="cpu")


@pytest.fixture(scope="module")
def found(all_four):
    return all_four(FILE)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_what_is_found(found):
    assert tuple(found.masks) == tuple(REGISTRY) == tuple(found.probabilities)
    near_lungs = ndimage.binary_dilation(read_mask(EXAMPLES / "rendered" / "masks" / "lungs" / FILE.name), iterations=9)
    for structure, mask in found.masks.items():
        truth = read_mask(EXAMPLES / "rendered" / "masks" / structure / FILE.name)
        assert mask.shape == PIXELS.shape
        assert mask.dtype == bool
        probability = found.probabilities[structure]
        assert probability.shape == PIXELS.shape
        assert 0 <= probability.min() < 0.1 < 0.9 < probability.max() <= 1
        if structure == "clavicles":  # masks that people draw end where the clavicle leaves the lungs, the CT's do not
            truth &= near_lungs
        assert dice(mask, truth) > 0.7, structure
        assert 0.5 < found.confidences[structure] <= 1
    assert 0.3 < found.measurements["cardiothoracic_ratio"] < 0.7
    assert not found.agreements
    assert found.versions.keys() == found.masks.keys()


def test_what_the_radiograph_does_not_show_is_not_found(all_four):
    found = all_four(PIXELS[100:])  # below the clavicles
    assert not found.masks["clavicles"].any()
    assert found.confidences.pop("clavicles") == 0
    assert min(found.confidences.values()) > 0.5


@pytest.mark.parametrize("root", BUNDLES, ids=lambda path: path.name)
def test_same_as_the_bundle_itself(root, found, tmp_path):
    """What a bundle's inference.json says is what runs."""
    (tmp_path / "in").mkdir()
    shutil.copy(FILE, tmp_path / "in")
    run_inference(root, tmp_path / "in", tmp_path / "out")
    structure = root.name.removesuffix("_attn_unet")
    mask = read_mask(tmp_path / "out" / f"rendered_01_{structure}.png")
    assert mask.any()
    assert (mask != found.masks[structure]).sum() <= 2


def test_file_and_array_are_the_same(heart):
    from_file, from_array = heart(FILE), heart(PIXELS, spacing=(0.5, 0.5))
    assert np.array_equal(from_file.masks["heart"], from_array.masks["heart"])
    assert from_file.measurements["length_unit"] == "px"
    assert from_array.measurements["length_unit"] == "mm"
    assert from_array.measurements["heart_area"] == pytest.approx(from_file.measurements["heart_area"] / 4)


def test_a_spacing_that_is_given_is_said_to_be_given(heart):
    assert heart(PIXELS, spacing=(0.5, 0.5)).radiograph.spacing_source == "given"


def test_notes_of_the_file_are_among_the_warnings(heart):
    radiograph = replace(read_radiograph(FILE), notes=("its window was not used",))
    assert "its window was not used" in heart(radiograph).warnings


@pytest.fixture(scope="module")
def framed(all_four):
    """A real radiograph in a white frame of a third of its side."""
    pixels = np.asarray(Image.open(EXAMPLES / "open_radiographs" / "cae2c0a9.png").convert("L"))[::2, ::2]
    return all_four(np.pad(pixels, 100, constant_values=255)), pixels.shape


def test_the_field_is_what_the_frame_surrounds(framed):
    found, (rows, columns) = framed
    assert np.abs(np.subtract(found.field.box, (100, 100 + rows, 100, 100 + columns))).max() <= 10


def test_quality_control_does_not_look_at_frames(framed):
    assert "looks" not in " ".join(framed[0].warnings)


def test_structures_are_known_without_weights(tmp_path):
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet" / "configs", tmp_path / "heart_attn_unet" / "configs")
    assert bundle_structures(bundles=tmp_path) == ("heart",)


def test_every_orientation_gives_the_mask_over_the_files_own_pixels(heart, tmp_path):
    upright = heart(FILE)
    turned = write_dicom(tmp_path / "a.dcm", PIXELS.T, bits=8, PatientOrientation=["F", "L"], PixelSpacing=[0.2, 0.4])
    reversed_rows = write_nifti(tmp_path / "b.nii.gz", PIXELS[::-1], np.diag((-0.4, 0.2, 1, 1)))
    dark_bone = write_dicom(tmp_path / "c.dcm", 255 - PIXELS, "MONOCHROME1", bits=8)
    expected = upright.masks["heart"]
    for path, stored in ((turned, expected.T), (reversed_rows, expected[::-1]), (dark_bone, expected)):
        one = heart(path)
        assert dice(one.masks["heart"], stored) > 0.99, path
        assert dice(one.upright("heart"), expected) > 0.99, path
        ratio = one.measurements["heart_diameter"] / upright.measurements["heart_diameter"]
        # rows of the turned file are columns of the picture
        assert ratio == pytest.approx({"a.dcm": 0.2, "b.nii.gz": 0.4, "c.dcm": 1}[path.name], rel=0.03)


def test_threshold(heart, tmp_path):
    low, high = (Segmenter.from_bundles(["heart"], threshold=value)(FILE) for value in (0.05, 0.95))
    sizes = [one.masks["heart"].sum() for one in (low, heart(FILE), high)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    ribs = Segmenter.from_bundles(["ribs"], threshold=0.3)(FILE)  # of ribs, only specks are removed
    assert np.array_equal(ribs.masks["ribs"], without_small_pieces(ribs.probabilities["ribs"] > 0.3, 0.002))


def test_views(heart):
    averaged = Segmenter.from_bundles(["heart"], tta=True)(FILE)
    assert 0.7 < averaged.agreements["heart"] < 1
    assert 0.9 < dice(averaged.masks["heart"], heart(FILE).masks["heart"]) < 1


def test_a_network_that_need_not_tell_parts_apart_gives_the_same_mask():
    radiograph = REPOSITORY / "examples" / "open_radiographs" / "00cfd1c1.png"
    one, other = (Segmenter.from_bundles(["lungs"], device="cpu", parts=parts)(radiograph) for parts in (True, False))
    assert np.array_equal(one.masks["lungs"], other.masks["lungs"])
    assert other.parts == {}


def test_batches_of_several_shapes(heart):
    one, other = (Radiograph(pixels.astype(np.float32), "array") for pixels in (PIXELS, PIXELS[:, 20:]))
    together = heart.segment([one, other])
    for radiograph, found in zip((one, other), together, strict=True):
        assert dice(found.masks["heart"], heart(radiograph).masks["heart"]) > 0.999


def test_very_large_radiographs(heart):
    """Above 6000 pixels the picture is halved; the mask has the file's own size."""
    enlarged = PIXELS.repeat(20, 0).repeat(20, 1)[: 320 * 20 - 3, : 300 * 20 - 1]
    found = heart(enlarged)
    assert found.masks["heart"].shape == enlarged.shape == found.probabilities["heart"].shape
    same = heart(PIXELS[:, :300]).masks["heart"].repeat(20, 0).repeat(20, 1)[: enlarged.shape[0], : enlarged.shape[1]]
    assert dice(found.masks["heart"], same) > 0.97


def test_pictures_and_files(found, tmp_path):
    picture = found.plot(256)
    assert picture.width == 256
    assert picture.height > 256
    colours = {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3)}
    assert {(230, 159, 0), (86, 180, 233), (240, 228, 66), (255, 255, 255)} <= colours
    files = found.save(tmp_path / "out", ["png", "overlay"])
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert np.array_equal(read_mask(tmp_path / "out" / "rendered_01_ribs.png"), found.masks["ribs"])
    with pytest.raises(ValueError, match="'gif', must be one of png"):
        found.save(tmp_path, ["gif"])
    with pytest.raises(ValueError, match="table of many"):
        found.save(tmp_path, ["coco"])
    with pytest.raises(RadiographError, match="not DICOM"):
        found.save(tmp_path / "none", ["dicom-seg"])
    assert not (tmp_path / "none").exists()


def test_nothing_found(heart):
    """Noise is no error; what cannot be measured is None, and a warning says so."""
    noise = np.random.default_rng(0).normal(size=(64, 64))
    found = heart(noise)
    assert found.warnings
    assert found.measurements["cardiothoracic_ratio"] is None
    assert found.plot(128).width == 128


def test_checksums_are_those_of_the_weights(heart):
    weights = REPOSITORY / "bundles" / "heart_attn_unet" / "models" / "model.pt"
    assert heart.checksums == {"heart": hashlib.sha256(weights.read_bytes()).hexdigest()}


def test_identity_changes_with_what_changes_masks(heart):
    same, other = (Segmenter.from_bundles(["heart"], threshold=value) for value in (None, 0.4))
    assert same.identity == heart.identity != other.identity


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"structures": ["spleen"]}, FileNotFoundError, r"no bundle spleen_attn_unet .* there are: lungs, heart"),
        ({"bundles": "nowhere"}, FileNotFoundError, "there are: none"),
        ({"threshold": 1.5}, ValueError, "threshold is 1.5"),
        ({"device": "cuda:0"}, ValueError, "sees no GPU"),
    ],
)
def test_wrong_options(options, error, message):
    if "device" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(error, match=message):
        Segmenter.from_bundles(**options)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 64, 64)), r"shape \(4, 64, 64\)"),
        (np.full((64, 64), np.nan), "NaN"),
        (np.ones((64, 64)), "empty"),
        (np.ones((1, 1)), "1 x 1 pixels"),
    ],
)
def test_wrong_arrays(heart, array, message):
    with pytest.raises(RadiographError, match=message):
        heart(array)


def test_bundles_without_weights_or_folder(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet", tmp_path / "heart_attn_unet")
    monkeypatch.setenv(BUNDLES_VARIABLE, str(tmp_path))
    assert bundles_folder() == tmp_path
    assert Segmenter.from_bundles().structures == ("heart",)
    (tmp_path / "heart_attn_unet" / "models" / "model.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"not the file on record .* SHA-256"):
        Segmenter.from_bundles(trust=True)
    (tmp_path / "heart_attn_unet" / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match="no weight file"):
        Segmenter.from_bundles(trust=True)
    monkeypatch.setenv(BUNDLES_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="--bundles or CXR_BUNDLES"):
        Segmenter.from_bundles()


def test_example_in_the_docs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    result = doctest.testmod(segmenter_module, raise_on_error=True, optionflags=doctest.ELLIPSIS)
    assert result.attempted >= 5
    assert (tmp_path / "masks" / "00cfd1c1_heart.png").is_file()


@pytest.fixture
def reduced():
    return segmenter_module._reduced(read_radiograph(FILE))


@pytest.fixture
def moved(reduced):
    """A radiograph's picture on a device that is not the CPU; this one computes nothing."""
    return segmenter_module._on_device(reduced.image, torch.device("meta"), reduced)


def test_a_picture_is_moved_to_the_device(moved):
    assert moved.device.type == "meta"


def test_a_picture_that_is_moved_keeps_what_is_known_of_it(reduced, moved):
    assert (moved.meta["upright"], moved.shape) == (reduced.image.meta["upright"], reduced.image.shape)


def test_a_picture_is_moved_once(reduced, moved):
    assert segmenter_module._on_device(reduced.image, torch.device("meta"), reduced) is moved


def test_a_picture_on_the_cpu_stays_there(reduced):
    assert segmenter_module._on_device(reduced.image, torch.device("cpu"), reduced) is reduced.image


def test_resizing_is_the_devices_work(all_four):
    (steps,) = {tuple(type(step) for step in model.preprocessing.transforms[:3]) for model in all_four._models}
    first = segmenter_module._before_resizing(all_four._models[0].preprocessing.transforms)
    assert [kind.__name__ for kind in steps[first:]] == ["ResizeLongestd"]


def test_a_picture_is_resized_where_it_is(moved):
    from cxr_attn_unet.transforms import ResizeLongestd

    assert ResizeLongestd("image", 64)({"image": moved})["image"].device.type == "meta"
