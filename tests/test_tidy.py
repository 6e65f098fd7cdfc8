# SPDX-License-Identifier: Apache-2.0
"""The house's rules, as checks. A check only tightens: the tables of known exceptions may shrink and never grow.

Each check is a function from text to findings, so that it can be shown to fail (`test_each_check_can_fail`).
"""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "holdfirst"
NOUNS = ("availability", "reservation", "payment", "calendar")
SPDX = "# SPDX-License-Identifier: Apache-2.0"

FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 400
PARAMETERS_MAX = 6

# What is too large today, with its size today. Smaller: write the smaller number here. Small enough: take it out.
LONG_FUNCTIONS: dict[str, int] = {}
LONG_FILES: dict[str, int] = {}
MANY_PARAMETERS = {
    "availability/slots.py find_slots": 7,
    "server.py _serve_by_children": 7,
    "store/payments.py find": 7,
    "store/reservations.py find": 10,
}

BANNED_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        util helper manager handler handle process data info misc common base service
        new old do evt obj tmp
        """,
    )
)
# Names that somebody else forces on us, and who.
FORCED_NAMES = {
    "data_dir": "`--data-dir` and HOLDFIRST_DATA_DIR are what operators type",
    "DataDir": "the same, as a type of the command line",
    "web/answers.py data": "the member of a list's answer, as the API promises it",
    "demo_site.py do_GET": "a method that http.server calls",
    "server.py handle_exit": "a method of uvicorn's that is overridden",
}

# Who hands statements on that are said elsewhere: the transaction's own methods, and the files of the migrations.
HANDED_ON = {"store/database.py": 4, "store/migrations.py": 1}

SQL_PLACES = ("store/", "providers/sandbox/books.py")
PRINTING = ("cli.py", "demo.py", "server.py")


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def in_source(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def findings_of(check: Callable[[str], list[str]], paths: list[Path]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {found}" for path in paths for found in check(path.read_text())]


# The checks


def missing_licence(text: str) -> list[str]:
    return [] if text.split("\n", 1)[0] == SPDX else [f"line 1 is not {SPDX}"]


def words_of(name: str) -> set[str]:
    """`EmbeddedPostgres`, `data_dirs` → {embedded, postgres}, {data, dirs, dir}."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    lower = {word.lower() for word in words}
    return lower | {word.removesuffix("s") for word in lower}


def names_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a file gives: functions, classes, arguments, variables, attributes of its own objects."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                yield node.attr, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno
            case _:
                pass


def banned_names(text: str) -> list[str]:
    return [f"{line}: {name}" for name, line in names_of(ast.parse(text)) if words_of(name) & BANNED_WORDS]


