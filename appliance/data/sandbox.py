"""The Jinja environment chat templates run in: what Transformers offers them, and limits on what they spend.

A template comes with a model somebody else made. The sandbox of Jinja keeps it away from Python; it does not keep
it from spending time and memory, so every loop turn and every written value is counted, and whatever can make much
of little (``*``, ``**``, ``~``, ``join``, ``replace``, wide formats) is bounded. Names and filters are those of
Transformers' ``render_jinja_template``, so that a template renders the same here as there.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

OUTPUT_LIMIT = 64 * 1024 * 1024
"""Most characters one rendering may write, intermediate texts included."""
_SECONDS = 2.0
_TURNS = 5_000_000
_VALUE_LIMIT = 16 * 1024 * 1024
_WIDTH = 100_000
_WIDE_FORMAT = re.compile(r"\d{6,}")
_WIDENING = {"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"}
_TOO_LARGE = "The template makes a value that is too large."


@dataclass
class Spending:
    """What one rendering has used so far."""

    turns: int = 0
    characters: int = 0
    started: float = field(default_factory=time.thread_time)


_spending: ContextVar[Spending | None] = ContextVar("luthier_template_spending", default=None)


def start_spending() -> None:
    """Begin the account of one rendering in this context."""
    _spending.set(Spending())


class GenerationBlock(Extension):
    """``{% generation %}…{% endgeneration %}`` marks what the assistant says; the text in it is written as it is."""

    tags = {"generation"}  # noqa: RUF012 - the name and kind Jinja asks for

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_enclosed"), [], [], body).set_lineno(line)

    def _enclosed(self, caller: Callable[[], str]) -> str:
        return caller()


class _Counted(NodeTransformer):
    """Rewrites a template so that loop turns and macro calls are counted and ``~`` is bounded."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        return self._ticking(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._ticking(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        inner: nodes.Concat = self.generic_visit(node)  # type: ignore[assignment]
        return _call("luthier_concat", list(inner.nodes), node.lineno)

    def _ticking(self, node: nodes.For | nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        tick = nodes.Output([_call("luthier_tick", [], node.lineno)]).set_lineno(node.lineno)
        node.body.insert(0, tick)
        return node


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Node:
    return nodes.Call(nodes.Name(name, "load"), arguments, [], None, None).set_lineno(line)


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox with its bounds."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*" and _size(left) * _size(right) > _VALUE_LIMIT:
            raise SecurityError(_TOO_LARGE)
        if operator == "**" and (abs(left) > 1_000_000 or abs(right) > 64):
            raise SecurityError(_TOO_LARGE)
        if operator == "%" and isinstance(left, str) and _WIDE_FORMAT.search(f"{left} {right}"):
            raise SecurityError(_TOO_LARGE)
        if operator == "+" and isinstance(left, str | list | tuple) and len(left) > _VALUE_LIMIT:
            raise SecurityError(_TOO_LARGE)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as Jinja has it
        """As Jinja does, unless a method of a text is asked for a text of unreasonable size."""
        owner = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
        if isinstance(owner, str):
            _check_text_method(owner, getattr(__obj, "__name__", ""), (*args, *kwargs.values()))
        return super().call(__context, __obj, *args, **kwargs)

    def _generate(self, source: nodes.Template, name: Any, filename: Any, defer_init: bool = False) -> str:
        return super()._generate(_Counted().visit(source), name, filename, defer_init=defer_init)


def _check_text_method(owner: str, name: str, args: tuple[Any, ...]) -> None:
    if name in _WIDENING:
        wide = any(isinstance(value, int) and value > _WIDTH for value in args)
        if wide or (name.startswith("format") and _WIDE_FORMAT.search(owner)):
            raise SecurityError(_TOO_LARGE)
    elif name == "replace":
        _check_replace(owner, *args)
    elif name == "join" and args:
        _check_join(args[0], owner)


def _check_replace(text: Any, old: Any = "", new: Any = "", *_: Any) -> None:
    if str(text).count(str(old)) * len(str(new)) > _VALUE_LIMIT:
        raise SecurityError(_TOO_LARGE)


def _check_join(parts: Any, separator: Any = "", *_: Any) -> None:
    if isinstance(parts, list | tuple):
        longest = max((len(part) for part in parts if isinstance(part, str)), default=0)
        if len(parts) * (longest + len(str(separator))) > _VALUE_LIMIT * 4:
            raise SecurityError(_TOO_LARGE)


def _check_format(text: Any, *values: Any) -> None:
    if _WIDE_FORMAT.search(str(text)) or ("*" in str(text) and any(isinstance(value, int) for value in values)):
        raise SecurityError(_TOO_LARGE)


def _tick() -> str:
    """Count one turn. Raises ``SecurityError`` when a rendering does more than a conversation could need."""
    spending = _spending.get()
    if spending is None:
        return ""
    spending.turns += 1
    late = spending.turns % 64 == 0 and time.thread_time() - spending.started > _SECONDS
    if late or spending.turns > _TURNS:
        raise SecurityError("The template runs for too long.")
    return ""


def _count_output(value: Any) -> Any:
    """Let a value through that is about to be written, and count its characters."""
    spending = _spending.get()
    if spending is not None and isinstance(value, str):
        spending.characters += len(value)
        if spending.characters > OUTPUT_LIMIT:
            raise SecurityError(f"The template writes more than {OUTPUT_LIMIT:,} characters.")
    return value


def _concat(*parts: Any) -> str:
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) > _VALUE_LIMIT:
        raise SecurityError(_TOO_LARGE)
    return "".join(texts)


def _size(value: Any) -> int:
    """How much a factor contributes to a product: the length of a text or list, the size of a whole number."""
    if isinstance(value, str | bytes | list | tuple):
        return len(value)
    return abs(value) if isinstance(value, int) and abs(value) > 1 else 1


def _raise_exception(message: str) -> str:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    # Local time without a zone: what Transformers gives a template.
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _PlainNamespace(Namespace):
    """A namespace that stores no name beginning with an underscore."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"A template may not store '{name}'.")
        super().__setitem__(name, value)


def make_environment() -> ChatEnvironment:
    """The environment every chat template is compiled in."""
    environment = ChatEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationBlock, loopcontrols],
        finalize=_count_output,
        optimized=False,
    )
    filters = environment.filters
    filters["tojson"] = _tojson
    for name, check in (("replace", _check_replace), ("join", _check_join), ("format", _check_format)):
        filters[name] = _bounded(filters[name], check)
    for name in ("center", "wordwrap"):
        del filters[name]
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "namespace": _PlainNamespace,
        "luthier_tick": _tick,
        "luthier_concat": _concat,
    }
    environment.globals.pop("lipsum", None)
    return environment


def _bounded(filter_: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    """A filter of Jinja's that refuses to make much of little."""

    passed = getattr(filter_, "jinja_pass_arg", None)

    def checked(*args: Any, **kwargs: Any) -> Any:
        context, (value, *rest) = (args[:1], args[1:]) if passed else ((), args)
        items = list(value) if isinstance(value, Iterator) else value
        check(items, *rest, *kwargs.values())
        return filter_(*context, items, *rest, **kwargs)

    if passed:
        checked.jinja_pass_arg = passed  # type: ignore[attr-defined]
    return checked
