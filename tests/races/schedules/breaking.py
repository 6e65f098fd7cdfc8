# SPDX-License-Identifier: Apache-2.0
"""Taking one guard out of production's code, as a hand would: a text in a file, replaced, until the test is over.

In functions.sql the database gets the broken build; in Python the one function that holds the text gets the code that
the broken file compiles to, wherever it was imported.
"""

import ast
import importlib
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

import holdfirst
from races.schedules.bench import Bench
from races.schedules.builds import PRODUCTION, laboratory

SOURCE = Path(holdfirst.__file__).parent


@dataclass(frozen=True)
class Break:
    """`file` under src/holdfirst; `constraint:table` drops the constraint named `guard`."""

    file: str
    guard: str
    by: str = ""


@asynccontextmanager
async def broken(bench: Bench, breaks: tuple[Break, ...]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        text = PRODUCTION
        for one in breaks:
            if one.file == "store/functions.sql":
                text = replaced(text, one)
            elif one.file.startswith("constraint:"):
                await stack.enter_async_context(_without_constraint(bench, one))
        for file in sorted({one.file for one in breaks if one.file.endswith(".py")}):
            stack.enter_context(_broken_functions(file, [one for one in breaks if one.file == file]))
        if text != PRODUCTION:
            await bench.control.execute(laboratory(text))
            stack.push_async_callback(bench.control.execute, laboratory(PRODUCTION))
        # What became of rows with the guard in place says nothing about what becomes of them now.
        bench.rested.clear()
        stack.callback(bench.rested.clear)
        yield


def replaced(text: str, one: Break) -> str:
    assert text.count(one.guard) == 1, (
        f"{one.file}: the guard is there {text.count(one.guard)} times: {one.guard}"
    )
    return text.replace(one.guard, one.by)


@asynccontextmanager
async def _without_constraint(bench: Bench, one: Break) -> AsyncIterator[None]:
    table = one.file.partition(":")[2]
    text = await bench.control.fetchval(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = $1", one.guard
    )
    index = None if text else await bench.control.fetchval(f"select pg_get_indexdef('{one.guard}'::regclass)")
    if text:
        await bench.control.execute(f"alter table {table} drop constraint {one.guard}")
    else:
        await bench.control.execute(f"drop index {one.guard}")
    try:
        yield
    finally:
        await bench.control.execute("select lab.restore()")
        await bench.control.execute(index or f"alter table {table} add constraint {one.guard} {text}")


@contextmanager
def _broken_functions(file: str, breaks: list[Break]) -> Iterator[None]:
    source = text = (SOURCE / file).read_text()
    for one in breaks:
        text = replaced(text, one)
    compiled = compile(text, file, "exec")
    codes: dict[str, CodeType] = {}
    for name in {function_around(source, one.guard) for one in breaks}:
        codes[name] = _live(file, name).__code__
        _live(file, name).__code__ = code_of(compiled, name)
    try:
        yield
    finally:
        for name, code in codes.items():
            _live(file, name).__code__ = code


def _live(file: str, name: str) -> FunctionType:
    found = importlib.import_module("holdfirst." + file.removesuffix(".py").replace("/", "."))
    for part in name.split("."):
        found = getattr(found, part)
    function = inspect.unwrap(found)  # type: ignore[arg-type]
    assert isinstance(function, FunctionType), name
    return function


def function_around(source: str, guard: str) -> str:
    """The qualified name of the outermost function that holds this text."""
    assert source.count(guard) == 1, f"the guard is there {source.count(guard)} times: {guard}"
    line = source[: source.index(guard)].count("\n") + 1
    found = ""

    def look(node: ast.AST, path: str) -> None:
        nonlocal found
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if child.lineno <= line <= (child.end_lineno or 0):
                name = f"{path}.{child.name}".lstrip(".")
                if isinstance(child, ast.ClassDef):
                    look(child, name)
                else:
                    found = name

    look(ast.parse(source), "")
    assert found, f"no function holds {guard}"
    return found


def code_of(code: CodeType, name: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == name:
                return constant
            if name.startswith(constant.co_qualname + "."):
                return code_of(constant, name)
    raise AssertionError(name)
