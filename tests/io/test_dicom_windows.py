"""Windows, lookup tables and rescale slopes are used where they work; bone is always bright."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from chest import INNER, NEGATIVE, SIGNED, TRUTH, TWELVE, difference, patched, read, shown, table
from cxr_attn_unet.io import read_radiograph
from samples import write_dicom

SAME = 0.004  # 7 bits
RISING = np.arange(4096)
FALLING = RISING[::-1]


def words(entries):
    return (np.asarray(entries)).astype("<u2").tobytes()


def octets(entries):
    return np.asarray(entries).astype("u1").tobytes()


def window(center, width, function=None):
    tags = {"WindowCenter": center, "WindowWidth": width}
    if function is not None:
        tags["VOILUTFunction"] = function
    return tags


USELESS_WINDOWS = {
    "width 0": window(2048, 0),
    "negative width": window(2048, -4096),
    "width below 1": window(2048, "0.5"),
    "above the data": window(20000, 500),
    "below the data": window(-9000, 500),
    "narrow": window(2048, 50),
    "narrow and dark": window(300, 300),
    "narrow and bright": window(3600, 900),
    "half of the range": window(600, 1200),
    "exact of width 0": window(2048, 0, "LINEAR_EXACT"),
    "sigmoid of negative width": window(2048, -1, "SIGMOID"),
    "sigmoid that saturates": window(500, 100, "SIGMOID"),
    "center alone": {"WindowCenter": 100},
    "width alone": {"WindowWidth": 10},
}


@pytest.mark.parametrize("case", USELESS_WINDOWS)
def test_a_window_that_does_not_work_is_ignored(case, tmp_path):
    assert difference(read(tmp_path, **USELESS_WINDOWS[case])) < SAME


@pytest.mark.parametrize("case", USELESS_WINDOWS)
def test_a_window_that_is_ignored_is_noted(case, tmp_path):
    notes = read(tmp_path, **USELESS_WINDOWS[case]).notes
    assert len(notes) == 1
    assert "indow" in notes[0]


@pytest.mark.parametrize("case", USELESS_WINDOWS)
def test_bone_stays_bright_in_monochrome1_with_a_useless_window(case, tmp_path):
    assert difference(read(tmp_path, NEGATIVE, "MONOCHROME1", **USELESS_WINDOWS[case])) < SAME


@pytest.mark.parametrize(
    ("center", "width"),
    [(b"2047,5", b"4096,0"), (b"\\2047.", b"\\4096."), (b"auto  ", b"auto  "), (b"nan   ", b"inf   ")],
)
def test_windows_that_are_no_decimal_strings(center, width, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, WindowCenter="9999.1", WindowWidth="8888.2")
    patched(path, b"9999.1", center)
    patched(path, b"8888.2", width)
    assert difference(read_radiograph(path)) < SAME


def test_a_decimal_comma_is_read(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, WindowCenter="9999.1", WindowWidth="8888.2")
    patched(patched(path, b"9999.1", b"1800,5"), b"8888.2", b"3601,0")
    assert read_radiograph(path).pixels.max() == pytest.approx(3600, abs=1)


def test_the_first_window_that_works_is_taken(tmp_path):
    radiograph = read(tmp_path, **window([2048, 9000, 1800.5, 2047.5], [0, 10, 3601, 4096]))
    assert radiograph.pixels.max() == pytest.approx(3600, abs=1)


def test_an_unknown_function_is_taken_as_linear(tmp_path):
    radiograph = read(tmp_path, **window(1800.5, 3601, "CUBIC"))
    assert radiograph.pixels.max() == pytest.approx(3600, abs=1)
    assert "CUBIC" in radiograph.notes[0]


@pytest.mark.parametrize("percentiles", [(1, 99), (10, 99), (5, 90)])
def test_a_window_that_clips_air_or_bone_is_used(percentiles, tmp_path):
    low, high = np.percentile(TWELVE, percentiles).round()
    radiograph = read(tmp_path, **window((low + high) / 2 + 0.5, high - low + 1))
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == pytest.approx((low, high), abs=1)
    assert radiograph.notes == ()


def test_a_window_that_works_for_all_but_a_black_frame_is_used(tmp_path):
    stored = np.pad(TWELVE // 2 + 1000, 60)
    radiograph = read(tmp_path, stored, **window(2024, 2049))
    assert radiograph.notes == ()


def test_a_sigmoid_follows_the_standard(tmp_path):
    radiograph = read(tmp_path, **window(2048, 4096, "SIGMOID"))
    np.testing.assert_allclose(radiograph.pixels, 1 / (1 + np.exp(-4 * (TWELVE - 2048.0) / 4096)), atol=1e-5)


SLOPES = {
    "empty": {"RescaleSlope": "", "RescaleIntercept": ""},
    "0": {"RescaleSlope": 0, "RescaleIntercept": 0},
    "intercept empty": {"RescaleSlope": 1, "RescaleIntercept": ""},
    "empty and a window": {"RescaleSlope": "", "RescaleIntercept": 0, **window(2047.5, 4096)},
}


@pytest.mark.parametrize("case", SLOPES)
def test_a_rescale_slope_without_value_is_1(case, tmp_path):
    radiograph = read(tmp_path, **SLOPES[case])
    assert difference(radiograph) < SAME
    assert "Rescale" in radiograph.notes[0]


@pytest.mark.parametrize("text", [b"nan   ", b"inf   ", b"one   ", b"      ", b"0,0000"])
def test_a_rescale_slope_that_is_no_number_is_1(text, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, RescaleSlope="7777.1", RescaleIntercept="0")
    assert difference(read_radiograph(patched(path, b"7777.1", text))) < SAME


@pytest.mark.parametrize(
    "tags",
    [
        window(2047.5, 4096),
        window(2047.5, 4096, "LINEAR_EXACT"),
        window(2048, 20),
        window(2048, 0),
        {},
    ],
)
def test_bone_is_bright_with_a_negative_slope(tags, tmp_path):
    assert difference(read(tmp_path, NEGATIVE, RescaleSlope=-1, RescaleIntercept=4095, **tags)) < SAME


def test_bone_is_bright_with_a_negative_slope_in_monochrome1(tmp_path):
    tags = window(2047.5, 4096)
    radiograph = read(tmp_path, TWELVE, "MONOCHROME1", RescaleSlope=-1, RescaleIntercept=4095, **tags)
    assert difference(radiograph) < SAME


def test_the_window_of_a_negative_slope_is_that_of_the_values_after_it(tmp_path):
    radiograph = read(tmp_path, NEGATIVE, RescaleSlope=-1, RescaleIntercept=4095, **window(1800.5, 3601))
    assert radiograph.pixels.max() == pytest.approx(3600, abs=1)


TABLES = {
    "16 bits": table(words(RISING * 16), [4096, 0, 16]),
    "constant": table(words(np.full(4096, 7)), [4096, 0, 16]),
    "empty": table(b"", [4096, 0, 16]),
    "one entry": table(words([5]), [1, 0, 16]),
    "noise": table(words(np.random.default_rng(0).integers(0, 65536, 4096)), [4096, 0, 16]),
    "short by half": table(words(RISING[:2048] * 16), [4096, 0, 16]),
    "8 bits in bytes": table(octets(RISING // 16), [4096, 0, 8]),
    "8 bits in words": table(words(RISING // 16), [4096, 0, 8]),
    "8 bits in words as numbers": table(RISING // 16, [4096, 0, 8], "US"),
    "8 bits in bytes as numbers": table((RISING // 16).astype("u1").view("<u2"), [4096, 0, 8], "US"),
    "8 bits, an odd number of bytes": table(octets(np.append(RISING[:4095] // 16, 0)), [4095, 0, 8]),
    "7 bits in bytes": table(octets(RISING // 32), [4096, 0, 7]),
    "7 bits in words": table(words(RISING // 32), [4096, 0, 7]),
    "8 bits stated, 16 there": table(words(RISING * 16), [4096, 0, 8]),
    "16 bits stated, bytes there": table(octets(RISING // 16), [4096, 0, 16]),
    "12 bits": table(words(RISING), [4096, 0, 12]),
    "big-endian words": table((RISING * 16).astype(">u2").tobytes(), [4096, 0, 16]),
    "first value 2000": table(words(RISING * 16), [4096, 2000, 16]),
    "first value -1000": table(words(RISING * 16), [4096, -1000, 16]),
    "first value 65535": table(words(RISING * 16), [4096, 65535, 16]),
    "0 entries stated": table(words(RISING * 16), [0, 0, 16]),
    "256 entries stated": table(words(RISING * 16), [256, 0, 16]),
    "two values of descriptor": table(words(RISING * 16), [4096, 0]),
    "descriptor of nonsense": table(words(RISING * 16), [1, 9999, 3]),
    "256 entries for 12 bits": table(octets(np.arange(256)), [256, 0, 8]),
    "empty item": Sequence([Dataset()]),
    "no item": Sequence([]),
}


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("case", TABLES)
def test_a_table_gives_the_picture(case, sequence, tmp_path):
    assert difference(read(tmp_path, **{sequence: TABLES[case]})) < SAME


FALLING_TABLES = {
    "16 bits": table(words(FALLING * 16), [4096, 0, 16]),
    "12 bits": table(words(FALLING), [4096, 0, 12]),
    "8 bits in bytes": table(octets(FALLING // 16), [4096, 0, 8]),
    "short": table(words(FALLING[:2000] * 16), [4096, 0, 16]),
    "first value 1000": table(words(FALLING * 16), [4096, 1000, 16]),
}


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("case", FALLING_TABLES)
def test_a_table_that_inverts_does_so(case, sequence, tmp_path):
    assert difference(read(tmp_path, NEGATIVE, **{sequence: FALLING_TABLES[case]})) < SAME


def test_a_falling_table_that_does_not_fit_still_says_what_is_bright(tmp_path):
    radiograph = read(tmp_path, NEGATIVE, VOILUTSequence=table(octets(np.arange(256)[::-1]), [256, 0, 8]))
    assert difference(radiograph) < SAME


def test_the_curve_of_a_table_is_followed(tmp_path):
    curve = (65535 / (1 + np.exp(-(RISING - 2048) / 700))).astype(int)
    radiograph = read(tmp_path, VOILUTSequence=table(words(curve), [4096, 0, 16]))
    np.testing.assert_array_equal(radiograph.pixels, curve[TWELVE])


def test_a_table_of_eight_bits_is_exact(tmp_path):
    curve = (255 / (1 + np.exp(-(RISING - 2048) / 700))).astype(int)
    radiograph = read(tmp_path, VOILUTSequence=table(octets(curve), [4096, 0, 8]))
    np.testing.assert_array_equal(radiograph.pixels, curve[TWELVE])


@pytest.mark.parametrize("first", [-2048, 0])
def test_a_table_of_signed_pixels(first, tmp_path):
    radiograph = read(tmp_path, SIGNED, VOILUTSequence=table(words(RISING * 16), [4096, first, 16]))
    np.testing.assert_array_equal(radiograph.pixels, TWELVE * 16.0)


@pytest.mark.parametrize("case", ["constant", "noise", "short by half", "first value 2000", "empty item"])
def test_a_table_that_does_not_fit_is_noted(case, tmp_path):
    (note,) = read(tmp_path, VOILUTSequence=TABLES[case]).notes
    assert note.startswith("VOILUTSequence (0028,3010)")


def test_a_window_after_a_modality_table(tmp_path):
    sequence = table(words(FALLING), [4096, 0, 12])
    radiograph = read(tmp_path, NEGATIVE, ModalityLUTSequence=sequence, **window(1800.5, 3601))
    assert radiograph.pixels.max() == pytest.approx(3600, abs=1)


def test_the_window_where_the_table_does_not_fit(tmp_path):
    radiograph = read(tmp_path, VOILUTSequence=TABLES["constant"], **window(1800.5, 3601))
    assert radiograph.pixels.max() == pytest.approx(3600, abs=1)


@pytest.mark.parametrize(
    ("stored", "photometric", "shape"),
    [
        (NEGATIVE, "MONOCHROME2", "INVERSE"),
        (NEGATIVE, "MONOCHROME1", "INVERSE"),
        (TWELVE, "MONOCHROME2", "IDENTITY"),
        (NEGATIVE, "MONOCHROME1", None),
        (NEGATIVE, "monochrome1", None),
        (TWELVE, "", None),
    ],
)
def test_presentation_lut_shape_and_photometric_interpretation(stored, photometric, shape, tmp_path):
    tags = {} if shape is None else {"PresentationLUTShape": shape}
    assert difference(read(tmp_path, stored, photometric, **tags)) < SAME


def framed(stored, value):
    """A frame of one value around the picture."""
    padded = np.full_like(stored, value)
    padded[INNER] = stored[INNER]
    return padded


@pytest.mark.parametrize("is_stated", [True, False])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("value", [0, 4095, 65535])
def test_padding_is_as_dark_as_the_darkest_of_the_picture(value, bits, photometric, is_stated, tmp_path):
    if bits == 16 and value == 4095 and not is_stated:
        pytest.skip("may be anything")
    stored = (TWELVE if photometric == "MONOCHROME2" else NEGATIVE) // 2 + 1000
    tags = {"PixelPaddingValue": value} if is_stated else {}
    radiograph = read(tmp_path, framed(stored, value), photometric, bits, **tags)
    assert radiograph.pixels[0, 0] == radiograph.pixels[INNER].min() == radiograph.pixels.min()
    assert difference(radiograph, INNER) < SAME


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("value", [-32768, 32767])
def test_signed_padding(value, photometric, tmp_path):
    stored = SIGNED if photometric == "MONOCHROME2" else -SIGNED
    radiograph = read(tmp_path, framed(stored, value), photometric, 16)
    assert radiograph.pixels[0, 0] == radiograph.pixels[INNER].min() == radiograph.pixels.min()
    assert difference(radiograph, INNER) < SAME


def test_a_range_of_padding(tmp_path):
    stored = framed(TWELVE // 2 + 1000, 0)
    stored[:10] = 150
    radiograph = read(tmp_path, stored, PixelPaddingValue=0, PixelPaddingRangeLimit=200)
    assert set(np.unique(radiograph.pixels[:20])) == {radiograph.pixels[INNER].min()}


def test_padding_does_not_count_in_the_logarithm_of_linear_values(tmp_path):
    stored = framed(np.round(60000 * np.exp(-4 * TRUTH)).astype(np.uint16), 0)
    tags = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1, "PixelPaddingValue": 0}
    radiograph = read(tmp_path, stored, bits=16, PresentationIntentType="FOR PROCESSING", **tags)
    assert radiograph.pixels[0, 0] == radiograph.pixels.min()
    assert difference(radiograph, INNER) < SAME


def test_a_padding_value_that_tissue_has_as_well_is_padding_at_the_edge_only(tmp_path):
    value = int(TWELVE[80, 64])
    stored = TWELVE.copy()
    stored[:10] = value
    stored[78:82, 62:66] = value
    radiograph = read(tmp_path, stored, PixelPaddingValue=value)
    assert (radiograph.pixels[80, 64], radiograph.pixels[0, 0]) == (value, TWELVE[10:].min())


def test_a_padding_value_that_all_pixels_have_is_ignored(tmp_path):
    stored = np.full_like(TWELVE, 100)
    stored[70:80, 60:70] = 3000
    assert "PixelPaddingValue" in read(tmp_path, stored, PixelPaddingValue=100).notes[0]


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("value", [0, 65535])
def test_faulty_pixels_do_not_stretch_the_range(value, photometric, tmp_path):
    stored = (TWELVE if photometric == "MONOCHROME2" else NEGATIVE) + 20000
    stored[np.random.default_rng(0).random(stored.shape) < 0.02] = value
    assert difference(read(tmp_path, stored, photometric, 16)) < SAME


def test_percentiles_of_the_plain_picture_are_those_of_the_truth(tmp_path):
    np.testing.assert_allclose(shown(read(tmp_path).pixels), shown(TRUTH), atol=0.001)
