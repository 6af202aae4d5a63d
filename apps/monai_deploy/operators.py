"""The operator of the MONAI Deploy application: a folder of DICOM radiographs in, DICOM results out."""

from __future__ import annotations

import logging
from pathlib import Path

from monai.deploy.core import AppContext, ConditionType, Fragment, Operator, OperatorSpec

from cxr_attn_unet import Segmenter
from cxr_attn_unet.output import check_formats
from cxr_attn_unet.segment import find_inputs, segment_files

__all__ = ["FORMATS", "RadiographSegmenterOperator"]

FORMATS = ("dicom-seg", "dicom-sr")


class RadiographSegmenterOperator(Operator):
    """Segments all radiographs in a folder; each DICOM radiograph gets a Segmentation and a Structured Report.

    Files of other kinds, such as CT slices, are passed over. A radiograph that cannot be used does not stop the others.
    Beside the DICOM objects are ``measurements.csv``, ``failures.csv``, ``manifest.json`` and ``report.html``.

    Output:
        results: the folder of the results, a ``Path``.

    Args:
        fragment: the application.
        app_context: says where the folders are.
        formats: of ``cxr_attn_unet.output.FORMATS``.
        bundles: folder of the bundles; those of the package if not given.

    Raises:
        RuntimeError: some radiographs failed; ``failures.csv`` says why.
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: object,
        app_context: AppContext,
        formats: tuple[str, ...] = FORMATS,
        bundles: Path | None = None,
        **keywords: object,
    ) -> None:
        self._input = Path(app_context.input_path)
        self._output = Path(app_context.output_path)
        self._formats = formats
        self._bundles = bundles
        super().__init__(fragment, *args, **keywords)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the output; nobody has to follow."""
        spec.output("results").condition(ConditionType.NONE)

    def compute(self, op_input: object, op_output: object, context: object) -> None:
        """Segment the folder."""
        for name in ("pydicom", "highdicom"):
            # MONAI Deploy logs from INFO on, and theirs names the radiographs' UIDs
            logging.getLogger(name).setLevel(logging.ERROR)
        segmenter = Segmenter.from_bundles(bundles=self._bundles)
        check_formats(self._formats, segmenter.structures)
        found = find_inputs([self._input], self._output)
        if not found.inputs:
            raise RuntimeError(f"{self._input}: no radiographs here. Name their folder with --input.")
        status = segment_files(
            segmenter, found.inputs, self._output, self._formats, failures=found.failures, ignored=found.ignored
        )
        if status:
            raise RuntimeError(f"some radiographs failed, see {self._output / 'failures.csv'}")
        op_output.emit(self._output, "results")
