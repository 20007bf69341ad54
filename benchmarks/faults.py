"""Small faults in the mathematics: a source file with one expression of a function changed.

An operator, a comparison, a number, a condition or an argument is another one. Texts, messages,
annotations, defaults and what runs while a file is loaded stay as they are.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

LIBRARY = Path(__file__).resolve().parent.parent / "pyro_mfcvae"
MUTATED = {
    "priors": "*",
    "inference": "*",
    "guides": "*",
    "models": "*",
    "training": "batches objective schedules",
    "evaluation": "accuracies bound conditional diversity groups latents layers measures ranking "
    "separability",
}

_OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_NAMES = ("mean sum", "min max", "any all", "zeros ones", "argmin argmax", "new_zeros new_ones")
_METHODS = {a: b for pair in map(str.split, _NAMES) for a, b in (pair, pair[::-1])}
_SILENT = {"isinstance", "issubclass", "hasattr", "getattr", "setattr", "cast", "warn", "overload"}
_SYMMETRIC = {"min", "max", "minimum", "maximum", "broadcast_shapes", "broadcast_tensors", "zip"}
_SPOKEN = {"__repr__", "__str__", "extra_repr"}


Codes = list[tuple[CodeType, CodeType]]


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file.
        lines: the first and last line that runs it.
        function: first and last line of the function around it.
        span: the bytes that are replaced.
        was: these, in one line.
        becomes: what stands in their place.
    """

    path: Path
    lines: tuple[int, int]
    function: tuple[int, int]
    span: tuple[int, int]
    was: str
    becomes: str

    @property
    def name(self) -> str:
        """File, line and bytes, and the change."""
        place = f"{self.path.relative_to(LIBRARY)}:{self.lines[1]}:{self.span[0]}-{self.span[1]}"
        return f"{place}  {self.was}  ->  {self.becomes}"

    def codes(self) -> Codes:
        """The functions that the change reaches, before and after; none if it changes nothing."""
        old = self.path.read_bytes()
        start, end = self.span
        text = self.becomes.encode()
        lines = b"\n" * old[start:end].count(b"\n")  # so that all others keep their numbers
        is_expression = isinstance(ast.parse(self.becomes).body[0], ast.Expr)
        text = b"(" + text + lines + b")" if is_expression else text + lines
        new = compile(old[:start] + text + old[end:], str(self.path), "exec", dont_inherit=True)
        return list(_changed(_compiled(self.path), new))


@cache
def _compiled(path: Path) -> CodeType:
    return compile(path.read_bytes(), str(path), "exec", dont_inherit=True)


