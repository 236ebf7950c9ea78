"""A chat template is a stranger's program: it reaches nothing, and spends little."""

from __future__ import annotations

import json

import pytest

from appliance.data.chat import ChatTemplate, TemplateRefused
from appliance.errors import InvalidBaseModel, error_from_dict

HOSTILE = {
    "class of a text": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a function": "{{ raise_exception.__globals__['os'] }}",
    "globals through a filter": "{{ (messages|attr('__class__')).__init__.__globals__ }}",
    "namespace": "{{ namespace.__init__.__globals__['os'].popen('id').read() }}",
    "private name": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "formatting attributes": "{{ '{0.__class__.__init__.__globals__}'.format(namespace) }}",
    "change of its input": "{{ messages.append(1) }}",
    "long loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "long silent loops": "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}x"
    * 999,
    "power": "{{ 10 ** 10000000 }}",
    "power of a power": "{{ (10 ** 64) ** 64 }}",
    "repetition": "{{ 'a' * 4000000000 }}",
    "repetition of a list": "{{ ([0] * 4000000000)|length }}",
    "doubling": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubling by adding": "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "doubling by writing": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
    "width of a format": "{{ '%1000000000d' % 1 }}",
    "width of another format": "{{ '{:1000000000}'.format(1) }}",
    "width of a third": "{{ '%1000000000d'|format(1) }}",
    "padding": "{{ 'a'.ljust(1000000000) }}",
    "replacing": "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
    "replacing by filter": "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}",
    "joining": "{{ (['a' * 1000000] * 1000000)|join }}",
    "recursion": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "other files": "{% include '/etc/passwd' %}",
    "its own refusal, with an escape": "{{ raise_exception('\x1b]52;c;aGk=\x07 roles must alternate') }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_in_a_named_error(name: str) -> None:
    template = ChatTemplate(HOSTILE[name], {})
    with pytest.raises(TemplateRefused) as caught:
        template.render([{"role": "user", "content": "a"}])
    assert "\x1b" not in caught.value.message


def test_a_template_that_is_not_one_names_its_line() -> None:
    with pytest.raises(InvalidBaseModel, match="line 2"):
        ChatTemplate("\n{% for %}", {})


def test_the_code_of_a_refusal_survives_its_journey() -> None:
    error = TemplateRefused("no", hint="other roles")
    assert isinstance(error_from_dict(json.loads(json.dumps(error.as_dict()))), TemplateRefused)


def test_what_real_templates_use_is_there() -> None:
    source = (
        "{%- generation %}{{ strftime_now('%Y')|length }}{% endgeneration %}{{ {'a': 'é<'}|tojson }}"
        "{%- for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content[:2] ~ '!' }}{% endfor %}"
        "{{ '%s-%s' % ('a', 'b') }}{{ 'a-b'.split('-')|join('+') }}{{ tools is none }}{{ 'x'|replace('x', 'y') }}"
        "{{ messages|map(attribute='role')|join(',') }}{{ dict(a=1).items()|list }}"
    )
    messages = [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "d"}]
    rendered = ChatTemplate(source, {}).render(messages)
    assert rendered == '4{"a": "é<"}ab!a-ba+bTrueyuser,assistant[(\'a\', 1)]'
