"""Small faults put into Python sources, one at a time: operators, comparisons, constants, dropped
assignments, swapped branches, reset values.

A mutant is a change of the syntax tree, written into the text where its node stands; all other text
stays. What could only be equivalent is not made: texts, names, annotations, docstrings, asserts,
attributes, what is raised, and signals that would only be wider.
"""

import ast
import copy
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

__all__ = ["KINDS", "Mutant", "mutants_of", "sampled"]

KINDS = ("operator", "comparison", "constant", "dropped", "branch", "reset")

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.Pow: ast.Mult,
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}

TEXTS = {"name", "src_loc_at", "attrs", "doc", "kw_only", "frozen", "strict", "copy", "repr"}
"""Keywords that only name or describe, or check what is checked elsewhere."""
SAYING = {"progress", "say", "at", "warn"}
"""Functions that only tell."""
DESCRIBING = {"__repr__", "__str__"}
SHAPES = {"In", "Out", "Signal", "signed", "unsigned"}
"""Calls whose first argument is, or makes, a width."""
TYPES = {"tuple", "list", "dict", "set", "Callable", "Sequence", "Mapping", "type", "Literal"}

Seat = ast.expr | ast.stmt


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of a file.

    Parameters
    ----------
    path
        Of the file, from the root of the repository.
    line
        Where it stands, from 1.
    scope
        Function or class, with those around it; empty: the module.
    kind
        One of `KINDS`.
    start, end
        Bytes of the source that are replaced.
    before, after
        What stands there, and what will.
    context
        The first line of the statement.
    number
        Among mutants that are alike otherwise.
    """

    path: str
    line: int
    scope: str
    kind: str
    start: int
    end: int
    before: str
    after: str
    context: str
    number: int = 0

    def apply(self, source: str) -> str:
        """The mutated file."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()

    @property
    def change(self) -> str:
        """For people, in one line."""
        return f"{brief(self.before)} -> {brief(self.after)}"

    @property
    def name(self) -> str:
        """What it is, wherever in its file the function has moved to."""
        number = f" #{self.number}" if self.number else ""
        return f"{self.path} [{self.scope}] {self.context} :: {self.change}{number}"


def brief(text: str) -> str:
    """In one line, without the parentheses around all of it that a replacement gets."""
    words = " ".join(text.split())
    if words.startswith("(") and words.endswith(")") and _encloses(words):
        words = words[1:-1]
    return words if len(words) <= 90 else f"{words[:60]} .. {words[-25:]}"


def _encloses(text: str) -> bool:
    """Whether the first parenthesis is closed by the last one."""
    depth = 0
    for n, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and n < len(text) - 1:
            return False
    return True


