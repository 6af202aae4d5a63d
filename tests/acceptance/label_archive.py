"""MONAI Label's real server over DICOMweb: radiographs from a real archive, final labels back to it, and a training.

Run by "make test-label" in MONAI Label's own environment; needs Orthanc with its DICOMweb plugin, and says so where it
is not installed.

    python tests/acceptance/label_archive.py OUTPUT
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pydicom
import pytest
from label_server import ALL, LABELS, REPOSITORY, Server, dice, labels_of, passed
from PIL import Image
from pydicom.uid import generate_uid

sys.path.insert(0, str(REPOSITORY / "tests" / "dicom_network"))

from pacs import PLUGIN, Orthanc, orthanc

from cxr_attn_unet.networks.checkpoint import sha256
from cxr_attn_unet.output.dicom_seg import write_dicom_seg
from samples import write_dicom

USER, PASSWORD = "reader", "not to be seen in a log"
HEART = "heart_attn_unet"
SIDE = 480  # pixels; a margin makes the radiographs higher than wide


def write_radiographs(folder: Path) -> dict[str, Path]:
    """Real radiographs, each of a study of its own, as DX and CR of both photometric interpretations; by series UID."""
    written = {}
    for number, source in enumerate(sorted((REPOSITORY / "examples" / "open_radiographs").glob("*.png"))[:4]):
        grey = np.asarray(Image.open(source).convert("L").resize((SIDE, SIDE)))
        stored = np.pad(grey, ((0, 96), (0, 0))).astype(np.uint16) * 16
        dark = number == 1
        series = generate_uid()
        written[series] = write_dicom(
            folder / f"{number}.dcm",
            4095 - stored if dark else stored,
            "MONOCHROME1" if dark else "MONOCHROME2",
            12,
            StudyInstanceUID=generate_uid(),
            SeriesInstanceUID=series,
            SOPInstanceUID=generate_uid(),
            PatientID=f"SECRET-ID-{number}",
            PatientName="Secret^Name",
            Modality="CR" if number == 2 else "DX",
            PixelSpacing=[0.4, 0.4],
        )
    return written


def store(archive: Orthanc, path: Path) -> None:
    """Store a file by Orthanc's own interface, which the code under test does not use."""
    request = urllib.request.Request(f"http://127.0.0.1:{archive.http}/instances", path.read_bytes())
    open_with_password(request).read()


def open_with_password(request: urllib.request.Request):
    manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    manager.add_password(None, request.full_url, USER, PASSWORD)
    return urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager)).open(request, timeout=600)


def segmentations(archive: Orthanc, series: str) -> list[pydicom.Dataset]:
    """Those over a radiograph that a person had a hand in, the oldest first."""
    found = []
    for instance in archive.instances("SEG"):
        request = urllib.request.Request(f"http://127.0.0.1:{archive.http}/instances/{instance}/file")
        content = pydicom.dcmread(io.BytesIO(open_with_password(request).read()))
        of_radiograph = content.ReferencedSeriesSequence[0].SeriesInstanceUID == series
        if of_radiograph and content.SegmentSequence[0].SegmentAlgorithmType != "AUTOMATIC":
            found.append(content)
    return sorted(found, key=lambda one: (one.ContentDate, one.ContentTime))


def check_rules(content: pydicom.Dataset, path: Path) -> None:
    """That an object keeps the rules of DICOM, where dciodvfy is there to say so."""
    if shutil.which("dciodvfy") is None:
        print("dciodvfy is not installed (apt-get install dicom3tools): rules are not checked")
        return
    content.save_as(path)
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    assert not errors, errors


def pixels_of(segmentation: pydicom.Dataset, number: int) -> np.ndarray:
    """``(rows, columns)`` bool of a segment."""
    frames = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    numbers = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in segmentation.PerFrameFunctionalGroupsSequence
    ]
    return frames[numbers.index(number)] > 0


def status_of(server: Server, path: str, method: str = "POST") -> tuple[int, str]:
    """Status and text of an answer that is an error."""
    try:
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", b"", method=method), timeout=900
        ).read()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    raise SystemExit(f"{method} {path} was not refused")