def _changed(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    if old == new:
        return
    yield old, new
    before, after = ([c for c in code.co_consts if isinstance(c, CodeType)] for code in (old, new))
    if [c.co_qualname for c in before] == [c.co_qualname for c in after]:
        for pair in zip(before, after, strict=True):
            yield from _changed(*pair)


def files() -> Iterator[Path]:
    """Those that are mutated."""
    for package, names in MUTATED.items():
        for name in names.split():
            yield from sorted((LIBRARY / package).glob(f"{name}.py"))


def draw(n: int, seed: int) -> list[Mutant]:
    """So many mutants that can be put into a loaded library, in the order of the packages."""
    found = [mutant for path in files() for mutant in mutants_of(path)]
    order = list(range(len(found)))
    random.Random(seed).shuffle(order)
    chosen = []
    for i in order:
        codes = found[i].codes() if len(chosen) < n else []
        if codes and all(len(a.co_freevars) == len(b.co_freevars) for a, b in codes):
            chosen.append(i)
    return [found[i] for i in sorted(chosen)]


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All mutants of a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(node: Any) -> tuple[int, int]:
        first, last = starts[node.lineno - 1], starts[node.end_lineno - 1]
        return first + node.col_offset, last + node.end_col_offset

    for function in _outermost(ast.parse(source)):
        for statement, node in _nodes(function, function):
            for old, new in _changes(node):
                yield Mutant(
                    path,
                    (statement.lineno, old.lineno),
                    (function.lineno, function.end_lineno),
                    place(old),
                    ast.unparse(old),
                    ast.unparse(new),
                )


def _outermost(node: ast.AST) -> Iterator[Any]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            if child.name not in _SPOKEN:
                yield child
        elif not _is_passed_over(child):
            yield from _outermost(child)


def _nodes(node: Any, statement: Any) -> Iterator[tuple[Any, ast.AST]]:
    """What runs in a function and is no message, each with the statement that it is of."""
    yield statement, node
    for field, value in ast.iter_fields(node):
        if field in ("args", "annotation", "returns", "decorator_list") and not isinstance(
            node, ast.Call
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_passed_over(child):
                yield from _nodes(child, child if isinstance(child, ast.stmt) else statement)


def _is_passed_over(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _name(node.func) in _SILENT
    if isinstance(node, ast.If):
        return _name(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)


def _name(node: ast.AST) -> str:
    return getattr(node, "id", getattr(node, "attr", ""))


def _changes(node: Any) -> Iterator[tuple[Any, ast.AST]]:
    """Pairs of a node and what may stand in its place."""
    match node:
        case ast.BinOp(left, operator, right):
            if not _is_text(left) and not _is_text(right):
                if type(operator) in _OPERATORS:
                    yield node, ast.BinOp(left, _OPERATORS[type(operator)](), right)
                yield node, left
        case ast.AugAssign(target, operator, value) if type(operator) in _OPERATORS:
            yield node, ast.Assign([target], value, lineno=0)
        case ast.Compare(left, [operator], [right]):
            yield node, ast.Compare(left, [_OPERATORS[type(operator)]()], [right])
        case ast.BoolOp(operator, values):
            yield node, ast.BoolOp(_OPERATORS[type(operator)](), values)
            yield node, values[0]
            yield node, values[-1]
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield node, operand
        case ast.Constant(bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(int(value)):
            yield node, ast.Constant(value + 1)
        case ast.Constant(float(value)):
            yield node, ast.Constant(2 * value if value else 1.0)
        case ast.IfExp(_, body, orelse) if not _is_text(body) and not _is_text(orelse):
            yield node, body
            yield node, orelse
        case ast.If(test) | ast.While(test):
            yield from _negations([test])
        case ast.comprehension(ifs=[*conditions]):
            yield from _negations(conditions)
        case ast.Expr(ast.Call()):
            yield node, ast.Pass()
        case ast.Call(function, arguments, keywords):
            yield from _calls(node, function, arguments, keywords)


def _negations(conditions: list[ast.expr]) -> Iterator[tuple[Any, ast.AST]]:
    """Those that no change of an operator makes."""
    for condition in conditions:
        is_one = isinstance(condition, ast.Compare) and len(condition.ops) == 1
        if not is_one and not isinstance(condition, ast.UnaryOp):
            yield condition, ast.UnaryOp(ast.Not(), condition)


def _calls(
    node: Any, function: Any, arguments: Any, keywords: Any
) -> Iterator[tuple[Any, ast.AST]]:
    plain = [a for a in arguments if not isinstance(a, ast.Starred | ast.GeneratorExp)]
    is_mixed = len(plain) == len(arguments) >= 2 and _name(function) not in _SYMMETRIC
    if is_mixed and not any(map(_is_text, plain[:2])):
        yield node, ast.Call(function, [plain[1], plain[0], *plain[2:]], keywords)
    if keywords and keywords[-1].arg not in (None, "strict"):
        yield node, ast.Call(function, arguments, keywords[:-1])
    if isinstance(function, ast.Attribute) and function.attr in _METHODS:
        other = ast.Attribute(function.value, _METHODS[function.attr], ast.Load())
        yield node, ast.Call(other, arguments, keywords)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr | ast.List | ast.Tuple) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
