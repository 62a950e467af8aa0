"""Chat templates run as what they are: programs from strangers.

Jinja's immutable sandbox stops code, not cost: nested loops hang, ``'a' * 10**9`` takes a
gigabyte. So a template runs in one of two ways, and which one is decided once, from its source.

*Bounded* templates run in process. :func:`is_bounded` accepts only what LFM2's templates are
made of (if, for, set, string constants, +, a few filters and methods), at most 600 nodes, and
loops over ``messages`` or ``tools`` and parts of them only. While they run, a :class:`Meter`
counts: each step of a loop looks at the clock, and everything that makes a string or a list (+,
tojson, trim, split, ...) or prints one pays from one allowance, for copies too: a template could
keep a hundred of them. No other accepted operation makes anything. What is accepted therefore
ends, in bounded time and memory, whatever the messages are. No list of known templates is
needed, and none could be complete.

Every other template runs in a child process (:func:`main`, started by
:mod:`lfm2chat.chat.render`) with limits on memory and CPU time, which is slower (a tenth of a
second a prompt) but can be killed. It reads one JSON request and writes one JSON answer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from typing import Any, Final, SupportsIndex, overload

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context

MAX_OUTPUT_CHARS: Final = 4 * 2**20
TIME_LIMIT_S: Final = 2.0
MEMORY_LIMIT_BYTES: Final = 512 * 2**20
_MAX_MADE_CHARS: Final = 32 * 2**20
_MAX_NODES: Final = 600
_METER: Final = "_meter"
_ITEM_CHARS: Final = 16  # what an item of a list takes beside its text, in characters

_LOOPED: Final = frozenset({"messages", "tools"})
_FILTERS: Final = frozenset(
    {"trim", "tojson", "default", "d", "length", "count", "first", "last", "lower", "upper"}
)
_TESTS: Final = frozenset(
    {"defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number"}
    | {"boolean", "true", "false", "eq", "equalto", "ne", "in"}
)
_FUNCTIONS: Final = frozenset({"namespace", "raise_exception"})
_METHODS: Final = frozenset(
    {"strip", "lstrip", "rstrip", "split", "rsplit", "startswith", "endswith", "get"}
)
_SPLITTING: Final = frozenset({"split", "rsplit"})
_COPYING: Final = _SPLITTING | {"strip", "lstrip", "rstrip"}
_NODES: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Const,
    nodes.Name,
    nodes.NSRef,
    nodes.Assign,
    nodes.If,
    nodes.For,
    nodes.Break,
    nodes.Continue,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Neg,
    nodes.Add,
    nodes.Sub,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Keyword,
)


class LimitError(jinja2.TemplateError):
    """The template takes too long, or makes too much text."""


class Meter:
    """What one rendering may still spend. One thread, one rendering."""

    def __init__(self) -> None:
        self._made = 0
        self._deadline = time.monotonic() + TIME_LIMIT_S

    def pay(self, chars: int) -> None:
        """Count text that the template made.

        Raises:
            LimitError: It is more than one rendering may make.
        """
        self._made += chars
        if self._made > _MAX_MADE_CHARS:
            raise LimitError(f"it makes more than {_MAX_MADE_CHARS:,} characters")

    def look_at_clock(self) -> None:
        """Raises LimitError: The time is over."""
        if time.monotonic() > self._deadline:
            raise LimitError(f"it takes longer than {TIME_LIMIT_S:g} s")


class _Metered(list[Any]):
    """A list that looks at the clock at each step of a loop over it or over a part of it."""

    def __init__(self, items: Sequence[Any], meter: Meter) -> None:
        super().__init__(items)
        self._meter = meter

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self._meter.look_at_clock()
            yield item

    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        item = super().__getitem__(index)
        return _Metered(item, self._meter) if isinstance(index, slice) else item


class _Generation(Extension):
    """``{% generation %}`` marks, for training, what an assistant wrote: here it is its body."""

    tags = {"generation"}  # noqa: RUF012  # the base class declares it as a set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """A namespace without names that begin with an underscore, as in transformers."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # a key may be called `self`
        Namespace.__init__(*args, **kwargs)
        for name in dict(*args[1:], **kwargs):
            _refuse_private(name)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:  # Jinja's shows the content: exponential where they are nested
        return "<Namespace>"


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja as transformers 5.23 sets it up, with a meter on what + and methods make."""

    intercepted_binops = frozenset({"+"})

    def call_binop(  # the only operator that is intercepted is +
        self,
        context: Context,
        operator: str,  # noqa: ARG002
        left: Any,
        right: Any,
    ) -> Any:
        result = left + right
        context[_METER].pay(_size(result))
        return result

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        text = getattr(obj, "__self__", None)
        if isinstance(text, str) and obj.__name__ in _COPYING:
            context[_METER].pay(len(text))
            if obj.__name__ in _SPLITTING:
                context[_METER].pay(_ITEM_CHARS * _pieces(text, *args, **kwargs))
        return super().call(context, obj, *args, **kwargs)


def environment() -> jinja2.Environment:
    """The environment that templates are parsed and run in; no loader, hardly any globals."""
    env = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControlExtension]
    )
    env.filters["tojson"] = _tojson
    for name in ("trim", "lower", "upper"):
        env.filters[name] = _paid(env.filters[name])
    env.globals.clear()
    env.globals.update(
        namespace=_Namespace, raise_exception=_raise_exception, strftime_now=_strftime_now
    )
    return env


def is_bounded(tree: nodes.Template) -> bool:
    """Whether the parsed template is of the kind that ends in bounded time and memory."""
    found = list(_walk(tree))
    return len(found) <= _MAX_NODES and all(_is_plain(node) for node in found)


def render(template: jinja2.Template, variables: Mapping[str, Any]) -> str:
    """What ``template`` prints, under a fresh meter.

    Raises:
        LimitError: It takes too long, makes too much, or prints more than 4 MiB.
        jinja2.TemplateError: The template raised it; and whatever else its expressions raise.
    """
    meter = Meter()
    given = {
        name: _Metered(value, meter) if name in _LOOPED and isinstance(value, list) else value
        for name, value in variables.items()
    }
    pieces: list[str] = []
    printed = 0
    for piece in template.generate(**given, **{_METER: meter}):
        printed += len(piece)
        if printed > MAX_OUTPUT_CHARS:
            raise LimitError(f"it prints more than {MAX_OUTPUT_CHARS:,} characters")
        pieces.append(piece)
    return "".join(pieces)


def main() -> None:
    """The child process: limits first, then one request from stdin, one answer to stdout.

    The request is ``{"source": str, "renders": [variables, ...]}``, the answer
    ``{"outputs": [str, ...]}`` or ``{"error": str}``.
    """
    _limit_this_process()
    request = json.loads(sys.stdin.buffer.read())
    answer: dict[str, Any]
    try:
        template = environment().from_string(request["source"])
        answer = {"outputs": [render(template, variables) for variables in request["renders"]]}
    except Exception as error:  # noqa: BLE001  # whatever a stranger's program raises is its answer
        answer = {"error": f"{type(error).__name__}: {error}"[:500]}
    sys.stdout.buffer.write(json.dumps(answer).encode())


def _limit_this_process() -> None:
    """Memory and CPU time, where the system can limit them (not on Windows)."""
    try:
        resource: Any = import_module("resource")
    except ImportError:
        return
    seconds = int(TIME_LIMIT_S)
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # a lower hard limit stands, macOS knows no RLIMIT_AS
            resource.setrlimit(kind, (limit, limit))


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _is_plain(node: nodes.Node) -> bool:  # noqa: PLR0911  # one line for each kind of node
    """Whether a bounded template may have this node; its children are asked themselves."""
    match node:
        case nodes.Filter():
            given = node.args or node.kwargs or node.dyn_args or node.dyn_kwargs
            return node.name in _FILTERS and (node.name in {"default", "d"} or not given)
        case nodes.Test():
            return node.name in _TESTS
        case nodes.Call():
            return _is_plain_call(node.node)
        case nodes.For():
            return not node.recursive and _is_looped(node.iter) and _is_own_name(node.target)
        case nodes.Assign():
            return _is_plain_assignment(node.target, node.node)
        case nodes.Name():
            return not node.name.startswith("_")
        case nodes.Getattr():
            return not node.attr.startswith("_")
        case nodes.Getitem(arg=nodes.Slice()):
            return _is_looped(node)  # that of a text would be a copy that pays nothing
        case _:
            return isinstance(node, _NODES)


def _is_plain_call(called: nodes.Node) -> bool:
    if isinstance(called, nodes.Getattr):
        return called.attr in _METHODS
    return isinstance(called, nodes.Name) and called.name in _FUNCTIONS


def _is_plain_assignment(target: nodes.Node, value: nodes.Node) -> bool:
    if isinstance(target, nodes.Name) and target.name in _LOOPED:
        return _is_looped(value)  # else `messages` could become a text, which loops unmetered
    return isinstance(target, nodes.NSRef) or _is_own_name(target)


def _is_looped(node: nodes.Node) -> bool:
    """Whether ``node`` is ``messages`` or ``tools``, or a part of it."""
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node = node.node
    return isinstance(node, nodes.Name) and node.name in _LOOPED


def _is_own_name(node: nodes.Node) -> bool:
    """Whether ``node`` is a single name that a template may give a value to."""
    return isinstance(node, nodes.Name) and node.name not in _LOOPED | _FUNCTIONS


def _size(value: Any) -> int:
    """About as many characters as ``value`` has when it is printed; 0 for a number."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_ITEM_CHARS + _size(key) + _size(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        # Without the clock of a metered list: this is no loop of the template's.
        return sum(_ITEM_CHARS + _size(one) for one in tuple(value))
    return 0


def _pieces(text: str, sep: Any = None, maxsplit: Any = -1, **_: Any) -> int:
    """At most so many pieces does ``text.split(sep, maxsplit)`` give; Jinja adds arguments."""
    found = text.count(sep) + 1 if isinstance(sep, str) and sep else len(text) // 2 + 1
    limited = isinstance(maxsplit, int) and 0 <= maxsplit < found
    return maxsplit + 1 if limited else found


def _paid(copying: Callable[..., Any]) -> Callable[..., Any]:
    """The filter ``copying``, which pays for what it makes."""

    @pass_context
    def paid(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        result = copying(value, *args, **kwargs)
        context[_METER].pay(_size(result))
        return result

    return paid


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not store {name!r}")


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)  # noqa: DTZ005  # a template means the user's own clock


@pass_context
def _tojson(
    context: Context,
    value: Any,
    *,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    text = json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    context[_METER].pay(len(text))
    return text
