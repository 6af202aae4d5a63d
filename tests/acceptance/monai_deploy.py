"""MONAI Deploy with the application of this repository, and its own bundle operator with a bundle of it.

Run by "make test-deploy" in an environment that has the SDK.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, ConditionType, Fragment, Image, IOType, Operator, OperatorSpec
from monai.deploy.operators.monai_bundle_inference_operator import (
    BundleConfigNames,
    IOMapping,
    MonaiBundleInferenceOperator,
)
from PIL import Image as Pillow

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from cxr_attn_unet import Segmenter  # noqa: E402
from samples import write_dicom  # noqa: E402

APP = REPOSITORY / "apps" / "monai_deploy" / "app.py"
BUNDLE = REPOSITORY / "bundles" / "heart_attn_unet"
RADIOGRAPH = REPOSITORY / "examples" / "open_radiographs" / "19073f37.png"
SIDE = 512
UIDS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}


def pixels() -> np.ndarray:
    """A real radiograph, 12 bits."""
    return np.asarray(Pillow.open(RADIOGRAPH).convert("L").resize((SIDE, SIDE))).astype(np.uint16) * 16


def run_app(inputs: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """The application in a process of its own."""
    command = [sys.executable, "-W", "ignore", APP, "--input", inputs, "--output", output]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def check_app(folder: Path) -> None:
    """Each DICOM radiograph gets a Segmentation and a report; one that cannot be used ends the run with an error."""
    inputs = folder / "in"
    inputs.mkdir()
    write_dicom(inputs / "a.dcm", pixels(), PixelSpacing=[0.7, 0.7], **UIDS)
    done = run_app(inputs, folder / "out")
    assert done.returncode == 0, done.stderr[-4000:]
    segments = [one.SegmentLabel for one in pydicom.dcmread(folder / "out" / "a.seg.dcm").SegmentSequence]
    assert segments == ["Lungs", "Heart", "Clavicles", "Ribs"], segments
    report = pydicom.dcmread(folder / "out" / "a.sr.dcm")
    assert report.Modality == "SR"
    print("the application: Segmentation and Structured Report are written")

    (inputs / "bad.dcm").write_bytes(b"no radiograph")
    failed = run_app(inputs, folder / "out")
    assert failed.returncode, "a file that cannot be used must end the run with an error"
    assert "failures.csv" in failed.stderr + failed.stdout
    assert (folder / "out" / "a.seg.dcm").is_file()
    print("the application: a file that cannot be used is named, the others are done")


class Source(Operator):
    """Hands a picture over as ``DICOMSeriesToVolumeOperator`` does: (slices, rows, columns) with spacings."""

    def __init__(self, fragment: Fragment, *args: object, picture: np.ndarray, **keywords: object) -> None:
        self._picture = picture
        super().__init__(fragment, *args, **keywords)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the output."""
        spec.output("image")

    def compute(self, op_input: object, op_output: object, context: object) -> None:
        """Hand it over."""
        spacings = {"row_pixel_spacing": 0.7, "col_pixel_spacing": 0.7, "depth_pixel_spacing": 1.0}
        metadata = {**spacings, "nifti_affine_transform": np.eye(4)}
        op_output.emit(Image(self._picture[None], metadata), "image")


class Sink(Operator):
    """Keeps what it gets."""

    def __init__(self, fragment: Fragment, *args: object, kept: list[np.ndarray], **keywords: object) -> None:
        self._kept = kept
        super().__init__(fragment, *args, **keywords)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the input."""
        spec.input("pred").condition(ConditionType.MESSAGE_AVAILABLE, min_size=1)

    def compute(self, op_input: object, op_output: object, context: object) -> None:
        """Keep it."""
        self._kept.append(op_input.receive("pred").asnumpy())


class BundleApp(Application):
    """MONAI Deploy's own bundle operator between a source and a sink."""

    def __init__(self, picture: np.ndarray, kept: list[np.ndarray]) -> None:
        self._picture = picture
        self._kept = kept
        super().__init__()

    def compose(self) -> None:
        """Source, bundle, sink."""
        operator = MonaiBundleInferenceOperator(
            self,
            app_context=Application.init_app_context([]),
            bundle_path=BUNDLE,
            bundle_config_names=BundleConfigNames(config_names=["inference", "inference_in_memory"]),
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
            name="bundle",
        )
        source = Source(self, CountCondition(self, 1), picture=self._picture, name="source")
        sink = Sink(self, kept=self._kept, name="sink")
        self.add_flow(source, operator, {("image", "image")})
        self.add_flow(operator, sink, {("pred", "pred")})


def check_bundle_operator() -> None:
    """MONAI Deploy's bundle operator gives the mask that ``Segmenter`` gives."""
    picture = pixels()
    kept: list[np.ndarray] = []
    BundleApp(picture, kept).run()
    (mask,) = kept
    expected = Segmenter.from_bundles(["heart"], device="cpu")(picture.astype(np.float32)).masks["heart"]
    assert mask.shape == expected.shape, mask.shape
    differ = np.count_nonzero((mask > 0) != expected)
    assert differ == 0, f"{differ} pixels differ"
    print("MONAI Deploy's bundle operator: the mask is that of Segmenter")


def main() -> None:
    """Check both."""
    with tempfile.TemporaryDirectory() as folder:
        check_app(Path(folder))
    check_bundle_operator()


if __name__ == "__main__":
    main()