def functions_of(text: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """With their qualified names, as `Class.method`."""

    def walk(node: ast.AST, within: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{within}{child.name}", child
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from walk(child, f"{within}{child.name}." if inner else within)

    yield from walk(ast.parse(text), "")


def function_lengths(text: str) -> dict[str, int]:
    return {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions_of(text)}


def parameter_counts(text: str) -> dict[str, int]:
    counts = {}
    for name, node in functions_of(text):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        counts[name] = len([one for one in given if one.arg not in ("self", "cls")])
    return counts


def over(sizes: dict[str, int], limit: int, known: dict[str, int]) -> list[str]:
    """What is above the limit and not as the table has it; and what stands in the table and should not."""
    grown = [
        f"{name} is {size}, at most {max(limit, known.get(name, 0))}"
        for name, size in sizes.items()
        if size > max(limit, known.get(name, 0))
    ]
    shrunk = [
        f"{name} is {sizes.get(name, 0)}: "
        + (f"write it for {was}" if sizes.get(name, 0) > limit else "take it out")
        for name, was in known.items()
        if sizes.get(name, 0) < was
    ]
    return grown + shrunk


IMPURE_MODULES = frozenset({"os", "time", "random", "secrets", "uuid"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})


def impure(text: str) -> list[str]:
    """No awaiting, no clock, no randomness, no environment."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Await() | ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith():
                found.append(f"{node.lineno}: {type(node).__name__}")
            case ast.Import(names=names):
                found += [
                    f"{node.lineno}: import {one.name}"
                    for one in names
                    if one.name.split(".")[0] in IMPURE_MODULES
                ]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in IMPURE_MODULES:
                found.append(f"{node.lineno}: from {module} import")
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in CLOCK_CALLS:
                found.append(f"{node.lineno}: {attr}()")
            case _:
                pass
    return found


def impure_outside_protocols(text: str) -> list[str]:
    """The same, but a method of a Protocol may be `async` as long as it has no body."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(
            isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases
        ):
            node.body = [one for one in node.body if not _says_only(one)] or [ast.Pass()]
    return impure(ast.unparse(tree))


def _says_only(node: ast.stmt) -> bool:
    """An `async def` of a docstring and `...`."""
    return isinstance(node, ast.AsyncFunctionDef) and all(
        isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in node.body
    )


SQL = re.compile(
    r"\bselect\s[^;]*\sfrom\s|^\s*select\s|\binsert\s+into\s|\bupdate\s+\S+\s+set\s|\bdelete\s+from\s"
    r"|\b(create|alter|drop)\s+(unique\s+)?(table|index|schema|function|extension)\b|^\s*(listen|notify)\s\w",
    re.IGNORECASE,
)


def texts_of(tree: ast.AST) -> Iterator[tuple[ast.Constant | ast.JoinedStr, str]]:
    """Every string that is not a docstring; of an f-string, its fixed parts."""
    documentation = {
        id(one.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for one in node.body
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            fixed = [str(part.value) if isinstance(part, ast.Constant) else "?" for part in node.values]
            yield node, "".join(fixed)
        elif isinstance(node, ast.Constant) and id(node) not in documentation | inside:
            yield node, node.value if isinstance(node.value, str) else ""


def sql_in(text: str) -> list[str]:
    return [
        f"{node.lineno}: {sql.strip()[:50]}" for node, sql in texts_of(ast.parse(text)) if SQL.search(sql)
    ]


CLOCKS = re.compile(
    r"\bnow\s*\(\s*\)|\b(clock|statement|transaction)_timestamp\b|\bcurrent_(timestamp|date|time)\b|\blocaltime(stamp)?\b",
    re.IGNORECASE,
)
THE_CLOCK = re.compile(r"create or replace function the_clock\(\).*?as\s+\$\$.*?\$\$;", re.DOTALL)


def other_clocks_in_sql(text: str) -> list[str]:
    """There is one clock, `the_clock`, and its definition is the one place that asks PostgreSQL's own."""
    bare = re.sub(r"--[^\n]*", "", THE_CLOCK.sub("", text))
    return [found[0] for found in CLOCKS.finditer(bare)]


def other_clocks_in_python(text: str) -> list[str]:
    return [
        f"{node.lineno}: {found[0]}"
        for node, sql in texts_of(ast.parse(text))
        for found in CLOCKS.finditer(re.sub(r"--[^\n]*", "", sql))
    ]


def constants_of(tree: ast.Module) -> set[str]:
    """Names that only ever stand for what this file says: its constants, and what is made of nothing else."""
    bindings: list[tuple[list[ast.Name], ast.expr]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            bindings.append(([name for target in node.targets for name in _stored(target)], node.value))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            bindings.append((_stored(node.target), node.value))
        elif isinstance(node, ast.For | ast.comprehension):
            bindings.append((_stored(node.target), node.iter))
    understood = {id(name) for names, _ in bindings for name in names}
    only_typed = {
        id(node.target) for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and not node.value
    }
    otherwise = {name.id for name in _stored(tree) if id(name) not in understood | only_typed}
    otherwise |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    known: set[str] = set()
    while True:
        varying = otherwise | {
            name.id for names, value in bindings if not _is_constant(value, known) for name in names
        }
        made = {name.id for names, _ in bindings for name in names} - varying
        if made <= known:
            return known
        known |= made


def _stored(node: ast.AST) -> list[ast.Name]:
    return [one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]


def _is_constant(node: ast.AST, known: set[str]) -> bool:
    """Made of known names, and of methods of theirs; a call of anything else is not."""
    comprehensions = [one for one in ast.walk(node) if isinstance(one, ast.comprehension)]
    bound = {name.id for one in comprehensions for name in _stored(one.target)}
    loaded = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
    return loaded <= known | bound


def built_sql(text: str) -> list[str]:
    """SQL put together from anything but constants of the same file."""
    tree = ast.parse(text)
    known = constants_of(tree)
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr():
                fixed = "".join(
                    str(one.value) if isinstance(one, ast.Constant) else "?" for one in node.values
                )
                parts = [one.value for one in node.values if isinstance(one, ast.FormattedValue)]
                wrong = SQL.search(fixed) and not all(_is_constant(one, known) for one in parts)
            case ast.BinOp(op=ast.Add() | ast.Mod(), left=left, right=right):
                wrong = any(map(_looks_like_sql, (left, right))) and not _is_constant(node, known)
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(fixed)), attr="format" | "join")):
                wrong = SQL.search(fixed) and not _is_constant(node, known)
            case _:
                continue
        if wrong:
            found.append(f"{node.lineno}: {ast.unparse(node)[:60]}")
    return found


ASKING = frozenset({"row", "rows", "value", "execute", "executemany", "fetch", "fetchrow", "fetchval"})


def varying_statements(text: str) -> list[str]:
    """Statements that are sent and are not, as a whole, constants of the same file."""
    tree = ast.parse(text)
    known = constants_of(tree)
    return [
        f"{node.lineno}: {ast.unparse(node.args[0])[:60]}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ASKING
        and node.args
        and not _is_constant(node.args[0], known)
    ]


def _looks_like_sql(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(SQL.search(node.value))


def prints(text: str) -> list[str]:
    return [
        f"{node.lineno}: print"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


LEFT_FOR_LATER = re.compile(r"\b(TODO|FIXME|XXX)\b")
BARE = re.compile(r"type:\s*ignore(?!\[)|\bnoqa(?!:\s*[A-Z]+[0-9]+)")


def comments_of(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def left_for_later(text: str) -> list[str]:
    return [f"{line}: {comment}" for line, comment in comments_of(text) if LEFT_FOR_LATER.search(comment)]


def bare_exemptions(text: str) -> list[str]:
    return [f"{line}: {comment}" for line, comment in comments_of(text) if BARE.search(comment)]


def unlayered(pyproject: str, modules: set[str]) -> list[str]:
    """Modules that the import rule forgets, and layers that are nowhere."""
    contracts = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    named = {name.strip().removeprefix("holdfirst.") for layer in layers for name in layer.split("|")}
    return [f"{name} is in no layer" for name in sorted(modules - named)] + [
        f"layer {name} does not exist" for name in sorted(named - modules)
    ]


# The house


def test_every_file_says_its_licence() -> None:
    assert findings_of(missing_licence, python_files("src", "tests", "bench")) == []


def test_no_name_is_made_of_words_that_say_nothing() -> None:
    found: set[str] = set()
    wrong = []
    for path in python_files("src"):
        for finding in [*banned_names(path.read_text()), *_banned_in_path(path)]:
            name = finding.split(": ")[1]
            forced = FORCED_NAMES.keys() & {name, f"{in_source(path)} {name}"}
            found |= forced
            if not forced:
                wrong.append(f"{in_source(path)}:{finding}")
    assert wrong == []
    assert set(FORCED_NAMES) - found == set(), "no longer needed: take it out of the table"


def _banned_in_path(path: Path) -> list[str]:
    return [
        f"0: {part}"
        for part in (*path.relative_to(SOURCE).parent.parts, path.stem)
        if words_of(part) & BANNED_WORDS
    ]


def test_functions_are_short() -> None:
    assert over(_sizes(function_lengths), FUNCTION_LINES_MAX, LONG_FUNCTIONS) == []


def test_files_are_short() -> None:
    sizes = {in_source(path): len(path.read_text().splitlines()) for path in python_files("src")}
    assert over(sizes, FILE_LINES_MAX, LONG_FILES) == []


def test_parameters_are_few() -> None:
    assert over(_sizes(parameter_counts), PARAMETERS_MAX, MANY_PARAMETERS) == []


def _sizes(measure: Callable[[str], dict[str, int]]) -> dict[str, int]:
    return {
        f"{in_source(path)} {name}": size
        for path in python_files("src")
        for name, size in measure(path.read_text()).items()
    }


def test_the_four_nouns_are_pure() -> None:
    nouns = [path for path in python_files("src") if in_source(path).split("/")[0] in NOUNS]
    assert nouns
    protocols = [path for path in nouns if path.name == "provider.py"]
    assert findings_of(impure, [path for path in nouns if path not in protocols]) == []
    assert findings_of(impure_outside_protocols, protocols) == []


def test_sql_lives_in_the_store() -> None:
    elsewhere = [path for path in python_files("src") if not in_source(path).startswith(SQL_PLACES)]
    assert findings_of(sql_in, elsewhere) == []


def test_there_is_one_clock() -> None:
    assert findings_of(other_clocks_in_sql, sorted(SOURCE.rglob("*.sql"))) == []
    # The ledger of migrations is older than any function of ours, and nothing is decided by when it was written.
    ledger = SOURCE / "store" / "migrations.py"
    store = [path for path in _with_sql() if path != ledger]
    assert findings_of(other_clocks_in_python, store) == []
    assert len(other_clocks_in_python(ledger.read_text())) == 2
    assert len(THE_CLOCK.findall((SOURCE / "store" / "functions.sql").read_text())) == 1


def test_sql_is_built_from_constants_alone() -> None:
    assert findings_of(built_sql, python_files("src")) == []


def test_statements_are_constants() -> None:
    varying = {in_source(path): len(varying_statements(path.read_text())) for path in _with_sql()}
    assert over(varying, 0, HANDED_ON) == []


def _with_sql() -> list[Path]:
    return [path for path in python_files("src") if in_source(path).startswith(SQL_PLACES)]


def test_only_what_talks_to_a_terminal_prints() -> None:
    assert (
        findings_of(prints, [path for path in python_files("src") if in_source(path) not in PRINTING]) == []
    )


def test_nothing_is_left_for_later() -> None:
    assert findings_of(left_for_later, python_files("src", "tests", "bench")) == []


def test_exemptions_say_from_what() -> None:
    assert findings_of(bare_exemptions, python_files("src", "tests", "bench")) == []


def test_the_import_rule_knows_every_module() -> None:
    modules = {
        path.stem
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())
    }
    assert unlayered((ROOT / "pyproject.toml").read_text(), modules - {"__init__", "__main__"}) == []


# The checks can fail


PLANTED: list[tuple[Callable[[str], list[str]], str]] = [
    (missing_licence, '"""No licence."""\n'),
    (banned_names, "def load_data(): ...\n"),
    (banned_names, "class HostManager: ...\n"),
    (banned_names, "class Host:\n    def __init__(self, start):\n        self.base_url = start\n"),
    (banned_names, "from holdfirst import ids as helpers\n"),
    (impure, "import random\n"),
    (impure, "from os import environ\n"),
    (impure, "import datetime\nnow = datetime.datetime.now()\n"),
    (impure, "async def fetch(): ...\n"),
    (impure_outside_protocols, "async def fetch(): ...\n"),
    (
        impure_outside_protocols,
        "class Any(Protocol):\n    async def fetch(self):\n        return await ask()\n",
    ),
    (sql_in, 'rows = "select id from host"\n'),
    (sql_in, 'row = f"update host set name = {name}"\n'),
    (sql_in, 'made = """\n    insert into host values ($1)\n"""\n'),
    (other_clocks_in_sql, "select now();"),
    (other_clocks_in_sql, "create table a (at timestamptz default CURRENT_TIMESTAMP);"),
    (other_clocks_in_sql, THE_CLOCK.pattern + "\nselect clock_timestamp();"),
    (other_clocks_in_python, 'await tx.value("select clock_timestamp()")\n'),
    (built_sql, "def find(name):\n    return f\"select id from host where name = '{name}'\"\n"),
    (built_sql, 'def find(name):\n    return "select id from host where name = " + name\n'),
    (built_sql, 'def find(name):\n    return "select id from %s" % name\n'),
    (built_sql, 'def find(name):\n    return "select id from {}".format(name)\n'),
    (built_sql, 'def find(ORDER):\n    sql = ORDER\n    return f"select id from host order by {sql}"\n'),
    (built_sql, 'LOCK = ""\ndef find(rows):\n    for LOCK in rows:\n        f"select id from host {LOCK}"\n'),
    (built_sql, 'PARTS = ["a"]\nf"select {read(PARTS)} from host"\n'),
    (varying_statements, "async def find(tx, order):\n    await tx.rows('select id from host ' + order)\n"),
    (varying_statements, "async def find(tx, sql):\n    sql += ' limit 1'\n    await tx.row(sql)\n"),
    (varying_statements, 'async def find(tx):\n    await tx.row(made("a"))\n'),
    (prints, 'print("here")\n'),
    (left_for_later, "x = 1  # TO" + "DO: two\n"),
    (bare_exemptions, "x = f()  # no" + "qa\n"),
    (bare_exemptions, "x = f()  # type: ig" + "nore\n"),
]
ALLOWED: list[tuple[Callable[[str], list[str]], str]] = [
    (banned_names, "database = processing = metadata = renewed = 1\n"),
    (impure, "import datetime\ndef f(now: datetime.datetime): return now\n"),
    (
        impure_outside_protocols,
        'class A(Protocol):\n    async def fetch(self):\n        """Ask."""\n        ...\n',
    ),
    (sql_in, '"""Documentation may say: select id from host."""\nx = "update your settings"\n'),
    (other_clocks_in_sql, "select the_clock(); -- now() is worse\n"),
    (built_sql, 'LOCK = "for update"\nf"select id from host {LOCK}"\n'),
    (built_sql, 'ALL = {"a": "b"}\nfor name, _ in ALL.items():\n    f"select {name} from host"\n'),
    (built_sql, 'x = f"hello {name}"\n'),
    (varying_statements, 'A = "id"\nasync def find(tx, x):\n    await tx.row(f"select {A} from host", x)\n'),
    (bare_exemptions, "x = f()  # noqa: S101  # why\ny = g()  # type: ignore[arg-type]\n"),
]


@pytest.mark.parametrize(("check", "text"), PLANTED)
def test_each_check_can_fail(check: Callable[[str], list[str]], text: str) -> None:
    assert check(text)


@pytest.mark.parametrize(("check", "text"), ALLOWED)
def test_no_check_finds_what_is_not_there(check: Callable[[str], list[str]], text: str) -> None:
    assert check(text) == []


def test_a_table_of_sizes_can_only_shrink() -> None:
    assert over({"f": 60}, 50, {}) == ["f is 60, at most 50"]
    assert over({"f": 61}, 50, {"f": 60}) == ["f is 61, at most 60"]
    assert over({"f": 55}, 50, {"f": 60}) == ["f is 55: write it for 60"]
    assert over({"f": 50}, 50, {"f": 60}) == ["f is 50: take it out"]
    assert over({}, 50, {"f": 60}) == ["f is 0: take it out"]
    assert over({"f": 60, "g": 50}, 50, {"f": 60}) == []


def test_sizes_are_measured() -> None:
    assert function_lengths("class A:\n    def f(self):\n        x = 1\n        return x\n") == {"A.f": 3}
    assert parameter_counts("class A:\n    def f(self, a, /, b, *, c): ...\n") == {"A.f": 3}


def test_a_module_outside_the_layers_is_found() -> None:
    rule = '[[tool.importlinter.contracts]]\ntype = "layers"\nlayers = ["holdfirst.a | holdfirst.b"]\n'
    assert unlayered(rule, {"a", "c"}) == ["c is in no layer", "layer b does not exist"]
