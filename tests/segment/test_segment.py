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
import pytest
from PIL import Image

from conftest import EXAMPLES
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


@pytest.fixture
def radiographs(tmp_path):
    """Three good radiographs, one in a subfolder."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(FILE, folder / "a.png")
    identity = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}
    write_dicom(folder / "b.dcm", PIXELS, bits=8, PixelSpacing=[0.9, 0.8], ImagerPixelSpacing=[0.9, 0.8], **identity)
    write_nifti(folder / "sub" / "c.nii.gz", PIXELS, np.diag((-0.8, -0.9, 1, 1)))
    return folder


def test_everything_at_once(radiographs, out):
    """Mixed formats, all structures, every kind of output, each over the file's own pixels."""
    forms = ("png", "labelmap", "labelmap-nifti", "nifti", "dicom-seg", "overlay", "figure", "coco", "parquet")
    assert segment(radiographs, "-o", out, "--format", *forms) == 0
    stems = ("a", "b", os.path.join("sub", "c"))
    endings = [f"_{name}{suffix}" for name in label_values() for suffix in (".png", ".nii.gz")]
    endings += ["_labels.png", "_labels.nii.gz", "_overlay.jpg", "_figure.png"]
    tables = {"measurements.csv", "report.html", "coco.json", "segmentations.parquet", "b.seg.dcm"}
    assert results(out) == {stem + ending for stem in stems for ending in endings} | tables

    masks = {name: read_mask(out / f"b_{name}.png") for name in label_values()}
    assert all(mask.shape == PIXELS.shape and mask.any() for mask in masks.values())
    assert Image.open(out / "b_heart.png").mode == "1"
    labels = np.asarray(Image.open(out / "b_labels.png"))
    expected = np.zeros_like(labels)
    for name in ("lungs", "heart", "ribs", "clavicles"):  # later ones on top
        expected[masks[name]] = label_values()[name]
    assert np.array_equal(labels, expected)
    assert np.array_equal(np.asarray(nib.load(out / "b_labels.nii.gz").dataobj)[..., 0].T, expected)

    table = {row["name"]: row for row in rows(out / "measurements.csv")}
    assert set(table) == set(stems)
    assert (table["a"]["length_unit"], table["b"]["area_unit"]) == ("px", "mm2")
    assert float(table["b"]["heart_area"]) == pytest.approx(masks["heart"].sum() * 0.72, rel=1e-3)
    assert float(table["b"]["row_spacing_mm"]) == 0.9 and table["b"]["columns"] == str(PIXELS.shape[1])

    coco = json.loads((out / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    image = next(image for image in coco["images"] if image["file_name"].endswith("b.dcm"))
    mine = [one for one in coco["annotations"] if one["image_id"] == image["id"]]
    assert (image["height"], image["width"]) == PIXELS.shape and len(mine) == 4
    for one in mine:
        assert np.array_equal(decode(one["segmentation"]), masks[names[one["category_id"]]])
        assert one["area"] == masks[names[one["category_id"]]].sum()

    import pyarrow.parquet as pq

    row = next(row for row in pq.read_table(out / "segmentations.parquet").to_pylist() if row["name"] == "b")
    size = [row["rows"], row["columns"]]
    assert np.array_equal(decode({"size": size, "counts": row["rle_ribs"]}), masks["ribs"])
    assert row["heart_area"] == pytest.approx(float(table["b"]["heart_area"]), rel=1e-4)
    assert "rendered" not in (out / "report.html").read_text() and "b.dcm" in (out / "report.html").read_text()


def test_coco_loads_in_its_own_library(radiographs, out, capsys):
    from pycocotools.coco import COCO

    assert segment(radiographs / "a.png", "-o", out, "--format", "coco", *HEART) == 0
    coco = COCO(str(out / "coco.json"))
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert coco.annToMask(annotation).sum() == annotation["area"] > 0
    assert results(out) == {"coco.json", "measurements.csv"}


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
    assert len(sizes) == 4 and sum(sizes) < 40_000


def test_goes_on_where_it_stopped(radiographs, out, capsys):
    def made() -> dict[str, int]:
        return {name: (out / name).stat().st_mtime_ns for name in results(out) if name.endswith("_heart.png")}

    assert segment(radiographs, "-o", out, *HEART) == 0
    first = made()
    assert len(first) == 3
    assert segment(radiographs, "-o", out, *HEART) == 0
    assert made() == first and "3 of 3 were finished before" in capsys.readouterr().err

    (out / "b_heart.png").unlink()  # a result that is gone, and a radiograph that has changed, are done anew
    Image.fromarray(PIXELS[:, ::-1]).save(radiographs / "a.png")
    assert segment(radiographs, "-o", out, *HEART) == 0
    again = made()
    assert {name for name in first if again[name] != first[name]} == {"a_heart.png", "b_heart.png"}

    assert segment(radiographs, "-o", out, *HEART, "--threshold", "0.3") == 0  # so is what other settings made
    assert all(made()[name] != again[name] for name in again)
    before = made()
    assert segment(radiographs, "-o", out, *HEART, "--threshold", "0.3", "--overwrite") == 0
    assert all(made()[name] != before[name] for name in before)
    assert len(rows(out / "measurements.csv")) == 3


def test_another_format_later_is_added(radiographs, out):
    assert segment(radiographs, "-o", out, *HEART) == 0
    assert segment(radiographs, "-o", out, *HEART, "--format", "coco") == 0
    assert {"a_heart.png", "coco.json"} <= results(out)
    assert len(json.loads((out / "coco.json").read_text())["annotations"]) == 3


def test_bad_files_do_not_stop_the_others(radiographs, out, capsys):
    """Each is named with a remedy, at the end and in failures.csv; status 1."""
    good = (radiographs / "b.dcm").read_bytes()
    (radiographs / "zero bytes.png").write_bytes(b"")
    (radiographs / "truncated.dcm").write_bytes(good[: len(good) // 2])
    (radiographs / "truncated.png").write_bytes(FILE.read_bytes()[:5000])
    write_nifti(radiographs / "volume.nii.gz", np.zeros((5, 64, 64), np.int16), np.eye(4))
    write_nifti(radiographs / "nan.nii", np.full((64, 64), np.nan, np.float32), np.eye(4))
    frames = np.stack([PIXELS, PIXELS])
    write_dicom(radiographs / "frames.dcm", frames, bits=8, NumberOfFrames=2)
    Image.fromarray(PIXELS[:1, :1]).save(radiographs / "pixel.png")
    y, x = np.mgrid[:96, :128]
    colours = np.stack([200 * (x > 60), 200 * (y > 40), 120 + 0 * x], -1).astype(np.uint8)
    Image.fromarray(colours).save(radiographs / "photograph.jpg")
    bare = write_dicom(radiographs / "no pixel data.dcm", PIXELS, bits=8)
    import pydicom

    data = pydicom.dcmread(bare)
    del data.PixelData
    data.save_as(bare)
    unknown = pydicom.dcmread(radiographs / "b.dcm")
    unknown.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"  # JPEG Lossless, but these are no such data
    unknown.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
    unknown["PixelData"].is_undefined_length = True
    unknown.save_as(radiographs / "syntax.dcm")
    (radiographs / "gone.png").symlink_to(radiographs / "nowhere.png")

    messages = {
        "zero bytes.png": "empty",
        "truncated.dcm": "truncated",
        "truncated.png": "truncated",
        "volume.nii.gz": "a volume",
        "nan.nii": "NaN",
        "frames.dcm": "2 frames",
        "pixel.png": "1 x 1 pixels",
        "photograph.jpg": "in colour",
        "no pixel data.dcm": "pixels are missing",
        "syntax.dcm": r"cxr-attn-unet[dicom]",
        "missing.png": "no such file",
    }
    assert segment(radiographs, radiographs / "missing.png", "-o", out, *HEART) == 1
    failures = {Path(row["file"]).name: row for row in rows(out / "failures.csv")}
    assert set(failures) == set(messages)
    printed = capsys.readouterr().err
    for name, message in messages.items():
        assert message in failures[name]["reason"] and name in failures[name]["reason"] and name in printed
        assert failures[name]["kind"] == "failed"
    assert len(rows(out / "measurements.csv")) == 3
    # once they are gone, the list is gone
    for name in messages:
        (radiographs / name).unlink(missing_ok=True)
    assert segment(radiographs, "-o", out, *HEART) == 0
    assert not (out / "failures.csv").exists()


def test_other_modalities_are_skipped_with_a_reason(radiographs, out):
    write_dicom(radiographs / "ct", PIXELS, bits=8, SOPClassUID=CT, Modality="CT")
    write_dicom(radiographs / "us.dcm", PIXELS, bits=8, Modality="US")
    assert segment(radiographs, "-o", out, *HEART) == 0
    skipped = rows(out / "failures.csv")
    assert [(Path(row["file"]).name, row["kind"]) for row in skipped] == [("ct", "skipped"), ("us.dcm", "skipped")]
    assert "slice of a volume (CT)" in skipped[0]["reason"] and "modality US" in skipped[1]["reason"]


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
    assert results(out) == {"a_heart.png", "c_heart.png", "measurements.csv"}


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


def test_unknown_format(radiographs, out, capsys):
    with pytest.raises(SystemExit) as caught:
        segment(radiographs, "-o", out, "--format", "jpeg2000")
    assert caught.value.code == 2 and "invalid choice: 'jpeg2000'" in capsys.readouterr().err


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
    assert results(out) <= {"a_heart.png", "b_heart.png", "sub/c_heart.png", "measurements.csv", "failures.csv"}
    assert not list(out.rglob("*figure*")) and not rows(out / "measurements.csv")
    assert segment(radiographs, "-o", out, *HEART, "--format", "png", "figure") == 0  # and goes on when there is room
    assert len(list(out.rglob("*_figure.png"))) == 3


def test_interrupted_run_goes_on(tmp_path, out):
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(60):
        shutil.copy(FILE, folder / f"{index:02d}.png")
    # a shell's background jobs ignore SIGINT, and so would those that they start
    process = start(folder, "-o", out, *HEART, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    journal = out / ".segment" / "journal.jsonl"
    deadline = time.monotonic() + 90
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on from here" in printed
    done = len(rows(out / "measurements.csv"))
    assert 0 < done < 60
    assert not [path for path in out.rglob(".*") if path.is_file()]  # temporary files
    process = start(folder, "-o", out, *HEART)
    _, printed = process.communicate(timeout=180)
    assert process.returncode == 0 and "of 60 were finished before" in printed
    assert len(rows(out / "measurements.csv")) == len(list(out.glob("*_heart.png"))) == 60


def test_help_and_version(capsys):
    for arguments, expected in (
        (["segment", "--help"], "find archive"),
        (["--help"], "segment"),
        (["--version"], "0."),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0 and expected in capsys.readouterr().out
