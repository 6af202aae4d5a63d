"""MONAI Label's real server with the application of this repository, driven over REST as a client would.

Run by "make test-label" in MONAI Label's own environment. Writes its log and the overlays of the documentation to a
folder.

    python tests/acceptance/label_server.py OUTPUT
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from cxr_attn_unet.figures import annotated  # noqa: E402
from cxr_attn_unet.io import read_radiograph  # noqa: E402
from cxr_attn_unet.networks.checkpoint import sha256  # noqa: E402
from cxr_attn_unet.structures import label_values  # noqa: E402
from samples import write_dicom, write_nifti  # noqa: E402

LABELS = label_values()
STRUCTURES = tuple(LABELS)
KINDS = (".png", ".nii.gz", ".nrrd")
ALL = "chest_anatomy"
EXTENSIONS = ".png .jpg .jpeg .tif .tiff .bmp .dcm .nii .nii.gz .mha .nrrd"
AFFINE = np.array([[0, 0, 1.0, -3], [-0.4, 0, 0, 120], [0, -0.4, 0, 90], [0, 0, 0, 1]])


def write_studies(folder: Path) -> dict[str, Path]:
    """One real radiograph in all forms, with a margin that makes it higher than wide, and the others as they are."""
    folder.mkdir(parents=True)
    sources = sorted((REPOSITORY / "examples" / "open_radiographs").glob("*.png"))
    for source in sources[1:]:
        shutil.copy(source, folder / source.name)
    grey = Image.open(sources[0]).convert("L").resize((480, 480))
    pixels = np.pad(np.asarray(grey), ((0, 96), (0, 0)))
    wide = pixels.astype(np.uint16) * 16
    Image.fromarray(pixels).save(folder / "eight.png")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(folder / "sixteen.png")
    Image.fromarray(pixels).save(folder / "lossy.jpg", quality=95)
    spacing = {"PixelSpacing": [0.4, 0.4]}
    write_dicom(folder / "bright.dcm", wide, "MONOCHROME2", 12, **spacing)
    write_dicom(folder / "dark.dcm", 4095 - wide, "MONOCHROME1", 12, **spacing)
    write_nifti(folder / "slice.nii.gz", pixels.astype(np.float32), None)
    write_nifti(folder / "coronal.nii.gz", pixels.astype(np.float32), np.diag([-0.4, -0.4, 1, 1]))
    return {path.name: path for path in sorted(folder.iterdir())}


class Server:
    """The server in a process of its own."""

    def __init__(self, app: Path, studies: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = log
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # as if it were activated
            "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps([f"*{extension}" for extension in EXTENSIONS.split()]),
        }
        command = [
            Path(sys.executable).with_name("monailabel"),
            "start_server",
            "--app",
            app,
            "--studies",
            studies,
            "--host",
            "127.0.0.1",
            "--port",
        ]
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                [*map(str, command), str(self.port)],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        for _ in range(240):
            time.sleep(0.5)
            if self.process.poll() is not None:
                break
            try:
                self.ask("/info/")
                return
            except OSError:
                continue
        raise SystemExit(f"the server did not start:\n{log.read_text()[-4000:]}")

    def request(self, path: str, method: str = "GET", data: bytes | None = None, kind: str = "") -> tuple[bytes, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=900) as answer:
                return answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            tail = self.log.read_text()[-3000:]
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()[:1000]}\n{tail}") from error

    def ask(self, path: str, method: str = "GET", value: object = None) -> dict:
        data = None if value is None else json.dumps(value).encode()
        return json.loads(self.request(path, method, data, "application/json" if data else "")[0])

    def send(self, path: str, method: str, fields: dict[str, str], files: dict[str, Path]) -> tuple[bytes, str]:
        boundary = uuid.uuid4().hex
        parts = []
        for name, value in fields.items():
            parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        for name, file in files.items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file.name}"\r\n\r\n'
            parts.append(head.encode() + file.read_bytes() + b"\r\n")
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self.request(path, method, body, f"multipart/form-data; boundary={boundary}")

    def infer(self, model: str, image: str, target: Path, **params: object) -> tuple[Path, dict]:
        """The label of a model as a file, and the parameters that come with it."""
        path = f"/infer/{model}?image={urllib.parse.quote(image)}&output=all"
        body, kind = self.send(path, "POST", {"params": json.dumps(params)}, {})
        found: dict = {}
        for part in body.split(b"--" + kind.split("boundary=")[1].encode())[1:-1]:
            head, content = part.split(b"\r\n\r\n", 1)
            content = content.removesuffix(b"\r\n")
            if b'name="params"' in head:
                found = json.loads(content)
            else:
                name = re.search(rb'filename="([^"]+)"', head).group(1).decode()
                target = target.with_name(target.name + "".join(Path(name).suffixes[-2:]))
                target.write_bytes(content)
        return target, found

    def refused(self, model: str, image: Path) -> tuple[int, str]:
        """Status and text of the answer to a file that cannot be segmented."""
        address = f"http://127.0.0.1:{self.port}/infer/{model}?image={urllib.parse.quote(str(image))}"
        try:
            urllib.request.urlopen(urllib.request.Request(address, b"", method="POST"), timeout=900).read()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        raise SystemExit(f"{image} was not refused")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def labels_of(path: Path) -> np.ndarray:
    """``(rows, columns)``."""
    if path.name.endswith((".nii", ".nii.gz")):
        return np.asarray(nib.load(path).dataobj)[..., 0].T
    if path.suffix == ".nrrd":
        import itk

        return itk.array_from_image(itk.imread(str(path)))[0]
    return np.asarray(Image.open(path))


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return 2 * (one & two).sum() / max(1, one.sum() + two.sum())


def passed(text: str, since: float) -> float:
    print(f"ok {time.monotonic() - since:6.1f} s  {text}", flush=True)
    return time.monotonic()


def main(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        studies = write_studies(root / "studies")
        originals = root / "originals"
        shutil.copytree(root / "studies", originals)
        shutil.copytree(
            REPOSITORY / "apps" / "monailabel", root / "app", ignore=shutil.ignore_patterns("model", "__pycache__")
        )
        server = Server(root / "app", root / "studies", output / "server.log")
        try:
            drive(server, root, studies, originals, output)
        finally:
            server.stop()
    print("All steps passed.")


def drive(server: Server, root: Path, studies: dict[str, Path], originals: Path, output: Path) -> None:
    now = time.monotonic()
    info = server.ask("/info/")
    names = {f"{structure}_attn_unet" for structure in STRUCTURES}
    assert set(info["models"]) == names | {ALL}, info["models"]
    assert set(info["trainers"]) == names
    assert set(info["strategies"]) == {"least_certain", "first", "random"}
    for structure in STRUCTURES:
        assert info["models"][f"{structure}_attn_unet"]["labels"] == {structure: 1}
    assert info["models"][ALL]["labels"] == LABELS
    listed = server.ask("/datastore/?output=all")["objects"]
    assert len(listed) == len(studies), (listed.keys(), studies.keys())
    now = passed(f"/info/ and /datastore/: {len(info['models'])} models, {len(listed)} radiographs", now)

    # the same by monai.bundle run
    for structure in STRUCTURES:
        bundle = REPOSITORY / "bundles" / f"{structure}_attn_unet"
        command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--bundle_root", bundle]
        command += ["--config_file", bundle / "configs" / "inference.json", "--dataset_dir", originals]
        command += ["--output_dir", root / "expected" / structure]
        subprocess.run([*map(str, command)], check=True, capture_output=True)
    now = passed("monai.bundle run on the same radiographs, for comparison", now)

    forms = [name for name in studies if not name[0].isdigit() and not (len(name) == 12 and name.endswith(".png"))]
    masks: dict[str, dict[str, np.ndarray]] = {name: {} for name in studies}
    for structure in STRUCTURES:
        for name in studies:
            identity = name.split(".")[0]
            file, params = server.infer(f"{structure}_attn_unet", identity, root / f"{identity}_{structure}")
            mask = labels_of(file)
            assert mask.shape == read_radiograph(studies[name]).pixels.shape, (name, mask.shape)
            assert set(np.unique(mask)) == {0, 1}, np.unique(mask)
            assert params["label_names"] == {structure: 1}
            expected = np.asarray(Image.open(root / "expected" / structure / f"{identity}_{structure}.png")) > 0
            same = dice(mask > 0, expected)
            assert same > 0.9999, (structure, name, same)
            if name.endswith(".nii.gz"):
                given, back = nib.load(studies[name]), nib.load(file)
                if given.header["sform_code"] or given.header["qform_code"]:
                    assert np.allclose(given.affine, back.affine), (given.affine, back.affine)
            masks[name][structure] = mask > 0
        for name in ("sixteen.png", "lossy.jpg", "bright.dcm", "dark.dcm", "slice.nii.gz", "coronal.nii.gz"):
            if name in ("slice.nii.gz", "coronal.nii.gz"):
                continue  # their axes may say another way up; what they give is compared with monai.bundle run above
            same = dice(masks[name][structure], masks["eight.png"][structure])
            assert same > (0.97 if name == "lossy.jpg" else 0.995), (structure, name, same)
        now = passed(
            f"{structure}: {len(studies)} radiographs ({', '.join(forms)} and others), as monai.bundle run", now
        )

    for name in ("eight.png", "bright.dcm"):
        identity = name.split(".")[0]
        file, params = server.infer(ALL, identity, root / f"{identity}_all")
        label_map = labels_of(file)
        expected = np.zeros_like(label_map)
        for structure, value in LABELS.items():  # later ones on top
            expected[masks[name][structure]] = value
        assert np.array_equal(label_map, expected), name
        assert params["label_names"] == LABELS
        assert set(params["confidences"]) == set(LABELS)
    file, _ = server.infer("heart_attn_unet", "eight", root / "as_nrrd", result_extension=".nrrd")
    assert file.suffix == ".nrrd"
    assert dice(labels_of(file) > 0, masks["eight.png"]["heart"]) == 1
    now = passed(f"{ALL}: one label map, later structures on top; NRRD where 3D Slicer asks for it", now)

    bad = root / "bad.png"
    bad.write_bytes(studies["eight.png"].read_bytes()[:5000])
    for model in ("heart_attn_unet", ALL):
        status, text = server.refused(model, bad)
        assert status == 422, (model, status, text)
        assert "bad.png" in text, (model, text)
        assert "truncated" in text, (model, text)
    assert set(server.ask("/info/")["models"]) == names | {ALL}
    now = passed("a truncated file is refused with its reason, and the server still answers", now)

    for name in sorted(studies)[:2]:
        image = annotated(read_radiograph(studies[name]).upright(), masks[name], [], "", 640)
        image.save(output / f"overlay_{name.split('.')[0]}.png")

    chosen = server.ask("/activelearning/least_certain", "POST", {})
    first = server.ask("/activelearning/first", "POST", {})
    assert chosen["score"] <= 1, chosen
    assert chosen["measured"] == len(studies), chosen
    every = server.ask("/datastore/?output=all")["objects"]
    certainties = {
        identity: min(entry["image"]["info"]["certainty"]["confidences"].values()) for identity, entry in every.items()
    }
    assert chosen["id"] == min(certainties, key=lambda identity: (certainties[identity], identity)), certainties
    start = time.monotonic()
    again = server.ask("/activelearning/least_certain", "POST", {"structure": "heart"})
    assert time.monotonic() - start < 5, "measured twice"
    hearts = {
        identity: entry["image"]["info"]["certainty"]["confidences"]["heart"] for identity, entry in every.items()
    }
    assert again["id"] == min(hearts, key=lambda identity: (hearts[identity], identity))
    now = passed(
        f"least certain: {chosen['id']} ({chosen['score']}), of the heart {again['id']}; first: {first['id']}", now
    )

    submit_and_train(server, root, masks, studies)


def submit(server: Server, root: Path, masks: dict, names: list[str], structure: str) -> None:
    """Final labels of a structure in mixed formats, 0/1 and 0/255; the last one is a map of all structures."""
    for number, name in enumerate(names):
        identity, kind = name.split(".")[0], KINDS[number % 3]
        if number == len(names) - 1:
            file, params = server.infer(ALL, identity, root / "final_map")  # a map among the masks
            parameters = {"label_names": params["label_names"]}
        else:
            mask = masks[name][structure].astype(np.uint8) * (255 if number % 2 and kind == ".png" else 1)
            file = root / f"final_{identity}{kind}"
            if kind == ".png":
                Image.fromarray(mask).save(file)
            elif kind == ".nrrd":
                import itk

                itk.imwrite(itk.image_from_array(mask[None]), str(file))
            else:
                nib.save(nib.Nifti1Image(mask.T[..., None], np.diag([-1, -1, 1, 1])), file)
            parameters = {"label_names": {structure: 1}}
        path = f"/datastore/label?image={urllib.parse.quote(identity)}&tag=final"
        server.send(path, "PUT", {"params": json.dumps(parameters)}, {"label": file})


def submit_and_train(server: Server, root: Path, masks: dict, studies: dict[str, Path]) -> None:
    names = [name for name in studies if not name.startswith(("slice", "coronal"))]
    options = {"max_epochs": 1, "val_split": 0.3, "multi_gpu": False, "device": "cpu"}
    trained = {}
    for structure in STRUCTURES:
        now = time.monotonic()
        submit(server, root, masks, names, structure)
        entries = server.ask("/datastore/?output=all")["objects"]
        finals = [identity for identity, entry in entries.items() if "final" in entry.get("labels", {})]
        assert len(finals) == len(names), finals
        after = server.ask("/activelearning/first", "POST", {})
        assert after["id"] not in finals
        now = passed(
            f"{structure}: {len(finals)} final labels submitted, as {', '.join(KINDS)}, 0/1, 0/255 and a label map", now
        )
        weights = root / "app" / "model" / f"{structure}_attn_unet" / "models" / "model.pt"
        before = sha256(weights)
        server.ask(f"/train/{structure}_attn_unet?run_sync=true", "POST", options)
        log = server.log.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") :][:4000]
        kept = weights.with_suffix(".previous.pt")
        assert kept.is_file(), "the weights from before are not there"
        assert sha256(kept) == before, "the weights from before were changed"
        file, _ = server.infer(f"{structure}_attn_unet", "eight", root / f"after_{structure}")
        same = dice(labels_of(file) > 0, masks["eight.png"][structure])
        assert same > 0.97, f"after an epoch on its own masks, Dice {same} with those from before"
        trained[weights] = sha256(weights)
        now = passed(f"{structure}: an epoch on them; weights from before kept; Dice with before {same:.4f}", now)

    # without validation, and then with labels that make it worse: not one pixel right
    now = time.monotonic()
    wrong = root / "wrong.png"
    for name in names:
        shape = masks[name]["lungs"].shape
        mask = np.zeros(shape, np.uint8)
        mask[: shape[0] // 12, :] = 255
        Image.fromarray(mask).save(wrong)
        identity = name.split(".")[0]
        path = f"/datastore/label?image={urllib.parse.quote(identity)}&tag=final"
        server.send(path, "PUT", {"params": json.dumps({"label_names": {"heart": 1}})}, {"label": wrong})
    heart = root / "app" / "model" / "heart_attn_unet" / "models" / "model.pt"
    good = trained.pop(heart)
    server.ask("/train/heart_attn_unet?run_sync=true", "POST", {**options, "val_split": 0})
    assert sha256(heart.with_suffix(".previous.pt")) == good
    assert sha256(heart) != good
    assert all(sha256(weights) == digest for weights, digest in trained.items())
    assert "Traceback" not in server.log.read_text()
    passed("heart: an epoch without validation; the weights from before kept beside the new ones", now)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
