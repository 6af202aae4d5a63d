"""The released zips in the hands of a stranger: a fresh environment with MONAI and the packages that the metadata name.

Run by "make test-package". Each step is a process of its own in an empty folder; the first that fails ends the run with
what it printed.

    python tests/acceptance/released_bundles.py dist examples/rendered examples/open_radiographs
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SCHEMA = Path(__file__).resolve().parents[2] / "shared/cxr_attn_unet_dev/packaging/meta_schema_20240725.json"
ANY_BATCH = "{'input_names':['image'],'output_names':['pred'],'dynamic_axes':{'image':{0:'batch'},'pred':{0:'batch'}}}"
COMPARE = """
import onnxruntime, torch
session = onnxruntime.InferenceSession("{onnx}", providers=["CPUExecutionProvider"])
size = session.get_inputs()[0].shape[2:]
images = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(0))
(found,) = session.run(["pred"], {{"image": images.numpy()}})
with torch.no_grad():
    expected = torch.jit.load("{script}").eval()(images)
difference = (torch.from_numpy(found) - expected).abs()
assert difference[:, :2].max() < 1e-4
# logits up to 20; the network of the ribs' numbers sees a smaller picture, whose interpolation ONNX rounds otherwise
assert difference.max() < 2e-3
"""
BUNDLES = ("lungs_attn_unet", "heart_attn_unet", "clavicles_attn_unet", "ribs_attn_unet")
LOAD = """
import sys, torch
from monai.bundle import load
images = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
for name in {bundles}:
    expected = torch.load(f"{root}/{{name}}/models/model.pt", weights_only=True)
    scripted = None
    if name in {scripted}:
        scripted, about, _ = load(name, bundle_dir="{root}", source="github", load_ts_module=True)
    for kind in ("train", "inference"):
        network = load(name, bundle_dir="{root}", source="github", workflow_type=kind).eval()
        for key, value in network.state_dict().items():
            assert torch.equal(value, expected[key].to(value.dtype)), (name, kind, key)
        if scripted is not None:
            with torch.no_grad():
                assert torch.allclose(network(images), scripted.eval()(images), atol=1e-4), name
        other = load(name, bundle_dir="{root}", source="github", workflow_type=kind, net_override={{"width": 8}})
        assert other.width == 8
package = sys.modules["cxr_attn_unet"]
assert package.__file__.startswith("{root}/lungs_attn_unet/"), package.__file__
print(package.__file__)
"""
OTHER_VERSION = """
from monai.bundle import load
load("lungs_attn_unet", bundle_dir="{root}", source="github")
try:
    load("heart_attn_unet", bundle_dir="{other}", source="github")
except Exception as error:
    while error.__cause__: error = error.__cause__
    assert type(error) is ImportError and "needs cxr_attn_unet 99.0.0, but" in str(error), repr(error)
    print(error)
else:
    raise SystemExit("code of the wrong version was used")
