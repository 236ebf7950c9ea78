"""Rendering and tokenising conversations: the only way anybody here turns messages into token ids.

Training, evaluation, export and serving all call these functions, so that what is learnt, what is measured and
what is served are the same tokens. ``render`` equals Transformers' ``apply_chat_template`` for the same template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jinja2 import Template
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from appliance.data.example import Example, Message, as_dicts
from appliance.data.sandbox import OUTPUT_LIMIT, make_environment, start_spending
from appliance.data.spans import IGNORED, Encoded, learnt_spans, no_end_token, supervise
from appliance.data.tokenizer import Tokenizer, copy_tokenizer, load_tokenizer, read_json, special_tokens
from appliance.errors import DataRejected, InvalidBaseModel
from appliance.text import safe_text

__all__ = [
    "IGNORED",
    "ChatTemplate",
    "Encoded",
    "TemplateRefused",
    "Tokenizer",
    "copy_tokenizer",
    "encode_example",
    "encode_prompt",
    "end_ids",
    "load_template",
    "load_tokenizer",
]

# For a tokenizer that brings none. Every answer begins on a line of its own, because few vocabularies have a
# token that reaches over a line break into what follows: prompt and answer are cut alike together and apart.
DEFAULT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- 'Assistant:\\n' }}{{ message.content }}
{%- for call in message.tool_calls or [] %}{{ call | tojson }}{% endfor %}
{{- eos_token }}{{ '\\n' }}
{%- else %}
{{- message.role[0] | upper }}{{ message.role[1:] + ':\\n' + message.content + '\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- 'Assistant:\\n' }}
{%- endif %}
"""
# What the code of a template can raise besides the errors of Jinja's own.
_RAISED = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
    MemoryError,
)


class TemplateRefused(DataRejected):
    """A conversation that the model's chat template does not take."""

    code = "template-refused"


@dataclass(frozen=True)
class ChatTemplate:
    """A compiled chat template with the special tokens it writes."""

    text: str
    """Its source, as ``chat_template.jinja`` and GGUF hold it."""
    special: Mapping[str, str]
    source: Literal["tokenizer", "default"] = "tokenizer"
    tool_text: str | None = None
    """The source used when there are tools, where a model has another one for that."""
    _compiled: Template = field(init=False, repr=False, compare=False)
    _compiled_tools: Template = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain = _compile(self.text)
        object.__setattr__(self, "_compiled", plain)
        object.__setattr__(self, "_compiled_tools", _compile(self.tool_text) if self.tool_text else plain)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """The conversation as text. Raises ``TemplateRefused`` with the template's own words."""
        values = {
            **self.special,
            "messages": [dict(message) for message in messages],
            "tools": [dict(tool) for tool in tools] if tools else None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        start_spending()
        template = self._compiled_tools if tools else self._compiled
        parts: list[str] = []
        size = 0
        try:
            for part in template.generate(values):
                size += len(part)
                if size > OUTPUT_LIMIT:
                    raise TemplateError(f"it writes more than {OUTPUT_LIMIT:,} characters")
                parts.append(part)
        except _RAISED as error:
            words = safe_text(error, limit=200)
            raise TemplateRefused(
                f"The model's chat template refuses the conversation: {words}",
                hint="Change the roles or their order, or choose a base model whose template takes them.",
            ) from error
        return "".join(parts)


def load_template(folder: Path | str) -> ChatTemplate:
    """The chat template of a model folder, or the default one. Raises ``InvalidBaseModel``."""
    folder = Path(folder)
    named = _named_templates(folder)
    special = special_tokens(folder)
    if "default" not in named:
        return ChatTemplate(DEFAULT_TEMPLATE, special, "default")
    return ChatTemplate(named["default"], special, "tokenizer", named.get("tool_use"))


def encode_prompt(
    messages: Sequence[Message | Mapping[str, Any]],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> list[int]:
    """The ids after which the model is to answer. Raises ``TemplateRefused``."""
    plain = [m.as_dict(weight=False) if isinstance(m, Message) else m for m in messages]
    return tokenizer.encode(template.render(plain, tools, add_generation_prompt=True))


def encode_example(example: Example, tokenizer: Tokenizer, template: ChatTemplate) -> Encoded:
    """The ids of an example and which of them are learnt.

    Learnt are the assistant's turns (unless their weight is 0) with the token that ends each; for plain text,
    everything. A last answer that the template leaves open is ended with the end token, because a model that
    never saw an end does not stop. The unknown token is never learnt. Raises ``TemplateRefused``, and
    ``InvalidBaseModel`` when an answer has no end and the tokenizer no end token.
    """
    if example.text is not None:
        return _encode_text(example.text, tokenizer)
    messages = as_dicts(example.messages)
    learnt = [index for index, message in enumerate(example.messages) if message.learnt]
    text, spans = learnt_spans(template.render, messages, learnt, list(example.tools) or None)
    return supervise(text, spans, tokenizer, ends_learnt=bool(learnt) and learnt[-1] == len(messages) - 1)


def end_ids(tokenizer: Tokenizer, template: ChatTemplate) -> frozenset[int]:
    """The ids at which generation stops: the end token, and what the template ends an answer with."""
    found = {tokenizer.eos_id} if tokenizer.eos_id is not None else set()
    probe = Example(row=0, messages=(Message(role="user", content="a"), Message(role="assistant", content="b")))
    encoded = encode_example(probe, tokenizer, template)
    last = [id_ for id_, label in zip(encoded.ids, encoded.labels, strict=True) if label != IGNORED][-1:]
    return frozenset(found | {id_ for id_ in last if id_ in tokenizer.control_ids})


def _encode_text(text: str, tokenizer: Tokenizer) -> Encoded:
    if tokenizer.eos_id is None:
        raise no_end_token()
    ids = [*tokenizer.prefix_ids, *tokenizer.encode(text), tokenizer.eos_id]
    return Encoded(ids, [IGNORED if id_ == tokenizer.unknown_id else id_ for id_ in ids])


def _compile(source: str) -> Template:
    try:
        return make_environment().from_string(source)
    except TemplateSyntaxError as error:
        raise InvalidBaseModel(
            f"The chat template is not valid: {safe_text(error.message, limit=200)} (line {error.lineno}).",
            hint="Correct chat_template.jinja in the model's folder, or take it away to use the default template.",
        ) from error
    except (TemplateError, RecursionError, ValueError) as error:
        raise InvalidBaseModel(f"The chat template cannot be used: {safe_text(error, limit=200)}.") from error


def _named_templates(folder: Path) -> dict[str, str]:
    """The templates of a folder by name, ``default`` among them: files first, then the tokenizer's configuration."""
    found: dict[str, str] = {}
    configured = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(configured, str):
        found["default"] = configured
    elif isinstance(configured, list):
        entries = [entry for entry in configured if isinstance(entry, dict)]
        found = {str(entry.get("name")): str(entry.get("template")) for entry in entries}
    files = [folder / "chat_template.jinja", *sorted((folder / "additional_chat_templates").glob("*.jinja"))]
    for path in files:
        if path.is_file():
            name = "default" if path.name == "chat_template.jinja" else path.stem
            found[name] = path.read_text(encoding="utf-8")
    return found
