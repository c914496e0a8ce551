"""Small damages to a module, each at one place of its syntax tree."""

from __future__ import annotations

import ast
import copy
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["Mutant", "damaged", "mutants_of"]

_COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
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
}
_COUNTED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
# Words of a protocol; sentences are for people.
_WORD: Final = re.compile(r"[a-z][a-z_]{2,30}", re.ASCII)
# What these are given is for people, or for type checkers.
_SAYING: Final = frozenset({"cast", "TypeVar", "ParamSpec", "overload"})


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One damage.

    Attributes:
        file: The module, below the repository.
        line: Where it is.
        place: The number of the node in `ast.walk`.
        kind: Which of the damages that this node can take.
        what: The line and what becomes of it, for people.
        function: Whether it is within a function: else it takes effect at the import.
    """

    file: str
    line: int
    place: int
    kind: str
    what: str
    function: bool


def mutants_of(root: Path, file: Path) -> Iterator[Mutant]:
    """Yield the damages that a module can take."""
    text = file.read_text("utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    skipped = _skipped(tree)
    inside = _inside(tree)
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in skipped or not hasattr(node, "lineno"):
            continue
        for kind in _kinds(node):
            what = f"{lines[node.lineno - 1].strip()}   [{kind}: {ast.unparse(node)[:60]}]"
            yield Mutant(str(file.relative_to(root)), node.lineno, place, kind, what, id(node) in inside)


def damaged(source: str, mutant: Mutant) -> ast.Module:
    """Return a module's tree with one damage."""
    tree = ast.parse(source)
    node = next(node for place, node in enumerate(ast.walk(tree)) if place == mutant.place)
    new = _damage(copy.deepcopy(node), mutant.kind)
    ast.copy_location(new, node)

    class Swap(ast.NodeTransformer):
        def visit(self, one: ast.AST) -> ast.AST:
            return new if one is node else self.generic_visit(one)

    Swap().visit(tree)
    return ast.fix_missing_locations(tree)


def _skipped(tree: ast.Module) -> set[int]:
    """Return the nodes that are words for people, types, or `__all__`."""
    found: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
                found |= {id(one) for one in ast.walk(node) if one is not node}
            case ast.Expr(ast.Constant()) | ast.Expr(ast.Yield()):
                found |= {id(one) for one in ast.walk(node)}
            case ast.Expr(ast.Call(func=ast.Attribute(ast.Name("_log")))):
                found |= {id(one) for one in ast.walk(node)}
            case ast.Assign(targets=[ast.Name("__all__" | "__slots__")]):
                found |= {id(one) for one in ast.walk(node)}
            case ast.AnnAssign() | ast.arg():
                found |= {id(one) for one in ast.walk(node.annotation or ast.Pass())}
                if isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Name):
                    if node.annotation.id == "TypeAlias":
                        found |= {id(one) for one in ast.walk(node)}
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for part in (node.returns, *node.decorator_list):
                    found |= {id(one) for one in ast.walk(part or ast.Pass())}
                if node.name in ("__repr__", "__str__"):
                    found |= {id(one) for one in ast.walk(node)}
            case ast.ClassDef():
                found |= {id(one) for part in node.decorator_list for one in ast.walk(part)}
                if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
                    found |= {id(one) for one in ast.walk(node)}
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                found |= {id(one) for one in ast.walk(node)}
            case ast.Call(func=ast.Name(name)) if name in _SAYING:
                found |= {id(one) for one in ast.walk(node)}
            case ast.keyword(arg="hint" | "name" | "description" | "message" | "slots"):
                found |= {id(one) for one in ast.walk(node)}
            case ast.MatchValue() | ast.MatchSingleton():
                # Its constant may not become any expression.
                found |= {id(one) for one in ast.walk(node)}
    return found


def _inside(tree: ast.Module) -> set[int]:
    """Return the nodes within functions."""
    return {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for part in (node.body if isinstance(node.body, list) else [node.body])
        for one in ast.walk(part)
    }


def _kinds(node: ast.AST) -> Iterator[str]:
    """Yield the damages that a node can take."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARED:
            yield "compare"
        case ast.BoolOp():
            yield "bool"
        case ast.UnaryOp(op=ast.Not()):
            yield "not"
        case ast.BinOp(op=operator) if type(operator) in _COUNTED:
            yield "count"
        case ast.Constant(value=bool()):
            yield "flip"
        case ast.Constant(value=int() | float()):
            yield "more"
        case ast.Constant(value=str(text)) if _WORD.fullmatch(text):
            yield "word"
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp):
            yield "turn"
        case ast.Return(value=ast.AST() as value) if not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            yield "nothing"
        case ast.Expr(ast.Call()) | ast.Expr(ast.Await()) | ast.Raise() | ast.Delete() | ast.AugAssign():
            yield "leave out"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "leave out"
        case ast.Break() | ast.Continue():
            yield "leave out"


def _damage(node: ast.AST, kind: str) -> ast.AST:
    """Return the damaged form of a node."""
    match kind, node:
        case "compare", ast.Compare():
            node.ops = [_COMPARED[type(node.ops[0])]()]
            return node
        case "bool", ast.BoolOp():
            node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            return node
        case "not", ast.UnaryOp():
            return node.operand
        case "count", ast.BinOp():
            node.op = _COUNTED[type(node.op)]()
            return node
        case "flip" | "more" | "word", ast.Constant():
            return ast.Constant(_changed(node.value))
        case "turn", ast.If() | ast.While() | ast.IfExp():
            node.test = ast.UnaryOp(ast.Not(), node.test)
            return node
        case "nothing", ast.Return():
            return ast.Return(ast.Constant(None))
        case "leave out", _:
            return ast.Pass()
    raise ValueError(f"{kind} of {ast.dump(node)[:80]}")


def _changed(value: object) -> str | complex:
    """Return another constant of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
    return f"{value!s}_"
