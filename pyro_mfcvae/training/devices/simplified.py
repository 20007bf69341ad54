"""Graphs with fewer operations that give the same numbers.

What is computed twice is computed once, what leaves its argument as it is goes, and so does what a
weight of zero makes nothing of: a facet whose turn has not come costs a step nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Set
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_map

_ATEN = torch.ops.aten

_BATCH_NORMS = {_ATEN.native_batch_norm.default, _ATEN.cudnn_batch_norm.default}
"""Their running statistics, arguments 3 and 4, change in place, which their schemas do not say."""


def simplify(module: GraphModule, known: Mapping[Node, Tensor]) -> None:
    """Leave out of a graph what has no effect on its results, in place.

    The results are the same bit for bit, up to the sign of a zero.

    Args:
        module: a graph of aten operations.
        known: arguments that hold zeros, with tensors that are 0 where they do and 1 elsewhere.
    """
    graph = module.graph
    _remove_repetitions(graph)
    if known:
        _remove_zeros(graph, _find_zeros(graph, known))
        _remove_repetitions(graph)
    _part_results(graph)
    graph.eliminate_dead_code(lambda node: node.is_impure() or node.target in _BATCH_NORMS)
    module.recompile()


def _remove_repetitions(graph: Graph) -> None:
    changing = _changing_nodes(graph)
    seen: dict[Any, Node] = {}
    for node in list(graph.nodes):
        if not _is_pure(node) or node in changing or changing.intersection(node.all_input_nodes):
            continue
        key = _key(node)
        same = _as_it_came(node) or (seen.get(key) if key is not None else None)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
        elif key is not None:
            seen[key] = node


def _changing_nodes(graph: Graph) -> set[Node]:
    """What is written to in place, and views of it."""
    changing: set[Any] = set()
    for node in graph.nodes:
        if node.target in _BATCH_NORMS:
            changing.update(node.args[3:5])
        elif isinstance(node.target, torch._ops.OpOverload):
            for argument, given in zip(node.target._schema.arguments, node.args, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    changing.add(given)
    for node in reversed(graph.nodes):
        if node in changing and _is_view(node):
            changing.update(node.all_input_nodes)
    for node in graph.nodes:
        if _is_view(node) and changing.intersection(node.all_input_nodes):
            changing.add(node)
    return changing


def _part_results(graph: Graph) -> None:
    """Give results that have become one a tensor each: whoever gets them may change them."""
    output = graph.output_node()
    taken: set[Node] = set()
    results = []
    for result in output.args[0]:  # type: ignore[union-attr]
        if result in taken:
            with graph.inserting_before(output):
                result = graph.call_function(_ATEN.clone.default, (result,))
        if isinstance(result, Node):
            taken.add(result)
        results.append(result)
    output.args = (results,)


def _is_view(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and any(
        argument.alias_info is not None for argument in node.target._schema.arguments
    )


def _is_pure(node: Node) -> bool:
    if node.target is operator.getitem:
        return True
    return (
        isinstance(node.target, torch._ops.OpOverload)
        and not node.target._schema.is_mutable
        and node.target not in _BATCH_NORMS
        and torch.Tag.nondeterministic_seeded not in node.target.tags
    )


def _key(node: Node) -> Any:
    """What nodes that compute the same have in common; None where that cannot be said."""
    parts = (node.target, node.args, tuple(sorted(node.kwargs.items())))
    key = tree_map(lambda x: (type(x), x) if isinstance(x, bool | int | float) else x, parts)
    try:
        hash(key := _frozen(key))
    except TypeError:
        return None
    return key


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _as_it_came(node: Node) -> Node | None:
    """What a node returns unchanged, if it does so."""
    target, args = node.target, node.args
    inner = args[0] if args and isinstance(args[0], Node) else None
    if inner is None:
        return None
    if target is _ATEN.neg.default and inner.target is _ATEN.neg.default:
        return inner.args[0]  # type: ignore[return-value]
    if target is _ATEN.t.default and inner.target is _ATEN.t.default:
        return inner.args[0]  # type: ignore[return-value]
    if target in _BY_ONE:
        unchanged = args[1] == 1 and not isinstance(args[1], Node)
    else:
        unchanged = target in _LAYOUTS
    return inner if unchanged and _is_like(node, inner) else None


_LAYOUTS = {
    _ATEN.view.default,
    _ATEN._unsafe_view.default,
    _ATEN.expand.default,
    _ATEN.permute.default,
    _ATEN.detach.default,
    _ATEN.alias.default,
}
_BY_ONE = {
    _ATEN.pow.Tensor_Scalar,
    _ATEN.mul.Tensor,
    _ATEN.mul.Scalar,
    _ATEN.div.Tensor,
    _ATEN.div.Scalar,
}


def _is_like(node: Node, other: Node) -> bool:
    a, b = node.meta["val"], other.meta["val"]
    return bool(a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype)


def _remove_zeros(graph: Graph, may_be: Mapping[Node, Any]) -> None:
    """Put zeros in the place of nodes that are, and leave out sums with these."""
    zeros = {
        node for node, found in may_be.items() if isinstance(found, Tensor) and not found.any()
    }
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node in zeros and node.op == "call_function" and value.is_contiguous():
            with graph.inserting_before(node):
                new = graph.call_function(
                    _ATEN.full.default,
                    (list(value.shape), 0),
                    {"dtype": value.dtype, "device": value.device},
                )
            new.meta["val"] = value
            node.replace_all_uses_with(new)
        elif (left := _summand(node, zeros)) is not None:
            node.replace_all_uses_with(left)


def _summand(node: Node, zeros: Set[Node]) -> Node | None:
    """What a sum or difference comes to, if the other part of it is zero."""
    if node.kwargs or node.target not in (_ATEN.add.Tensor, _ATEN.sub.Tensor):
        return None
    a, b = node.args
    pairs = [(a, b), (b, a)] if node.target is _ATEN.add.Tensor else [(a, b)]
    left = [x for x, y in pairs if y in zeros and isinstance(x, Node) and _is_like(node, x)]
    return left[0] if left else None


def _find_zeros(graph: Graph, known: Mapping[Node, Tensor]) -> dict[Node, Any]:
    """Where nodes may be other than 0: tensors of 0 and 1 of their shapes.

    Of operations that give several tensors, tuples; of what nothing is known, nothing.
    """
    may_be: dict[Node, Any] = dict(known)
    for node in graph.nodes:
        rule = _RULES.get(node.target)
        if rule is None or not any(each in may_be for each in node.all_input_nodes):
            continue
        args = tree_map(
            lambda x: may_be[x] if x in may_be else _unknown(x) if isinstance(x, Node) else x,
            node.args,
        )
        found = rule(node, *args)
        if found is not None:
            may_be[node] = found
    return may_be


def _unknown(node: Node) -> Any:
    value = node.meta["val"]
    if node.target is _ATEN.scalar_tensor.default and node.args[0] == 0:
        return torch.zeros(value.shape)
    if isinstance(value, Tensor):
        return torch.ones(value.shape)
    return tuple(torch.ones(each.shape) for each in value)


Rule = Callable[..., Any]
"""Where a node and its arguments, as tensors of 0 and 1, say that it may be other than 0."""


def _as_computed(node: Node, *args: Any) -> Any:
    """Of sums and products of what is not negative, and of what moves entries."""
    found = node.target(*args)  # type: ignore[operator]
    return (found != 0).float() if isinstance(found, Tensor) else found


def _as_first(node: Node, first: Tensor, *_: Any) -> Tensor:
    """Of what is 0 wherever its first argument is."""
    return first.expand(node.meta["val"].shape)


def _added(_: Node, a: Any, b: Any) -> Any:
    return ((a != 0) | (b != 0)).float() if isinstance(b, Tensor) else (a if b == 0 else None)


def _either(node: Node, _: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return ((a != 0) | (b != 0)).float().expand(node.meta["val"].shape)


def _if_all(node: Node, first: Tensor, *_: Any) -> Any:
    """Of what is 0 if its first argument is 0 everywhere."""
    if first.any():
        return None
    value = node.meta["val"]
    if isinstance(value, Tensor):
        return torch.zeros(value.shape)
    return tuple(None if each is None else torch.zeros(each.shape) for each in value)


_RULES: dict[Any, Rule] = {
    operator.getitem: lambda _, parts, i: parts[i],
    _ATEN.view.default: lambda _, first, shape: first.reshape(shape),
    _ATEN._unsafe_view.default: lambda _, first, shape: first.reshape(shape),
    _ATEN.ne.Scalar: lambda _, first, number: first if number == 0 else None,
    _ATEN.pow.Tensor_Scalar: lambda _, first, number: first if number > 0 else None,
    _ATEN.where.self: _either,
    _ATEN.add.Tensor: _added,
    _ATEN.sub.Tensor: _added,
    **dict.fromkeys(
        [
            _ATEN.mul.Tensor,
            _ATEN.mul.Scalar,
            _ATEN.mm.default,
            _ATEN.bmm.default,
            _ATEN.sum.default,
            _ATEN.sum.dim_IntList,
            _ATEN.mean.default,
            _ATEN.mean.dim,
            _ATEN.expand.default,
            _ATEN.t.default,
            _ATEN.transpose.int,
            _ATEN.permute.default,
            _ATEN.squeeze.default,
            _ATEN.squeeze.dim,
            _ATEN.squeeze.dims,
            _ATEN.unsqueeze.default,
            _ATEN.select.int,
            _ATEN.select_backward.default,
            _ATEN.slice.Tensor,
            _ATEN.slice_backward.default,
            _ATEN.split.Tensor,
            _ATEN.split_with_sizes.default,
            _ATEN.unbind.int,
            _ATEN.cat.default,
            _ATEN.stack.default,
            _ATEN.clone.default,
            _ATEN.neg.default,
        ],
        _as_computed,
    ),
    **dict.fromkeys(
        [
            _ATEN.div.Tensor,
            _ATEN.div.Scalar,
            _ATEN._to_copy.default,
            _ATEN.relu.default,
            _ATEN.tanh.default,
            _ATEN.threshold_backward.default,
            _ATEN.tanh_backward.default,
            _ATEN.elu_backward.default,
            _ATEN.sigmoid_backward.default,
            _ATEN.softplus_backward.default,
        ],
        _as_first,
    ),
    **dict.fromkeys(
        [
            _ATEN._log_softmax_backward_data.default,
            _ATEN.convolution_backward.default,
            _ATEN.native_batch_norm_backward.default,
        ],
        _if_all,
    ),
}
