"""The command: files in; masks, measurements, warnings and a report out."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from conftest import EXAMPLES, REPOSITORY
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.io import read_mask
from cxr_attn_unet.output import decode
from cxr_attn_unet.structures import label_values
from samples import CT, write_dicom, write_nifti

FILE = EXAMPLES / "rendered" / "images" / "rendered_01.png"
PIXELS = np.asarray(Image.open(FILE))
HEART = ("--structures", "heart", "--no-report")


def segment(*arguments) -> int:
    return main(["segment", *(str(argument) for argument in arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def results(folder: Path) -> set[str]:
    """Everything in a folder but what makes the run resumable."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in files if path.parts[0] != ".segment"}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


FORMS = ("png", "labelmap", "labelmap-nifti", "nifti", "dicom-seg", "dicom-sr", "dicom-gsps", "dicom-sc")
FORMS += ("overlay", "figure", "coco", "parquet")
STEMS = ("a", "b", os.path.join("sub", "c"))
TABLES = ("manifest.json", "measurements.csv", "failures.csv")


def write_radiographs(folder: Path) -> Path:
    """Three good radiographs, one in a subfolder."""
    (folder / "sub").mkdir(parents=True)
    shutil.copy(FILE, folder / "a.png")
    identity = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}
    write_dicom(folder / "b.dcm", PIXELS, bits=8, PixelSpacing=[0.9, 0.8], ImagerPixelSpacing=[0.9, 0.8], **identity)
    write_nifti(folder / "sub" / "c.nii.gz", PIXELS, np.diag((-0.8, -0.9, 1, 1)))
    return folder


@pytest.fixture
def radiographs(tmp_path):
    return write_radiographs(tmp_path / "in")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Results in every format of all structures in radiographs of several formats."""
    root = tmp_path_factory.mktemp("everything")
    assert segment(write_radiographs(root / "in"), "-o", root / "out", "--format", *FORMS) == 0
    return root / "out"


@pytest.fixture(scope="module")
def masks(everything):
    return {name: read_mask(everything / f"b_{name}.png") for name in label_values()}


@pytest.fixture(scope="module")
def table(everything):
    return {row["name"]: row for row in rows(everything / "measurements.csv")}


@pytest.fixture(scope="module")
def seen_labels(masks):
    """The label map that the masks make, later structures on top."""
    expected = np.zeros(PIXELS.shape, np.uint8)
    for name in ("lungs", "heart", "ribs", "clavicles"):
        expected[masks[name]] = label_values()[name]
    return expected


def test_every_format_has_its_files(everything):
    endings = [f"_{name}{suffix}" for name in label_values() for suffix in (".png", ".nii.gz")]
    endings += ["_labels.png", "_labels.nii.gz", "_overlay.jpg", "_figure.png"]
    tables = {"manifest.json", "measurements.csv", "report.html", "coco.json", "segmentations.parquet"}
    tables |= {f"b.{kind}.dcm" for kind in ("seg", "sr", "pr", "sc")}
    assert results(everything) == {stem + ending for stem in STEMS for ending in endings} | tables


@pytest.mark.parametrize(("kind", "same"), [("reproducible", True), ("fresh", False)])
def test_uids_of_dicom_results_are_of_the_kind_asked_for(radiographs, tmp_path, kind, same):
    pytest.importorskip("highdicom")
    made = []
    for name in ("first", "second"):
        options = ("--format", "dicom-sr", "--uids", kind, *HEART)
        assert segment(radiographs / "b.dcm", "-o", tmp_path / name, *options) == 0
        made.append(pydicom.dcmread(tmp_path / name / "b.sr.dcm").SOPInstanceUID)
    assert (made[0] == made[1]) is same


def test_masks_lie_over_the_files_own_pixels(masks):
    assert {mask.shape for mask in masks.values()} == {PIXELS.shape}


def test_every_structure_is_found(masks):
    assert [name for name, mask in masks.items() if not mask.any()] == []


def test_masks_have_one_bit(everything):
    assert Image.open(everything / "b_heart.png").mode == "1"


def test_the_label_map_is_that_of_the_masks(everything, seen_labels):
    assert np.array_equal(np.asarray(Image.open(everything / "b_labels.png")), seen_labels)


def test_the_label_map_in_nifti_is_that_of_the_masks(everything, seen_labels):
    assert np.array_equal(np.asarray(nib.load(everything / "b_labels.nii.gz").dataobj)[..., 0].T, seen_labels)


def test_a_row_per_radiograph(table):
    assert set(table) == set(STEMS)


def test_files_are_named_by_their_path_below_the_folder(table):
    assert [row["file"] for row in table.values()] == ["a.png", "b.dcm", os.path.join("sub", "c.nii.gz")]


def test_without_spacing_measurements_are_in_pixels(table):
    assert table["a"]["length_unit"] == "px"


def test_with_spacing_areas_are_in_square_millimetres(table, masks):
    assert float(table["b"]["heart_area"]) == pytest.approx(masks["heart"].sum() * 0.72, rel=1e-3)


def test_the_unit_of_areas(table):
    assert table["b"]["area_unit"] == "mm2"


def test_the_spacing_is_in_the_table(table):
    assert float(table["b"]["row_spacing_mm"]) == 0.9


def test_the_size_is_in_the_table(table):
    assert table["b"]["columns"] == str(PIXELS.shape[1])


def test_no_spacing_has_no_source(table):
    assert table["a"]["spacing_source"] == ""


@pytest.fixture(scope="module")
def coco(everything):
    return json.loads((everything / "coco.json").read_text())


@pytest.fixture(scope="module")
def annotations(coco):
    """Those of the DICOM radiograph, by structure."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    image = next(image for image in coco["images"] if image["file_name"] == "b.dcm")
    return {names[one["category_id"]]: one for one in coco["annotations"] if one["image_id"] == image["id"]}


