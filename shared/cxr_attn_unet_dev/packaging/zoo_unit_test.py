"""A bundle's test in the MONAI model zoo: ``ci/unit_tests/test_NAME.py``, where NAME is that of the bundle.

The zoo's ``ci/unit_tests/runner.py`` runs it from the zoo's folder, beside ``models/NAME``. It needs MONAI and what the
bundle's metadata require, no data set: it draws ten pictures of its own. The file is the same for all these bundles and
takes the bundle from its own name.
"""

import json
import os
import shutil
import tempfile
import unittest

import numpy as np
from monai.bundle import ConfigWorkflow
from PIL import Image

NAME = os.path.splitext(os.path.basename(__file__))[0].removeprefix("test_")
ROOT = os.path.join("models", NAME)
SIDE = 64
PICTURES = 10
# small enough for a CPU; the shipped weights are tested by inference, which changes nothing
TRAINING = {"image_size": SIDE, "width": 4, "epochs": 2, "batch_size": 4, "num_workers": 0}


def config(name):
    """Path of a config of the bundle."""
    return os.path.join(ROOT, "configs", f"{name}.json")


def picture(seed):
    """A bright ellipse on a dark noisy ground, 8 bits, and its mask."""
    rng = np.random.default_rng(seed)
    rows, columns = 96, 80
    y, x = np.mgrid[:rows, :columns]
    row, column = rows * rng.uniform(0.5, 0.65), columns * rng.uniform(0.5, 0.65)
    mask = ((y - row) / (0.22 * rows)) ** 2 + ((x - column) / (0.25 * columns)) ** 2 < 1
    values = 60 + 40 * np.abs(x - columns / 2) / columns + 90 * mask + rng.normal(0, 6, mask.shape)
    return values.clip(0, 255).astype(np.uint8), mask.astype(np.uint8) * 255


class TestBundle(unittest.TestCase):
    """The bundle's configs through MONAI's workflows."""

    def setUp(self):
        """Write a data set in the layout ``images/`` and ``masks/STRUCTURE/``."""
        with open(config("inference"), encoding="utf-8") as file:
            structure = json.load(file)["structure"]
        self.folder = tempfile.mkdtemp()
        self.data = os.path.join(self.folder, "data")
        self.images = os.path.join(self.data, "images")
        masks = os.path.join(self.data, "masks", structure)
        os.makedirs(self.images)
        os.makedirs(masks)
        for seed in range(PICTURES):
            values, mask = picture(seed)
            Image.fromarray(values).save(os.path.join(self.images, f"case_{seed}.png"))
            Image.fromarray(mask).save(os.path.join(masks, f"case_{seed}.png"))

    def tearDown(self):
        """Remove what was written."""
        shutil.rmtree(self.folder)

    def check(self, workflow_type, config_file, **overrides):
        """Go through a workflow from its start to its end; all that MONAI asks of such a workflow is there."""
        workflow = ConfigWorkflow(
            workflow_type=workflow_type,
            config_file=config_file,
            meta_file=config("metadata"),
            logging_file=os.path.join(ROOT, "configs", "logging.conf"),
            bundle_root=ROOT,
            **overrides,
        )
        workflow.initialize()
        self.assertFalse(workflow.check_properties())
        workflow.run()
        workflow.finalize()

    def test_train_eval_config(self):
        """Train two epochs, and evaluate the weights that they gave."""
        results = os.path.join(self.folder, "results")
        # the shipped weights stay as they are
        where = {"dataset_dir": self.data, "output_dir": results, "ckpt_dir": results, **TRAINING}
        self.check("train", config("train"), **where)
        weights = os.path.join(results, "model.pt")
        self.assertTrue(os.path.isfile(weights))
        self.check("train", [config("train"), config("evaluate")], checkpoint=weights, **where)

    def test_infer_config(self):
        """Segment all pictures with the shipped weights."""
        masks = os.path.join(self.folder, "masks")
        self.check("infer", config("inference"), dataset_dir=self.images, output_dir=masks)
        self.assertEqual(len([name for name in os.listdir(masks) if name.endswith(".png")]), PICTURES)


if __name__ == "__main__":
    unittest.main()
