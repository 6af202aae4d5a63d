"""The application that MONAI Label's server runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

from cxr_attn_unet import __version__
from cxr_attn_unet.bundle import bundles_folder, cause_of
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.trust import check_trusted

from .archive import ArchiveDatastore
from .strategy import LeastCertain
from .tasks import AllStructures, BundleInfer, BundleTrainer
from .tokens import name_the_algorithm

__all__ = ["ALL", "ChestRadiographApp"]

ALL = "chest_anatomy"
UNPROCESSABLE = 422  # HTTP: understood, but the file cannot be used


class ChestRadiographApp(MONAILabelApp):
    """The bundles as models of their own, and :data:`ALL`, which gives all structures as one label map.

    The bundles are copied to ``model`` in the application's folder when it first starts, so that training changes the
    copies alone; delete a copy to get the shipped one again.

    Args:
        app_dir: folder of the application.
        studies: folder or address of the radiographs.
        conf: of ``--conf NAME VALUE``; ``models`` names some bundles, separated by commas.

    Raises:
        ValueError: an unknown bundle.
        UntrustedBundleError: one that did not come with the package and was not trusted before.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        name_the_algorithm()
        self.model_dir = Path(app_dir) / "model"
        source = bundles_folder()
        known = sorted(path.parents[1].name for path in source.glob("*/configs/inference.json"))
        wanted = [name.strip() for name in conf.get("models", "").split(",") if name.strip()] or known
        unknown = [name for name in wanted if name not in known and not (self.model_dir / name).is_dir()]
        if unknown:
            raise ValueError(f"no bundle {', '.join(unknown)}; there are: {', '.join(known)}")
        check_trusted(source / name for name in wanted if not (self.model_dir / name).is_dir())
        self.bundles = {name: self.model_dir / name for name in wanted}
        for name, folder in self.bundles.items():
            if not folder.is_dir():
                temporary = folder.with_name(f".{name}.new")
                shutil.rmtree(temporary, ignore_errors=True)
                left_out = shutil.ignore_patterns("eval", "data", "*.previous.*", "*.unfinished.*")
                shutil.copytree(source / name, temporary, ignore=left_out)
                temporary.rename(folder)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="Chest radiographs",
            description="Lungs, heart, clavicles and ribs in chest radiographs, by attention U-Nets. Research only.",
            version=__version__,
        )

    def init_remote_datastore(self) -> Datastore:
        """A DICOMweb archive, unless the settings name a server of another kind, which is MONAI Label's own affair."""
        if settings.MONAI_LABEL_DATASTORE:
            return super().init_remote_datastore()
        return ArchiveDatastore.from_settings(self.studies)

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """MONAI Label's own, but a file that cannot be used is an answer with its reason, of status 422."""
        try:
            return super().infer(request, datastore)
        except Exception as error:
            cause = cause_of(error)
            if not isinstance(cause, RadiographError):
                raise
            raise HTTPException(status_code=UNPROCESSABLE, detail=str(cause)) from error

    def init_infers(self) -> dict[str, InferTask]:
        """The models, by name."""
        models: dict[str, InferTask] = {
            name: BundleInfer(str(folder), self.conf) for name, folder in self.bundles.items()
        }
        models[ALL] = AllStructures(self.model_dir, self.structures)
        return models

    def init_trainers(self) -> dict[str, TrainTask]:
        """The trainings, by name."""
        return {name: BundleTrainer(str(folder), self.conf) for name, folder in self.bundles.items()}

    def init_strategies(self) -> dict[str, Strategy]:
        """The ways to choose the next radiograph, by name."""
        return {
            "least_certain": LeastCertain(self.model_dir, self.structures),
            "first": First(),
            "random": Random(),
        }

    @property
    def structures(self) -> list[str]:
        """Those of the bundles."""
        return [name.removesuffix("_attn_unet") for name in self.bundles]