def test_coco_has_the_size_of_the_files(coco):
    assert {(image["height"], image["width"]) for image in coco["images"]} == {PIXELS.shape}


def test_coco_has_the_masks(annotations, masks):
    decoded = {name: decode(one["segmentation"]) for name, one in annotations.items()}
    assert all(np.array_equal(decoded[name], mask) for name, mask in masks.items())


def test_coco_has_the_areas(annotations, masks):
    assert {name: one["area"] for name, one in annotations.items()} == {n: m.sum() for n, m in masks.items()}


@pytest.fixture(scope="module")
def parquet_row(everything):
    import pyarrow.parquet as pq

    return next(row for row in pq.read_table(everything / "segmentations.parquet").to_pylist() if row["name"] == "b")


def test_parquet_has_the_masks(parquet_row, masks):
    size = [parquet_row["rows"], parquet_row["columns"]]
    assert np.array_equal(decode({"size": size, "counts": parquet_row["rle_ribs"]}), masks["ribs"])


def test_parquet_has_the_measurements(parquet_row, table):
    assert parquet_row["heart_area"] == pytest.approx(float(table["b"]["heart_area"]), rel=1e-4)


def test_parquet_has_the_source_of_the_spacing(parquet_row):
    assert "spacing_source" in parquet_row


def test_the_report_names_files_by_their_path_below_the_folder(everything):
    assert '<td class="name">b.dcm</td>' in (everything / "report.html").read_text()


def test_the_report_has_no_path_of_this_machine(everything):
    assert str(everything.parent) not in (everything / "report.html").read_text()


@pytest.fixture(scope="module")
def withheld(tmp_path_factory):
    """The results of a radiograph that lies on its side."""
    folder = tmp_path_factory.mktemp("withheld")
    upright = Image.open(EXAMPLES / "open_radiographs" / "00cfd1c1.png").resize((512, 512))
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png")
    segment(folder / "turned.png", "-o", folder / "out", "--structures", "lungs", "heart", "--format", "coco")
    return folder / "out"


@pytest.mark.parametrize("column", ["cardiothoracic_ratio", "heart_diameter", "thoracic_diameter"])
def test_a_ratio_that_is_withheld_is_an_empty_cell(withheld, column):
    assert rows(withheld / "measurements.csv")[0][column] == ""


def test_why_it_is_withheld_is_in_the_warnings(withheld):
    assert "rotated by 90 degrees" in rows(withheld / "measurements.csv")[0]["warnings"]