def mutants_of(source: str, path: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    finder = _Finder(source, path)
    finder.visit(finder.tree)
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for mutant in sorted(finder.found, key=lambda m: (m.start, m.end, m.after)):
        alike = mutant.scope, mutant.context, mutant.change
        found.append(Mutant(**{**vars(mutant), "number": seen[alike]}))
        seen[alike] += 1
    return found


def sampled(mutants: Sequence[Mutant], seed: int) -> list[Mutant]:
    """All of them, in an order of which any beginning is a fair sample: at random, each file with
    its share."""
    by_file: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_file.setdefault(mutant.path, []).append(mutant)
    keyed = []
    for path, group in sorted(by_file.items()):
        rng = random.Random(f"{seed} {path}")
        order = rng.sample(group, len(group))
        offset = rng.random()
        keyed += [((n + offset) / len(order), path, n, m) for n, m in enumerate(order)]
    return [mutant for *_, mutant in sorted(keyed, key=lambda entry: entry[:3])]


class _Finder(ast.NodeVisitor):
    """Walks a file, and notes what can be changed."""

    def __init__(self, source: str, path: str) -> None:
        self.path, self.data, self.tree = path, source.encode(), ast.parse(source)
        self.found: list[Mutant] = []
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._scope: list[str] = []
        self._statement: ast.stmt | None = None
        self._bound: list[set[str]] = [set()]
        self._registers = _registers(self.tree)
        self._in_shape = 0

    # Where nodes stand

    def _place(self, node: Seat) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _note(self, kind: str, node: Seat, new: ast.AST | str) -> None:
        start, end = self._place(node)
        text = new if isinstance(new, str) else ast.unparse(new)
        if isinstance(node, ast.expr) and not (text.isalnum() or text == "[]"):
            text = f"({text})"
        before = self.data[start:end].decode()
        context = self._statement or node
        line = self.data[self._starts[context.lineno - 1] :].split(b"\n", 1)[0].decode().strip()
        self.found.append(
            Mutant(
                path=self.path,
                line=node.lineno,
                scope=".".join(self._scope),
                kind=kind,
                start=start,
                end=end,
                before=before,
                after=text,
                context=line,
            )
        )

    # What is not looked at

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
            return
        if isinstance(node, ast.stmt):
            outer, self._statement = self._statement, node
            super().visit(node)
            self._statement = outer
        else:
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in DESCRIBING:
            return
        self._scope.append(node.name)
        self._bound.append({one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)})
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self._body(node.body)
        self._bound.pop()
        self._scope.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        self._bound.append(set())
        self._body(node.body)
        self._bound.pop()
        self._scope.pop()

    def _body(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target)
            self.visit(node.value)

    # Operators

    def visit_BinOp(self, node: ast.BinOp) -> None:
        swap = OPERATORS.get(type(node.op))
        if swap is not None and not _is_type(node):
            self._note("operator", node, ast.BinOp(node.left, swap(), node.right))
        if not _is_type(node):
            self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._note("operator", node, ast.BoolOp(other, node.values))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            self._number(node, -cast(int, node.operand.value))
            return
        self._note("operator", node, node.operand)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for n, operator in enumerate(node.ops):
            for swap in COMPARISONS[type(operator)]:
                ops = [*node.ops[:n], swap(), *node.ops[n + 1 :]]
                self._note("comparison", node, ast.Compare(node.left, ops, node.comparators))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._note("constant", node, str(not node.value))
        elif isinstance(node.value, int):
            self._number(node, node.value)

    def _number(self, node: ast.expr, value: int) -> None:
        if isinstance(value, int):
            if not self._in_shape:  # it would only be wider
                self._note("constant", node, str(value + 1))
            if value:
                self._note("constant", node, str(value - 1))

    # Calls: hardware's branches, assignments and reset values

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if name in SAYING:
            return
        if name == "eq" and isinstance(node.func, ast.Attribute) and len(node.args) == 1:
            self._note("dropped", node, "[]")
        if name in CALLS and isinstance(node.func, ast.Name):
            other = copy.copy(node)
            other.func = ast.Name(CALLS[name])
            self._note("operator", node, other)
        if name == "Mux" and len(node.args) == 3:
            chosen, yes, no = node.args
            self._note("branch", node, ast.Call(node.func, [chosen, no, yes], []))
        if name in ("If", "Elif") and len(node.args) == 1 and not _negatable(node.args[0]):
            zero = ast.Compare(node.args[0], [ast.Eq()], [ast.Constant(0)])
            self._note("branch", node.args[0], zero)
        if name == "isinstance":
            return
        self.visit(node.func)
        for n, argument in enumerate(node.args):
            shape = name in SHAPES and n == 0
            self._in_shape += shape
            if name == "reshape" and ast.unparse(argument) == "-1":
                self._note("constant", argument, "0")  # any number below 0 says what is left
            elif not (name == "cast" and n == 0):
                self.visit(argument)
            self._in_shape -= shape
        for keyword in node.keywords:
            if keyword.arg == "init":
                self._reset(keyword.value)
            elif keyword.arg == "reset_less" and ast.unparse(keyword.value) == "True":
                pass  # what needs no reset may have one
            elif keyword.arg not in TEXTS:
                self.visit(keyword.value)

    def _reset(self, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and isinstance(value.value, int):
            self._note("reset", value, str(int(value.value) ^ 1))
        elif isinstance(value, (ast.Compare, ast.BoolOp)):
            self._note("reset", value, ast.UnaryOp(ast.Not(), value))
        elif isinstance(value, (ast.Name, ast.Attribute, ast.BinOp)):
            self._note("reset", value, ast.BinOp(value, ast.Add(), ast.Constant(1)))

    # Branches

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        if _negatable(node.test):  # else there is a mutant of the test that is the same
            self.generic_visit(node)
            return
        self._note("branch", node, ast.IfExp(node.test, node.orelse, node.body))
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        if not _negatable(test):
            self._note("branch", test, ast.UnaryOp(ast.Not(), test))

    # Assignments

    def visit_Assign(self, node: ast.Assign) -> None:
        (target, *more) = node.targets
        if isinstance(target, ast.Name) and target.id == "__all__":
            return
        name = target.id if isinstance(target, ast.Name) and not more else ""
        again = name in self._bound[-1] and bool(self._scope)
        if again or (isinstance(target, ast.Subscript) and not more):
            self._note("dropped", node, "pass")
        self._without_reset(node)
        for one in node.targets:
            if isinstance(one, ast.Subscript):
                self.visit(one.slice)
        self.visit(node.value)
        for one in node.targets:
            self._bind(one)

    def _without_reset(self, node: ast.Assign) -> None:
        """Registers that start at 0 start at 1."""
        pairs = [(target, node.value) for target in node.targets]
        (target, *_) = node.targets
        left, right = (
            one.elts if isinstance(one, ast.Tuple) else [] for one in (target, node.value)
        )
        if left and len(left) == len(right):
            pairs = [*zip(left, right, strict=True)]
        for one, value in pairs:
            if not isinstance(value, ast.Call) or _called(value) != "Signal":
                continue
            given = {keyword.arg for keyword in value.keywords}
            if given & {"init", "reset_less", None} or _last(one) not in self._registers:
                continue
            reset = ast.keyword("init", ast.Constant(1))
            self._note("reset", value, ast.Call(value.func, value.args, [*value.keywords, reset]))

    def _bind(self, target: ast.expr) -> None:
        self._bound[-1] |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}

    def visit_For(self, node: ast.For) -> None:
        self._bind(node.target)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if _is_domain(node.target):
            inside = [n for n in ast.walk(node.value) if isinstance(n, ast.Call)]
            if not any(_called(call) == "eq" for call in inside):
                self._note("dropped", node, "pass")
        else:
            self._note("dropped", node, "pass")
            swap = OPERATORS.get(type(node.op))
            if swap is not None:
                self._note("operator", node, ast.AugAssign(node.target, swap(), node.value))
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value
        if isinstance(call, ast.Constant):
            return  # a docstring
        if isinstance(call, ast.Call) and _called(call) not in {*SAYING, "__init__"}:
            self._note("dropped", node, "pass")
        self.generic_visit(node)