def submit(server: Server, image: str, label: Path, names: dict[str, int]) -> None:
    server.send(
        f"/datastore/label?image={image}&tag=final",
        "PUT",
        {"params": json.dumps({"label_names": names})},
        {"label": label},
    )


def drive(server: Server, archive: Orthanc, radiographs: dict[str, Path], root: Path) -> None:
    now = time.monotonic()
    listed = server.ask("/datastore/?output=all")["objects"]
    assert set(listed) == set(radiographs), listed.keys()  # not the CT
    assert not any(entry["labels"] for entry in listed.values()), listed  # what a program alone has made is no label
    assert server.ask("/datastore/")["total"] == len(radiographs)
    now = passed(f"{len(listed)} radiographs, DX and CR; a CT and an automatic Segmentation left aside", now)

    hearts = {}
    for series, path in radiographs.items():
        file, _ = server.infer(HEART, series, root / f"from_archive_{path.stem}")
        of_file, _ = server.infer(HEART, str(path), root / f"from_file_{path.stem}")
        hearts[series] = labels_of(file) > 0
        assert np.array_equal(hearts[series], labels_of(of_file) > 0), path
        assert hearts[series].any()
    first, *others = radiographs
    file, params = server.infer(ALL, first, root / "map")
    chest = labels_of(file)
    assert set(np.unique(chest)) == {0, *LABELS.values()}
    now = passed("inference by series UID, as of the same files", now)

    chosen = server.ask("/activelearning/least_certain", "POST", {})
    assert chosen["id"] in radiographs, chosen
    assert chosen["measured"] == len(radiographs), chosen
    now = passed(f"least certain: {list(radiographs).index(chosen['id'])} ({chosen['score']})", now)

    submit(server, first, file, params["label_names"])
    (stored,) = segmentations(archive, first)
    names = [segment.SegmentLabel for segment in stored.SegmentSequence]
    for number, name in enumerate(names, 1):
        assert np.array_equal(pixels_of(stored, number), chest == LABELS[name.lower()]), name
    assert sorted(names) == sorted(name.capitalize() for name in LABELS), names
    assert {segment.SegmentAlgorithmType for segment in stored.SegmentSequence} == {"SEMIAUTOMATIC"}
    header = pydicom.dcmread(radiographs[first])
    assert stored.StudyInstanceUID == header.StudyInstanceUID
    assert stored.PatientID == header.PatientID
    check_rules(stored, root / "stored.dcm")
    for series in others:
        mask = root / f"heart_{series}.png"
        Image.fromarray(hearts[series].astype(np.uint8) * 255).save(mask)
        submit(server, series, mask, {"heart": 1})
        (stored,) = segmentations(archive, series)
        assert np.array_equal(pixels_of(stored, 1), hearts[series])
    status = server.ask("/datastore/")
    assert (status["completed"], status["label_tags"]["final"]) == (len(radiographs), len(radiographs)), status
    assert not server.ask("/activelearning/first", "POST", {})
    now = passed("final labels are Segmentations in the archive, over the same pixels", now)

    corrected = hearts[first].copy()
    corrected[: corrected.shape[0] // 2] = False
    mask = root / "corrected.png"
    Image.fromarray(corrected.astype(np.uint8) * 255).save(mask)
    submit(server, first, mask, {"heart": 1})
    assert len(segmentations(archive, first)) == 2
    body, _ = server.request(f"/datastore/label?label={first}&tag=final")
    (root / "back.nrrd").write_bytes(body)
    back = labels_of(root / "back.nrrd")
    expected = np.where(chest == LABELS["heart"], 0, chest)
    for structure, value in LABELS.items():
        if structure == "heart" or value > LABELS["heart"]:
            expected[corrected if structure == "heart" else chest == value] = value
    assert np.array_equal(back, expected)
    info = server.ask(f"/datastore/label/info?label={first}&tag=final")
    assert info["label_names"] == LABELS, info
    now = passed("a corrected heart counts instead of the one before, and leaves the others as they are", now)

    refused(server, first, mask)
    now = passed("what cannot be stored, found or removed is refused with its reason", now)

    weights = root / "app" / "model" / HEART / "models" / "model.pt"
    before = sha256(weights)
    options = {"max_epochs": 1, "val_split": 0.5, "multi_gpu": False, "device": "cpu"}
    submit(server, first, file, params["label_names"])
    server.ask(f"/train/{HEART}?run_sync=true", "POST", options)
    log = server.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:4000]
    kept = weights.with_suffix(".previous.pt")
    assert sha256(kept) == before
    after, _ = server.infer(HEART, others[0], root / "after")
    same = dice(labels_of(after) > 0, hearts[others[0]])
    assert same > 0.97, same
    now = passed(f"heart: an epoch on the labels in the archive; Dice with before {same:.4f}", now)

    (stored,) = segmentations(archive, others[0])
    query = {"Level": "Instance", "Query": {"SOPInstanceUID": stored.SOPInstanceUID}}
    (instance,) = archive.ask("/tools/find", query)
    address = f"http://127.0.0.1:{archive.http}/instances/{instance}"
    open_with_password(urllib.request.Request(address, method="DELETE")).read()
    assert server.ask("/activelearning/first", "POST", {})["id"] == others[0]
    now = passed("a label that was removed in the archive is no label any more", now)

    archive.stop()
    status, text = status_of(server, f"/infer/{HEART}?image={generate_uid()}")
    assert (status, "the archive: " in text) == (502, True), (status, text)
    archive.start()
    assert len(server.ask("/datastore/?output=all")["objects"]) == len(radiographs)
    passed("an archive that does not answer is said, and asked again later", now)
    log = server.log.read_text()
    assert PASSWORD not in log
    assert "SECRET-ID" not in log