def test_why_it_is_withheld_is_in_the_report(withheld):
    assert "rotated by 90 degrees" in (withheld / "report.html").read_text()


def test_coco_loads_in_its_own_library(radiographs, out, capsys):
    from pycocotools.coco import COCO

    assert segment(radiographs / "a.png", "-o", out, "--format", "coco", *HEART) == 0
    coco = COCO(str(out / "coco.json"))
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert coco.annToMask(annotation).sum() == annotation["area"] > 0


def test_tables_alone_need_no_files_per_radiograph(radiographs, out):
    assert segment(radiographs / "a.png", "-o", out, "--format", "coco", *HEART) == 0
    assert results(out) == {"coco.json", "manifest.json", "measurements.csv"}


def test_nifti_lies_over_the_file_in_itk(radiographs, out):
    """A viewer that loads file and mask through ITK sees one over the other: same origin, spacing, direction."""
    itk = pytest.importorskip("SimpleITK")
    assert segment(radiographs, "-o", out, "--format", "nifti", *HEART) == 0
    for name, mask in (("b.dcm", "b"), ("sub/c.nii.gz", "sub/c"), ("a.png", "a")):
        image, found = itk.ReadImage(str(radiographs / name)), itk.ReadImage(str(out / f"{mask}_heart.nii.gz"))
        assert found.GetSize()[:2] == image.GetSize()[:2]
        for which in (image, found):
            corner = which.TransformIndexToPhysicalPoint([10, 20, 0][: which.GetDimension()])[:2]
            assert corner == pytest.approx((8.0, 18.0) if name != "a.png" else (10, 20), rel=1e-4), name


def test_small_files(tmp_path, out):
    """All four structures of a 2000 x 2000 radiograph take less than 40 KB."""
    real = Image.open(EXAMPLES / "open_radiographs" / "cae2c0a9.png").convert("L")
    real.resize((2000, 2000), Image.Resampling.BICUBIC).save(tmp_path / "large.png")
    assert segment(tmp_path / "large.png", "-o", out) == 0
    sizes = [path.stat().st_size for path in out.glob("large_*.png")]
    assert len(sizes) == 4
    assert sum(sizes) < 40_000


def made(out: Path) -> dict[str, int]:
    """When each mask was made."""
    return {name: (out / name).stat().st_mtime_ns for name in results(out) if name.endswith("_heart.png")}


@pytest.fixture
def first(radiographs, out):
    """When the masks of a first run were made."""
    assert segment(radiographs, "-o", out, *HEART) == 0
    return made(out)


def test_the_same_command_does_nothing_again(radiographs, out, first):
    assert segment(radiographs, "-o", out, *HEART) == 0
    assert made(out) == first


def test_the_same_command_says_what_was_finished(radiographs, out, first, capsys):
    segment(radiographs, "-o", out, *HEART)
    assert "3 of 3 were finished before" in capsys.readouterr().err


def test_a_result_that_is_gone_is_made_again(radiographs, out, first):
    (out / "b_heart.png").unlink()
    segment(radiographs, "-o", out, *HEART)
    again = made(out)
    assert {name for name in first if again[name] != first[name]} == {"b_heart.png"}


def test_a_radiograph_that_has_changed_is_segmented_again(radiographs, out, first):
    Image.fromarray(PIXELS[:, ::-1]).save(radiographs / "a.png")
    segment(radiographs, "-o", out, *HEART)
    again = made(out)
    assert {name for name in first if again[name] != first[name]} == {"a_heart.png"}


@pytest.mark.parametrize("options", [["--threshold", "0.3"], ["--overwrite"]])
def test_other_settings_and_overwrite_segment_all_again(radiographs, out, first, options):
    segment(radiographs, "-o", out, *HEART, *options)
    again = made(out)
    assert [name for name in first if again[name] == first[name]] == []


def test_the_journal_of_version_0_1_0_is_no_error(radiographs, out, first):
    journal = out / ".segment" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        del line["version"]
        line["mark"] = line.pop("state")
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert segment(radiographs, "-o", out, *HEART) == 0


