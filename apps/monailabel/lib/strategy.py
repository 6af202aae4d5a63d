"""Which radiograph to annotate next."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from cxr_attn_unet.io import RadiographError

from .tasks import CurrentSegmenter

__all__ = ["LeastCertain"]

CERTAINTY = "certainty"

logger = logging.getLogger(__name__)


class LeastCertain(Strategy):
    """The radiograph without a label of which the networks are least certain.

    Certainty is the lowest of the structures' confidences (see :class:`~cxr_attn_unet.inference.Segmentation`); the
    request may name one ``structure``. It is kept with the radiograph in the datastore and measured again after the
    weights have changed. Each request measures at most ``limit`` radiographs (20), so that the answer comes soon, and
    chooses among all that were measured.

    Args:
        bundles: folder of the bundles.
        structures: those that count.
    """

    def __init__(self, bundles: Path, structures: Sequence[str]) -> None:
        super().__init__("The radiograph of which the networks are least certain")
        self._current = CurrentSegmenter(bundles, structures)
        self._structures = list(structures)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The radiograph's ``id`` and ``score``; ``None`` where there is none to choose."""
        wanted = request.get("structure") or self._structures
        wanted = [wanted] if isinstance(wanted, str) else wanted
        unknown = [name for name in wanted if name not in self._structures]
        if unknown:
            raise ValueError(f"no structure {', '.join(unknown)}; there are: {', '.join(self._structures)}")
        segmenter = self._current()
        left = int(request.get("limit", 20))
        found: dict[str, float] = {}
        for image in sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))):
            known = datastore.get_image_info(image).get(CERTAINTY, {})
            if known.get("weights") != segmenter.identity:
                if left <= 0:
                    continue
                left -= 1
                known = {"weights": segmenter.identity, **self._measure(segmenter, datastore.get_image_uri(image))}
                datastore.update_image_info(image, {CERTAINTY: known})
            if "failed" not in known:
                found[image] = min(known["confidences"][name] for name in wanted)
        if not found:
            return None
        least = min(found, key=lambda image: (found[image], image))
        logger.info(f"Least certain of {len(found)}: {least}, {found[least]:.3f}")
        return {"id": least, "score": round(found[least], 4), "measured": len(found)}

    def _measure(self, segmenter: Any, path: str) -> dict[str, Any]:
        try:
            confidences = segmenter(path).confidences
        except RadiographError as error:
            logger.warning(str(error))
            return {"failed": str(error)}
        except Exception as error:  # a fault of ours with one radiograph must not stop the choice among the others
            logger.exception(f"{path}: could not be measured")
            return {"failed": f"{path}: {type(error).__name__}: {error}"}
        return {"confidences": {name: round(value, 4) for name, value in confidences.items()}}