def refused(server: Server, image: str, mask: Path) -> None:
    unknown = generate_uid()
    assert status_of(server, f"/infer/{HEART}?image={unknown}") == (
        404,
        json.dumps({"detail": f"{unknown}: the archive has no radiograph of this series UID"}, separators=(",", ":")),
    )
    assert status_of(server, f"/datastore/label?id={image}&tag=final", "DELETE")[0] == 501
    assert status_of(server, f"/datastore/image?id={image}", "DELETE")[0] == 501
    small = mask.with_name("small.png")
    Image.new("L", (20, 20), 255).save(small)
    for label, names, reason in (
        (mask, {}, "label_names"),
        (mask, {"spleen": 1}, "spleen"),
        (small, {"heart": 1}, "20"),
    ):
        with pytest.raises(SystemExit, match=rf": 422 .*{reason}"):
            submit(server, image, label, names)


def main(output: Path) -> None:
    if shutil.which("Orthanc") is None or not PLUGIN.is_file():
        print("Orthanc is not installed (apt-get install orthanc orthanc-dicomweb): nothing was tried over DICOMweb")
        return
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        radiographs = write_radiographs(root)
        shutil.copytree(
            REPOSITORY / "apps" / "monailabel", root / "app", ignore=shutil.ignore_patterns("model", "__pycache__")
        )
        os.environ["MONAI_LABEL_DICOMWEB_USERNAME"] = USER
        os.environ["MONAI_LABEL_DICOMWEB_PASSWORD"] = PASSWORD
        os.environ["MONAI_LABEL_DICOMWEB_CACHE_PATH"] = str(root / "cache")
        with orthanc(root / "orthanc", user=USER, password=PASSWORD) as archive:
            for path in radiographs.values():
                store(archive, path)
            slice_of_ct = {"Modality": "CT", "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
            store(archive, write_dicom(root / "ct.dcm", np.zeros((64, 64), np.uint16), **slice_of_ct))
            automatic = {"heart": np.ones((SIDE + 96, SIDE), bool)}
            write_dicom_seg(root / "automatic.dcm", next(iter(radiographs.values())), automatic, "1.2.3")
            store(archive, root / "automatic.dcm")
            server = Server(root / "app", archive.web, output / "archive.log")
            try:
                drive(server, archive, radiographs, root)
            finally:
                server.stop()
    print("All steps passed.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
