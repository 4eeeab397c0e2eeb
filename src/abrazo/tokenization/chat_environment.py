"""Runs the Jinja templates that come with models, within bounds.

A template is a program of whoever made the model. Here it sees plain data and a list of harmless
filters, in jinja2's immutable sandbox, and everything it makes is counted: rounds of loops and
calls of macros, characters and entries made, the length of its output, and time. A template that
goes over a bound ends in an error.
"""

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEMPLATE = 256 * 2**10
MAX_OUTPUT = 2**20
"""Characters that a template may write."""
MAX_SECONDS = 1.0
MAX_ROUNDS = 200_000
MAX_RANGE = 10_000
MAX_MADE = 32 * 2**20
"""Characters and entries that a template may make on its way."""
_ENTRY = 16
"""What an entry of a list or mapping counts for, in characters."""
_MAX_WIDTH = 10_000
_MAX_INDENT = 16
_MAX_BITS = 4096

_FILTERS = (
    *("abs", "batch", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first"),
    *("float", "groupby", "indent", "int", "items", "join", "last", "length", "list", "lower"),
    *("map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select"),
    *("selectattr", "slice", "sort", "string", "sum", "title", "trim", "truncate", "unique"),
    *("upper", "urlencode", "wordcount"),
)
_STRING_METHODS = frozenset(
    (
        *("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha"),
        *("isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isspace"),
        *("istitle", "isupper", "join", "lower", "lstrip", "partition", "removeprefix"),
        *("removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "swapcase", "title", "upper"),
    )
)


class TooMuch(Exception):
    """A template has gone over one of its bounds."""


class Refused(Exception):
    """A template says, by `raise_exception`, that it cannot take these messages."""


class _Meter:
    """What one rendering has used so far."""

    def __init__(self) -> None:
        self.ends = time.monotonic() + MAX_SECONDS
        self.now = datetime.now()
        self.rounds = 0
        self.made = 0
        self.blocks: list[str] = []
        self.generated: list[tuple[int, int]] = []

    def tick(self) -> str:
        """Count a round of a loop or a call."""
        self.rounds += 1
        if self.rounds > MAX_ROUNDS:
            raise TooMuch(f"it goes over {MAX_ROUNDS} rounds of its loops")
        if time.monotonic() > self.ends:
            raise TooMuch(f"it takes over {MAX_SECONDS:g} s")
        return ""

    def charge(self, size: int) -> None:
        """Count what is made."""
        self.made += size
        if self.made > MAX_MADE:
            raise TooMuch(f"it makes over {MAX_MADE} characters")
        if time.monotonic() > self.ends:
            raise TooMuch(f"it takes over {MAX_SECONDS:g} s")


_METER: ContextVar[_Meter | None] = ContextVar("chat_template_meter", default=None)


def _meter() -> _Meter:
    meter = _METER.get()
    assert meter is not None  # templates run within `rendered` alone
    return meter


def _charged(value: Any) -> Any:
    """Count a value that was made, in full as it would be written."""
    _meter().charge(_written_size(value))
    return value


def _written_size(value: Any) -> int:
    """Return how many characters a value has when written, or more than may be made."""
    size, waiting = 0, [value]
    while waiting and size <= MAX_MADE:
        one = waiting.pop()
        size += _ENTRY
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, int):
            size += one.bit_length() // 3
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple)):
            waiting += one
    return size


def _check_arguments(value: Any, arguments: Sequence[Any]) -> None:
    """Refuse widths and repeats that would make much of little."""
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > _MAX_WIDTH:
            raise TooMuch(f"it passes {argument} where at most {_MAX_WIDTH} may be")
    size = _written_size(value)
    factors = (one if isinstance(one, int) else _written_size(one) for one in arguments)
    factor = max(factors, default=1)
    if size * factor > MAX_MADE and size > 1000 and factor > 1000:
        raise TooMuch(f"it makes over {MAX_MADE} characters")


def _counted_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    takes_context = hasattr(function, "jinja_pass_arg")

    @functools.wraps(function)
    def counted(*args: Any, **options: Any) -> Any:
        given = args[1:] if takes_context else args
        _meter().tick()
        if given:
            _check_arguments(given[0], [*given[1:], *options.values()])
        return _charged(function(*args, **options))

    return counted


