"""A MONAI Deploy application around ``Segmenter``.

python apps/monai_deploy/app.py --input RADIOGRAPHS --output OUT
"""

from __future__ import annotations

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application

from operators import RadiographSegmenterOperator

__all__ = ["ChestRadiographApp"]


class ChestRadiographApp(Application):
    """DICOM radiographs in; a Segmentation and a Structured Report of each out."""

    def compose(self) -> None:
        """One operator, which runs once."""
        context = Application.init_app_context(self.argv)
        self.add_operator(
            RadiographSegmenterOperator(self, CountCondition(self, 1), app_context=context, name="segmenter")
        )


if __name__ == "__main__":
    ChestRadiographApp().run()
