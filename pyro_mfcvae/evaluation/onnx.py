r"""A model's view of observations as an ONNX file, which runs without Python and torch.

The graph computes what :func:`~pyro_mfcvae.evaluation.predict` does: q(z_j | x) by its
mean m_j, and q(c_j | x) from it, by the model's own code. What does not depend on x is computed
beforehand, such as the inverse Cholesky factors of the mixtures, for which ONNX has no operator.
Networks compute with 32 bits, as runtimes lack operators of 64, and densities with 64.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.inference.threads import without_validation
from pyro_mfcvae.models.base import FacetModel


class _Predict(nn.Module):
    """Observations (B, *event) -> J tensors q(c_j | x) (B, K_j), and J means of q(z_j | x).

    Args:
        model: is copied.
        shift: of every value, or of each column; None where x is what the model sees.
        scale: what values are divided by then.
    """

    shift: Tensor | None
    scale: Tensor | None

    def __init__(
        self,
        model: FacetModel,
        shift: NDArray[np.float64] | None,
        scale: NDArray[np.float64] | None,
    ) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().eval()
        self.model.facets.double()
        self.model.likelihood.double()
        for name, values in (("shift", shift), ("scale", scale)):
            self.register_buffer(name, None if values is None else torch.from_numpy(values))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.shift is not None and self.scale is not None:
            x = ((x - self.shift) / self.scale).float()
        zs = [posterior.mean for posterior in self.model.encode(x)]
        found = (*self.model.assign(x, [z.double() for z in zs]), *zs)
        return tuple(each.float() for each in found)


def to_onnx(
    model: FacetModel,
    path: Path | str,
    *,
    columns: Sequence[str] = (),
    shift: NDArray[np.float64] | None = None,
    scale: NDArray[np.float64] | None = None,
) -> Path:
    """Write an ONNX file that assigns observations to clusters.

    Its input is ``x`` (B, *event), float32, for any B. Its outputs are ``responsibilities_J``
    (B, K_j) and ``z_mean_J`` (B, D_j) of every facet J, float32. Where observations of a group
    share a latent, the rows of one call are one group.

    Args:
        model: the model.
        path: of the file, which is replaced if it exists.
        columns: names of the columns of x, which the file keeps as its metadata ``columns``.
        shift: subtracted from x (B, *event), which is then float64 and has any unit; (1,), or one
            for each column.
        scale: what that is divided by.

    Returns:
        the path.

    Raises:
        ConfigError: if a package is missing, or ONNX cannot express the model.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise ConfigError(f'ONNX needs the package {package}: pip install "pyro_mfcvae[onnx]"')
    dtype = torch.float32 if scale is None else torch.float64
    x = torch.zeros(2, *model.observation.shape, dtype=dtype)
    names = [
        f"{what}_{j}" for what in ("responsibilities", "z_mean") for j in range(model.n_facets)
    ]
    try:
        with warnings.catch_warnings(), torch.no_grad(), without_validation():
            warnings.simplefilter("ignore")  # of torch, to people who change it
            program = torch.onnx.export(
                _folded(_Predict(model, shift, scale), x),
                (x,),
                dynamo=True,
                dynamic_shapes=_any_number(),
                input_names=["x"],
                output_names=names,
                verbose=False,
            )
    except Exception as error:  # of whatever a person's model does
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        told = str(cause).strip().partition("\n")[0]
        raise ConfigError(
            f"{type(model).__name__} cannot be written as ONNX ({type(cause).__name__}: {told}); "
            "its encode and assign must be operations on tensors that torch can trace and ONNX has"
        ) from error
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where it comes from: folders of this machine
    if columns:
        program.model.metadata_props["columns"] = json.dumps(list(columns))
    write_whole(Path(path), program.model_proto.SerializeToString())
    return Path(path)


def _any_number() -> Any:
    return ({0: torch.export.Dim("batch")},)


def _folded(module: nn.Module, x: Tensor) -> fx.GraphModule:
    """The module as one graph, in which all that does not depend on x is computed already."""
    program = torch.export.export(module, (x,), dynamic_shapes=_any_number(), strict=False)
    graph_module = program.module(check_guards=False)
    known: dict[fx.Node, Any] = {}
    for node in graph_module.graph.nodes:
        if node.op == "get_attr":
            known[node] = attrgetter(node.target)(graph_module)
        elif node.op == "call_function" and all(each in known for each in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    for i, (node, value) in enumerate(known.items()):
        if node.op == "call_function" and not all(user in known for user in node.users):
            graph_module.register_buffer(f"known_{i}", value)
            with graph_module.graph.inserting_before(node):
                node.replace_all_uses_with(graph_module.graph.get_attr(f"known_{i}"))
    graph_module.graph.eliminate_dead_code()
    graph_module.recompile()
    return graph_module