def test_another_format_later_is_added(radiographs, out):
    assert segment(radiographs, "-o", out, *HEART) == 0
    assert segment(radiographs, "-o", out, *HEART, "--format", "coco") == 0
    assert {"a_heart.png", "coco.json"} <= results(out)
    assert len(json.loads((out / "coco.json").read_text())["annotations"]) == 3


BAD = {
    "zero bytes.png": "empty",
    "truncated.dcm": "truncated",
    "truncated.png": "truncated",
    "volume.nii.gz": "a volume",
    "nan.nii": "NaN",
    "frames.dcm": "2 frames",
    "pixel.png": "1 x 1 pixels",
    "photograph.jpg": "in colour",
    "no pixel data.dcm": "pixels",
    "compressed.dcm": "damaged",
    "missing.png": "no such file",
}


def write_bad_files(folder: Path) -> None:
    """Files that cannot be used, each for another reason, among the good radiographs."""
    import pydicom

    good = folder / "b.dcm"
    (folder / "zero bytes.png").write_bytes(b"")
    (folder / "truncated.dcm").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "truncated.png").write_bytes(FILE.read_bytes()[:5000])
    write_nifti(folder / "volume.nii.gz", np.zeros((5, 64, 64), np.int16), np.eye(4))
    write_nifti(folder / "nan.nii", np.full((64, 64), np.nan, np.float32), np.eye(4))
    write_dicom(folder / "frames.dcm", np.stack([PIXELS, PIXELS]), bits=8, NumberOfFrames=2)
    Image.fromarray(PIXELS[:1, :1]).save(folder / "pixel.png")
    y, x = np.mgrid[:96, :128]
    colours = np.stack([200 * (x > 60), 200 * (y > 40), 120 + 0 * x], -1).astype(np.uint8)
    Image.fromarray(colours).save(folder / "photograph.jpg")
    bare = pydicom.dcmread(good)
    del bare.PixelData
    bare.save_as(folder / "no pixel data.dcm")
    compressed = pydicom.dcmread(good)
    compressed.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"  # JPEG Lossless, but these are no such data
    compressed.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
    compressed["PixelData"].is_undefined_length = True
    compressed.save_as(folder / "compressed.dcm")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")


