"""The one place that imports torchvision."""

from __future__ import annotations

from types import ModuleType

import torch


def torchvision_datasets() -> ModuleType:
    """``torchvision.datasets``, also where only a CPU build of torch is installed.

    torchvision's Linux wheel is linked against CUDA libraries. Beside a CPU-only torch its
    compiled operators do not load, and its import stops at the first one that it looks for.
    None of them is needed to read a data set, so the names are declared first.
    """
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision.datasets