class _Generation(Extension):
    """The tag `generation`, with which templates mark what the assistant says."""

    tags = {"generation"}  # noqa: RUF012 - the interface of jinja2

    def parse(self, parser: Any) -> nodes.Node:
        """Turn the tag into a call around its body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        meter, text = _meter(), caller()
        start = sum(map(len, meter.blocks))
        meter.generated.append((start, start + len(text)))
        return text


class _Counting(jinja2.visitor.NodeTransformer):
    """Puts a tick into each loop and macro, and counts what `~` joins."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        node = cast(nodes.For, self.generic_visit(node))
        node.body.insert(0, _call("tick", node.lineno))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        node = cast(nodes.Macro, self.generic_visit(node))
        node.body.insert(0, _call("tick", node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        node = cast(nodes.Concat, self.generic_visit(node))
        made = nodes.Call(nodes.EnvironmentAttribute("join_values"), node.nodes, [], None, None)
        return made.set_lineno(node.lineno)


def _call(name: str, line: int) -> nodes.Node:
    call = nodes.Call(nodes.EnvironmentAttribute(name), [], [], None, None)
    return nodes.ExprStmt(call).set_lineno(line)


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox for templates of conversations."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=self._finalize,
            extensions=[_Generation, loopcontrols],
        )
        self.filters = {name: _counted_filter(self.filters[name]) for name in _FILTERS}
        self.filters["tojson"] = _to_json
        self.globals = {
            "range": _range,
            "namespace": _Namespace,
            "dict": dict,
            "raise_exception": _raise_exception,
            "strftime_now": lambda form: _charged(_meter().now.strftime(str(form)[:100])),
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return cast(nodes.Template, _Counting().visit(super()._parse(source, name, filename)))

    def _finalize(self, value: Any) -> Any:
        return _charged(value)

    def tick(self) -> str:
        """Count a round."""
        return _meter().tick()

    def join_values(self, *values: Any) -> str:
        """Do what `~` does."""
        return "".join(str(_charged(value)) for value in values)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow methods of texts that make no more than they are given."""
        if isinstance(obj, str) and attr not in _STRING_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Leave `format` to `is_safe_attribute`: its widths have no bound."""

    def call(__self, __context: Any, __obj: Any, *args: Any, **options: Any) -> Any:
        """Call a function of the template, and count what it makes."""
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            if getattr(__obj, "__name__", "") == "join" and args:
                args = (list(args[0]),)
            _check_arguments(owner, args)
        return _charged(super().call(__context, __obj, *args, **options))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Do arithmetic, within bounds."""
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            is_power = operator == "**" and all(
                isinstance(side, (int, float)) and abs(side) <= 64 for side in (left, right)
            )
            if not is_power:
                raise jinja2.exceptions.SecurityError(f"a template may not do {operator!r} here")
        if operator == "*":
            times = [side for side in (left, right) if isinstance(side, int)]
            texts = [side for side in (left, right) if isinstance(side, (str, list, tuple))]
            if texts and times and _written_size(texts[0]) * abs(times[0]) > MAX_OUTPUT:
                raise TooMuch(f"it makes over {MAX_OUTPUT} characters")
        made = _charged(super().call_binop(context, operator, left, right))
        if isinstance(made, int) and made.bit_length() > _MAX_BITS:
            raise TooMuch(f"it counts over {_MAX_BITS} bits")
        return made


class _Namespace(jinja2.utils.Namespace):
    """Jinja's namespace, without the names that Python keeps for itself."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a template may not set `{name}`")
        super().__setitem__(name, value)


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TooMuch(f"it asks for a range of {len(numbers)} numbers, over {MAX_RANGE}")
    return numbers


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as models were trained on it: letters and signs as they are."""
    _charged(value)
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= _MAX_INDENT):
        raise TooMuch(f"it indents JSON by {indent!r:.20}, over {_MAX_INDENT}")
    made = json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return cast(str, _charged(made))


def _raise_exception(message: object = "") -> NoReturn:
    raise Refused(str(message)[:500])


@contextmanager
def metered() -> Iterator[_Meter]:
    """Count from here on; needed around all that a template does."""
    meter = _Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


@functools.lru_cache(maxsize=32)
def compiled(source: str) -> jinja2.Template:
    """Return a template ready to run; jinja2's errors say what is wrong with it."""
    return ChatEnvironment().from_string(source)


def run(template: jinja2.Template, values: Mapping[str, Any], meter: _Meter) -> str:
    """Return what a template writes; `meter.generated` has what it marks as the assistant's."""
    size = 0
    for block in template.generate(**values):
        size += len(block)
        if size > MAX_OUTPUT:
            raise TooMuch(f"it writes over {MAX_OUTPUT} characters")
        meter.blocks.append(block)
    return "".join(meter.blocks)