"""


def step(name: str, *command: str, folder: Path) -> str:
    """Run a command in a folder.

    Raises:
        SystemExit: it failed.
    """
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-W", "ignore", *command], cwd=folder, text=True, capture_output=True)
    print(f"{'ok' if done.returncode == 0 else 'FAILED':<7}{time.monotonic() - start:6.1f} s  {name}", flush=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done.stdout + done.stderr


def masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def main(dist: Path, examples: Path, radiographs: Path) -> None:
    assert importlib.util.find_spec("cxr_attn_unet") is None, "the package is installed here: this is no stranger"
    with tempfile.TemporaryDirectory() as temporary:
        empty, root = Path(temporary) / "empty", Path(temporary).resolve() / "bundles"
        empty.mkdir()
        monai = functools.partial(step, folder=empty)
        for name in BUNDLES:
            (archive,) = dist.glob(f"{name}_v*.zip")
            monai(
                f"{name}: download from a file's address",
                *("-m", "monai.bundle", "download", "--name", name, "--bundle_dir", str(root)),
                *("--url", archive.resolve().as_uri()),
            )
        over_http(dist, Path(temporary) / "http", monai)
        # what is too large for the zoo is not in a zip
        scripted = [name for name in BUNDLES if (root / name / "models" / "model.ts").exists()]
        assert "heart_attn_unet" in scripted
        loading = LOAD.format(root=root, bundles=BUNDLES, scripted=scripted)
        monai("load: weights, inference, TorchScript, net_override", "-c", loading)

        other = Path(temporary) / "other"
        shutil.copytree(root / "heart_attn_unet", other / "heart_attn_unet", ignore=shutil.ignore_patterns("__pyc*"))
        code = other / "heart_attn_unet" / "cxr_attn_unet" / "__init__.py"
        version = json.loads((root / "heart_attn_unet" / "configs" / "metadata.json").read_text())["version"]
        code.write_text(code.read_text().replace(f'__version__ = "{version}"', '__version__ = "99.0.0"'))
        monai("another version: refused", "-c", OTHER_VERSION.format(root=root, other=other))
        for name in BUNDLES:
            try_out(name, root / name, empty, examples.resolve(), radiographs.resolve())
        assert not list(empty.iterdir()), f"left behind: {list(empty.iterdir())}"
    print("All steps passed.")


def over_http(dist: Path, target: Path, monai) -> None:
    """From the index, as people would."""
    index = dist / "zoo"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(index))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        listed = json.loads((index / "model_info.json").read_text())
        full_name = next(name for name in sorted(listed) if name.startswith(BUNDLES[1]))
        monai(
            "download from an index over HTTP",
            *("-m", "monai.bundle", "download", "--name", BUNDLES[1], "--bundle_dir", str(target)),
            *("--url", f"http://127.0.0.1:{server.server_address[1]}/{full_name}.zip"),
        )
        server.shutdown()
    assert (target / BUNDLES[1] / "configs" / "metadata.json").is_file()


def try_out(name: str, root: Path, empty: Path, examples: Path, radiographs: Path) -> None:
    run, configs = ("-m", "monai.bundle", "run"), root / "configs"
    train, at_root = str(configs / "train.json"), ("--bundle_root", str(root))
    before = (root / "models" / "model.pt").read_bytes()
    out = empty.parent / "out" / name
    small = ("--dataset_dir", str(examples), "--epochs", "1", "--image_size", "64", "--batch_size", "2")
    places = ("--output_dir", str(out / "train"), "--ckpt_dir", str(out / "train"))
    step(f"{name}: train", *run, "training", "--config_file", train, *at_root, *small, *places, folder=empty)
    assert (out / "train" / "model.pt").is_file()
    assert (out / "train" / "model.json").is_file()

    inference = ("--dataset_dir", str(radiographs), "--output_dir")
    config = str(configs / "inference.json")
    step(f"{name}: segment", *run, "--config_file", config, *at_root, *inference, str(out / "a"), folder=empty)
    inside = ("--config_file", "configs/inference.json")
    step(f"{name}: segment, from inside", *run, *inside, *inference, str(out / "b"), folder=root)
    assert masks(out / "a") == masks(out / "b")
    assert len(masks(out / "a")) == 6

    both = f"['{train}','{configs / 'evaluate.json'}']"
    data = ("--dataset_dir", str(examples), "--output_dir", str(out / "evaluate"))
    step(f"{name}: evaluate", *run, "--config_file", both, *at_root, *data, folder=empty)
    (results,) = (out / "evaluate").glob("results_*.json")
    assert 0 <= json.loads(results.read_text())["summary"]["val_mean_dice"]["mean"] <= 1

    metadata, tool = str(configs / "metadata.json"), ("-m", "monai.bundle")
    schema = SCHEMA
    arguments = ("--meta_file", metadata, "--filepath", str(schema))
    step(f"{name}: verify_metadata", *tool, "verify_metadata", *arguments, folder=empty)
    shape = ("network_def", "--meta_file", metadata, "--config_file", config, *at_root)
    step(f"{name}: verify_net_in_out", *tool, "verify_net_in_out", *shape, "--device", "cpu", folder=empty)
    export = (*shape, "--ckpt_file", str(root / "models" / "model.pt"))
    step(f"{name}: ckpt_export", *tool, "ckpt_export", *export, "--filepath", str(out / "m.ts"), folder=empty)
    onnx = (*export, "--filepath", str(out / "m.onnx"), "--converter_kwargs", ANY_BATCH)
    step(f"{name}: onnx_export", *tool, "onnx_export", *onnx, folder=empty)
    compare = COMPARE.format(onnx=out / "m.onnx", script=out / "m.ts")
    step(f"{name}: three radiographs at once by ONNX", "-c", compare, folder=empty)
    assert (out / "m.ts").stat().st_size > 1e6
    assert (out / "m.onnx").stat().st_size > 1e4
    assert (root / "models" / "model.pt").read_bytes() == before, "the released weights were changed"


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