def _called(node: ast.Call) -> str:
    return _last(node.func)


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_domain(node: ast.expr) -> bool:
    """`m.d.sync`, `m.d[domain]`."""
    inner = node.value if isinstance(node, (ast.Attribute, ast.Subscript)) else None
    return isinstance(inner, ast.Attribute) and inner.attr == "d"


def _negatable(test: ast.expr) -> bool:
    """Whether another mutant of this test is its negation already."""
    if isinstance(test, ast.Compare):
        return len(test.ops) == 1
    if isinstance(test, ast.Constant):
        return True
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, (ast.Not, ast.Invert))


def _is_type(node: ast.BinOp) -> bool:
    """A union of types."""
    if not isinstance(node.op, ast.BitOr):
        return False
    for side in (node.left, node.right):
        if isinstance(side, ast.Constant) and side.value is None:
            return True
        if isinstance(side, ast.Subscript) and _last(side.value) in TYPES:
            return True
        if isinstance(side, ast.Name) and side.id in {*TYPES, "int", "str", "bool", "float"}:
            return True
    return False


def _registers(tree: ast.AST) -> set[str]:
    """Names of what is assigned in a clock domain, wherever in the file."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and _is_domain(node.target):
            if _last(node.target) == "comb":
                continue
            for call in ast.walk(node.value):
                if isinstance(call, ast.Call) and _called(call) == "eq":
                    assert isinstance(call.func, ast.Attribute)
                    names.add(_last(call.func.value))
    return names - {""}


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