class TestBadFiles:
    """Bad files among good ones."""

    @pytest.fixture(scope="class")
    def folders(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("bad")
        write_bad_files(write_radiographs(root / "in"))
        return root / "in", root / "out"

    @pytest.fixture(scope="class")
    def run(self, folders):
        """Exit status and what was printed."""
        process = start(folders[0], folders[0] / "missing.png", "-o", folders[1], *HEART)
        _, printed = process.communicate(timeout=200)
        return process.returncode, printed

    @pytest.fixture(scope="class")
    def failures(self, folders, run):
        return {Path(row["file"]).name: row for row in rows(folders[1] / "failures.csv")}

    def test_the_status_says_that_some_failed(self, run):
        assert run[0] == 1

    def test_the_good_ones_are_segmented(self, folders, run):
        assert [row["name"] for row in rows(folders[1] / "measurements.csv")] == list(STEMS)

    def test_all_bad_ones_are_failures(self, failures):
        assert {name: row["kind"] for name, row in failures.items()} == dict.fromkeys(BAD, "failed")

    @pytest.mark.parametrize(("name", "reason"), BAD.items())
    def test_the_reason_is_told(self, failures, name, reason):
        assert reason in failures[name]["reason"]

    @pytest.mark.parametrize("name", BAD)
    def test_the_reason_names_the_file(self, failures, name):
        assert failures[name]["reason"].partition(": ")[0].endswith(name)

    @pytest.mark.parametrize("name", BAD)
    def test_the_failure_is_printed(self, run, name):
        assert f"{name}: " in run[1]

    def test_nothing_else_is_printed(self, run):
        """Nothing of what libraries say to their developers."""
        mine = ("failed: ", "1 file", "Segmented ")
        assert [line for line in run[1].splitlines() if line and not line.startswith(mine)] == []

    def test_the_list_is_gone_when_they_are_gone(self, folders, failures):
        for name in BAD:
            (folders[0] / name).unlink(missing_ok=True)
        assert segment(folders[0], "-o", folders[1], *HEART) == 0
        assert not (folders[1] / "failures.csv").exists()


def test_other_modalities_are_skipped_with_a_reason(radiographs, out):
    write_dicom(radiographs / "ct", PIXELS, bits=8, SOPClassUID=CT, Modality="CT")
    write_dicom(radiographs / "us.dcm", PIXELS, bits=8, Modality="US")
    assert segment(radiographs, "-o", out, *HEART) == 0
    skipped = {row["file"]: row for row in rows(out / "failures.csv")}
    assert {name: row["kind"] for name, row in skipped.items()} == {"ct": "skipped", "us.dcm": "skipped"}
    assert "slice of a volume" in skipped["ct"]["reason"]
    assert "modality US" in skipped["us.dcm"]["reason"]


def test_ignored_files_are_counted_at_the_end(radiographs, out, capsys):
    (radiographs / "notes.txt").write_text("no radiograph")
    segment(radiographs, "-o", out, *HEART)
    assert "1 file ignored: 1 .txt" in capsys.readouterr().err


def test_results_among_the_radiographs(radiographs):
    """Results in the radiographs' own folder are not taken for radiographs the next time."""
    for _ in range(2):
        assert segment(radiographs, "-o", radiographs / "results", *HEART, "--format", "png", "overlay") == 0
        assert len(rows(radiographs / "results" / "measurements.csv")) == 3


def test_same_names_and_odd_names(tmp_path, out):
    for name in ("one/a.png", "two/a.png", "Röntgen 胸部 'x'.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(FILE, tmp_path / name)
    assert (
        segment(tmp_path / "one/a.png", tmp_path / "two/a.png", tmp_path / "Röntgen 胸部 'x'.png", "-o", out, *HEART)
        == 0
    )
    assert len(list(out.glob("*_heart.png"))) == 3
    assert (out / "Röntgen 胸部 'x'_heart.png").is_file()


def test_list_on_standard_input(radiographs, out, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{radiographs / 'a.png'}\n\n{radiographs / 'sub'}\n"))
    assert segment("-", "-o", out, *HEART) == 0
    assert results(out) == {"a_heart.png", "c_heart.png", "manifest.json", "measurements.csv"}


def test_batches_threads_and_views_give_the_same_files(radiographs, tmp_path):
    assert segment(radiographs, "-o", tmp_path / "x", *HEART) == 0
    assert segment(radiographs, "-o", tmp_path / "y", *HEART, "--batch-size", 2, "--workers", 3) == 0
    for name in ("a", "b", "sub/c"):
        masks = [read_mask(tmp_path / which / f"{name}_heart.png") for which in ("x", "y")]
        assert (masks[0] != masks[1]).sum() <= 2
    assert segment(radiographs, "-o", tmp_path / "z", *HEART, "--tta") == 0
    assert all(0 < float(row["agreement_heart"]) <= 1 for row in rows(tmp_path / "z" / "measurements.csv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{in}", "--structures", "spleen"], "no bundle spleen_attn_unet"),
        (["{in}", "--threshold", "2"], "threshold is 2.0"),
        (["{in}", "--batch-size", "0"], "--batch-size is 0"),
        (["{in}", "--max-pixels", "0"], "--max-pixels is 0"),
        (["{in}", "--bundles", "nowhere"], "there are: none"),
        (["{in}/empty"], "nothing to segment"),
        (["{in}", "-o", "{in}/a.png/out"], "name another folder with --output"),
    ],
)
def test_what_cannot_be_started(radiographs, out, arguments, message, capsys):
    (radiographs / "empty").mkdir()
    arguments = [argument.format(**{"in": radiographs}) for argument in arguments]
    assert segment("-o", out, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not results(out)


def test_a_radiograph_above_the_limit_on_pixels_is_a_failure(radiographs, out):
    assert segment(radiographs / "a.png", "-o", out, *HEART, "--no-report", "--max-pixels", 99) == 1
    (failure,) = rows(out / "failures.csv")
    assert "pixels, more than the limit of 99. Make it smaller" in failure["reason"]


def test_unknown_format(radiographs, out, capsys):
    with pytest.raises(SystemExit) as caught:
        segment(radiographs, "-o", out, "--format", "jpeg2000")
    assert caught.value.code == 2
    assert "invalid choice: 'jpeg2000'" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["pycocotools", "pyarrow", "highdicom"])
def test_missing_package_is_said_before_anything_is_done(radiographs, out, package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    form = "dicom-seg" if package == "highdicom" else "parquet"
    assert segment(radiographs, "-o", out, *HEART, "--format", form) == 2
    assert "pip install 'cxr-attn-unet[formats]'" in capsys.readouterr().err
    assert not results(out)


def start(*arguments, **options) -> subprocess.Popen:
    command = [sys.executable, "-W", "ignore", "-m", "cxr_attn_unet", "segment", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def test_full_disk_leaves_nothing_half_written(radiographs, out):
    """A limit on the size of files stands for a disk that fills up while a picture is written."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    process = start(radiographs, "-o", out, *HEART, "--format", "png", "figure", preexec_fn=limit)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 1, printed
    assert printed.count("could not be written") == 3
    assert results(out) <= {"a_heart.png", "b_heart.png", "sub/c_heart.png", *TABLES}
    assert not list(out.rglob("*figure*"))
    assert not rows(out / "measurements.csv")
    assert segment(radiographs, "-o", out, *HEART, "--format", "png", "figure") == 0  # and goes on when there is room
    assert len(list(out.rglob("*_figure.png"))) == 3


def start_and_stop(number: int, *arguments) -> tuple[int, str]:
    """Start the command, send it a signal when a line more is in the journal; exit status and what it printed."""
    journal = Path(arguments[arguments.index("-o") + 1]) / ".segment" / "journal.jsonl"
    before = journal.stat().st_size if journal.exists() else 0
    # a shell's background jobs ignore SIGINT, and so would those that they start
    process = start(*arguments, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.stat().st_size > before:
            break
        time.sleep(0.02)
    process.send_signal(number)
    _, printed = process.communicate(timeout=100)
    return process.returncode, printed


MANY = 12


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for index in range(MANY):
        shutil.copy(FILE, folder / f"{index:02d}.png")
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"], scope="class")
class TestStoppedRun:
    """A first run that a signal stops."""

    @pytest.fixture(scope="class")
    def stopped(self, many, tmp_path_factory, number):
        out = tmp_path_factory.mktemp("stopped")
        return out, *start_and_stop(number, many, "-o", out, *HEART)

    def test_its_status_says_interrupted(self, stopped, number):
        assert stopped[1] == 130

    def test_it_says_how_to_resume(self, stopped, number):
        assert "the same command resumes from here" in stopped[2]

    def test_what_is_finished_is_in_the_table(self, stopped, number):
        assert 0 < len(rows(stopped[0] / "measurements.csv")) < MANY

    def test_every_mask_is_in_the_table(self, stopped, number):
        masks = {path.name for path in stopped[0].glob("*_heart.png")}
        assert masks == {f"{row['name']}_heart.png" for row in rows(stopped[0] / "measurements.csv")}

    def test_no_temporary_files_stay(self, stopped, number):
        assert [path for path in stopped[0].rglob(".*") if path.is_file()] == []

    def test_the_same_command_resumes(self, stopped, many, number, capsys):
        done = len(rows(stopped[0] / "measurements.csv"))
        assert segment(many, "-o", stopped[0], *HEART) == 0
        assert f"{done} of {MANY} were finished before" in capsys.readouterr().err


class TestStoppedRunWithOtherSettings:
    """Settings A finished; the same folder with settings B and one format more, stopped; A again."""

    A = HEART
    B = (*HEART, "--threshold", "0.02", "--format", "png", "coco")

    @pytest.fixture(scope="class")
    def folder(self, many, tmp_path_factory):
        out = tmp_path_factory.mktemp("two_settings")
        assert segment(many, "-o", out, *self.A) == 0
        return out

    @pytest.fixture(scope="class")
    def expected(self, folder):
        """Masks of A."""
        return {path.name: path.read_bytes() for path in folder.glob("*_heart.png")}

    @pytest.fixture(scope="class")
    def stopped(self, many, folder, expected):
        return start_and_stop(signal.SIGINT, many, "-o", folder, *self.B)

    @pytest.fixture(scope="class")
    def names_of_b(self, folder, stopped):
        return [row["file"] for row in rows(folder / "measurements.csv")]

    @pytest.fixture(scope="class")
    def again(self, many, folder, names_of_b):
        return segment(many, "-o", folder, *self.A)

    def test_it_stops_without_an_error(self, stopped):
        assert stopped[0] == 130, stopped[1]

    def test_rows_of_other_settings_are_not_in_the_table(self, names_of_b):
        assert 0 < len(names_of_b) < MANY

    def test_the_table_of_masks_has_the_same_files(self, folder, names_of_b):
        images = json.loads((folder / "coco.json").read_text())["images"]
        assert [image["file_name"] for image in images] == names_of_b

    def test_a_again_gives_the_masks_of_a(self, folder, expected, again):
        assert {path.name: path.read_bytes() for path in folder.glob("*_heart.png")} == expected


def bundle_with(folder: Path, name: str, change) -> Path:
    """A folder with the heart's bundle under another name, its inference.json changed."""
    copy = folder / f"{name}_attn_unet"
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet", copy, ignore=shutil.ignore_patterns("eval", "data"))
    config = copy / "configs" / "inference.json"
    content = json.loads(config.read_text())
    change(content)
    config.write_text(json.dumps(content))
    return folder


def test_a_structure_without_a_code_is_refused_before_weights_are_read(radiographs, out, tmp_path, capsys):
    bundles = bundle_with(tmp_path / "bundles", "trachea", lambda config: config.update(structure="trachea"))
    (bundles / "trachea_attn_unet" / "models" / "model.pt").unlink()
    assert segment(radiographs, "-o", out, "--bundles", bundles, "--format", "dicom-seg") == 2
    assert capsys.readouterr().err.count("cannot name trachea") == 1


def fails_on_wide_pictures(config: dict) -> None:
    """A step of preprocessing that has a fault, which shows with some pictures only."""
    step = {
        "_target_": "Lambdad",
        "keys": "image",
        "func": "$lambda x: x if max(x.shape) < 1.5 * min(x.shape[1:]) else x.no_such_thing",
    }
    config["preprocessing"]["transforms"].insert(1, step)


@pytest.fixture
def fault(radiographs, out, tmp_path, capsys):
    """A run in which a fault of the program shows with one file; its status and what it printed."""
    Image.fromarray(np.hstack([PIXELS, PIXELS])).save(radiographs / "wide.png")
    bundles = bundle_with(tmp_path / "bundles", "heart", fails_on_wide_pictures)
    status = segment(radiographs, "-o", out, "--bundles", bundles, "--trust", "--no-report", "--batch-size", 4)
    return status, capsys.readouterr().err


def test_a_fault_of_the_program_ends_in_an_error(fault):
    assert fault[0] == 1


def test_a_fault_of_the_program_does_not_stop_the_other_files(fault, out):
    assert [row["name"] for row in rows(out / "measurements.csv")] == list(STEMS)


def test_a_fault_of_the_program_is_the_failure_of_its_file(fault, out):
    (failure,) = rows(out / "failures.csv")
    assert failure["file"] == "wide.png"


def test_a_fault_of_the_program_is_told_from_a_bad_file(fault, out):
    (failure,) = rows(out / "failures.csv")
    assert "fault of this program" in failure["reason"]


def test_header_values_that_break_the_standard_are_left_empty(radiographs, out):
    import pydicom

    data = pydicom.dcmread(radiographs / "b.dcm")
    data.add(pydicom.DataElement("PatientSex", "CS", "MALE"))
    data.save_as(radiographs / "b.dcm")
    assert segment(radiographs / "b.dcm", "-o", out, *HEART, "--format", "dicom-seg") == 0
    (row,) = rows(out / "measurements.csv")
    assert "PatientSex" in row["warnings"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["segment", "--help"], "find archive"), (["--help"], "segment"), (["--version"], "0.")],
)
def test_help_and_version(arguments, expected, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert expected in capsys.readouterr().out


def test_threads_that_wait_do_not_take_the_processor(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_the_wait_policy_is_set_before_torch_is_imported():
    code = "import sys, cxr_attn_unet.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
