"""Lets a CUDA build of torchvision be imported beside a CPU build of PyTorch, as pip installs them on some machines.

torchvision registers implementations of two operators for CUDA alone; declared here first, the import goes through. The
bundles use neither. A matching pair of builds is not touched.
"""

import importlib.util

try:
    import torch

    if torch.version.cuda is None and importlib.util.find_spec("torchvision"):
        _library = torch.library.Library("torchvision", "DEF")
        _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except (ImportError, RuntimeError):
    pass
