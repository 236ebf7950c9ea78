"""Rendering and tokenising must be what Transformers does, to the last id."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from appliance.data.chat import (
    DEFAULT_TEMPLATE,
    IGNORED,
    ChatTemplate,
    copy_tokenizer,
    encode_example,
    encode_prompt,
    end_ids,
    load_template,
    load_tokenizer,
)
from appliance.data.example import Example, Message

DATA = os.environ.get("LUTHIER_TEST_DATA")
STARTER = Path(__file__).parents[2] / "appliance" / "starter" / "model"

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = (
    "{%- if not date_string is defined %}{%- set date_string = '26 Jul 2024' %}{%- endif %}\n"
    "{{- bos_token }}\n"
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '<|im_sep|>\n\n' + message.content | trim + '<|im_end|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant<|im_sep|>\n\n' }}\n{%- endif %}\n"
)
BRACKETS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token}}{% endif %}{% endfor %}"
)
THINKING = (
    "{%- set ns = namespace(last=messages|length - 1) %}"
    "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}"
    "{%- if message.role == 'user' and ns.last == messages|length - 1 %}{%- set ns.last = index %}{%- break %}"
    "{%- endif %}{%- endfor %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'assistant' and loop.index0 > ns.last %}"
    "{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' + message.content.strip('\n') + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if tools %}{{- '<tools>' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{%- endif %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
GENERATION = (
    "{%- for message in messages %}{%- if message.role == 'assistant' %}{{- '<|im_start|>assistant\n' }}"
    "{%- generation %}{{- message.content + '<|im_end|>' }}{%- endgeneration %}{{- '\n' }}"
    "{%- else %}{{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
OPEN_ENDED = (
    "{% for m in messages %}{{ m['role'] | capitalize + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "headers": HEADERS,
    "brackets": BRACKETS,
    "thinking": THINKING,
    "generation": GENERATION,
    "open-ended": OPEN_ENDED,
    "default": DEFAULT_TEMPLATE,
}
CONVERSATION = (
    Message(role="user", content="How tall is Zugspitze?\n"),
    Message(role="assistant", content="  2,962 m\n\nabove the sea. 😀"),
    Message(role="user", content="And in feet — naïvely?"),
    Message(role="assistant", content="9,718."),
)


def model_folder(path: Path, template: str | None) -> Path:
    """A byte-level tokenizer of the usual kind, with merges, as a model folder."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("Ċ", "Ċ"), ("e", "r")]
    vocabulary = {token: number for number, token in enumerate(alphabet)}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    engine = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.post_processor = processors.ByteLevel(trim_offsets=True)
    specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_sep|>"]
    engine.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    engine.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    return path


def spoken(encoded: Any, tokenizer: Any) -> str:
    """What the learnt tokens say."""
    learnt = [id_ for id_, label in zip(encoded.ids, encoded.labels, strict=True) if label != IGNORED]
    return str(tokenizer.decode(learnt, skip_special=False))


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("invited", [True, False])
def test_every_template_renders_and_tokenises_as_transformers_does(tmp_path: Path, name: str, invited: bool) -> None:
    folder = model_folder(tmp_path, TEMPLATES[name])
    theirs = AutoTokenizer.from_pretrained(folder)
    tokenizer, template = load_tokenizer(folder), load_template(folder)
    messages = [message.as_dict() for message in CONVERSATION[:3]]
    text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=invited)
    ids = theirs.apply_chat_template(messages, add_generation_prompt=invited, return_dict=False)
    assert template.render(messages, add_generation_prompt=invited) == text
    assert tokenizer.encode(text) == ids
    if invited:
        assert encode_prompt(CONVERSATION[:3], tokenizer, template) == ids


@pytest.mark.parametrize("name", ["chatml", "brackets", "generation", "default"])
def test_an_example_has_the_ids_that_transformers_gives_the_whole_conversation(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path, TEMPLATES[name])
    theirs = AutoTokenizer.from_pretrained(folder)
    encoded = encode_example(Example(row=1, messages=CONVERSATION), load_tokenizer(folder), load_template(folder))
    messages = [message.as_dict() for message in CONVERSATION]
    assert encoded.ids == theirs.apply_chat_template(messages, return_dict=False)


@pytest.mark.parametrize("name", TEMPLATES)
def test_answers_and_their_ends_are_learnt_and_nothing_else(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path, TEMPLATES[name])
    tokenizer, template = load_tokenizer(folder), load_template(folder)
    encoded = encode_example(Example(row=1, messages=CONVERSATION), tokenizer, template)
    said = spoken(encoded, tokenizer)
    end = tokenizer.token_of(max(end_ids(tokenizer, template) - {tokenizer.eos_id}, default=tokenizer.eos_id))
    assert said.endswith(f"9,718.{end}")
    assert "2,962 m\n\nabove the sea. 😀" in said
    assert "Zugspitze" not in said
    assert "naïvely" not in said
    assert "ssistant" not in said


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_learnt_follows_exactly_what_generation_starts_from(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path, TEMPLATES[name])
    tokenizer, template = load_tokenizer(folder), load_template(folder)
    encoded = encode_example(Example(row=1, messages=CONVERSATION[:2]), tokenizer, template)
    prompt = encode_prompt(CONVERSATION[:1], tokenizer, template)
    assert encoded.ids[: len(prompt)] == prompt
    assert encoded.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert encoded.labels[len(prompt)] != IGNORED


def test_a_turn_of_weight_zero_is_not_learnt(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, CHATML)
    tokenizer, template = load_tokenizer(folder), load_template(folder)
    first = Message(role="assistant", content="wrong", weight=0)
    messages = (CONVERSATION[0], first, CONVERSATION[2], CONVERSATION[3])
    encoded = encode_example(Example(row=1, messages=messages), tokenizer, template)
    assert spoken(encoded, tokenizer) == "9,718.<|im_end|>"


def test_the_default_template_is_used_without_one_and_ends_every_answer(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, None)
    template = load_template(folder)
    assert template.source == "default"
    assert template.render([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]) == (
        "<s>User:\na\nAssistant:\nb</s>\n"
    )


def test_a_copied_tokenizer_gives_the_same_ids_in_transformers(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    model_folder(source, CHATML)
    copy_tokenizer(source, target, CHATML)
    theirs = AutoTokenizer.from_pretrained(target)
    messages = [message.as_dict() for message in CONVERSATION]
    assert theirs.apply_chat_template(messages, return_dict=False) == load_tokenizer(target).encode(
        load_template(target).render(messages)
    )


def real_bases() -> list[Path]:
    found = [STARTER] if (STARTER / "tokenizer.json").is_file() else []
    return found + ([Path(DATA) / "tinystories656k"] if DATA else [])


@pytest.mark.skipif(not real_bases(), reason="neither the starter model nor LUTHIER_TEST_DATA is there")
@settings(max_examples=150, deadline=None)
@given(contents=st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_real_tokenizers_give_the_ids_of_transformers_for_any_text(contents: list[str]) -> None:
    for folder in real_bases():
        theirs, tokenizer = _theirs(folder)
        for text in contents:
            assert tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False)
        template = load_template(folder)
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
        if template.source == "default":
            theirs.chat_template = DEFAULT_TEMPLATE
        for invited in (True, False):
            text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=invited)
            ids = theirs.apply_chat_template(messages, add_generation_prompt=invited, return_dict=False)
            assert template.render(messages, None, invited) == text
            assert tokenizer.encode(text) == ids


_loaded: dict[Path, Any] = {}


def _theirs(folder: Path) -> Any:
    if folder not in _loaded:
        _loaded[folder] = (AutoTokenizer.from_pretrained(folder), load_tokenizer(folder))
    return _loaded[folder]


@pytest.mark.skipif(not DATA, reason="LUTHIER_TEST_DATA is not set")
def test_a_tokenizer_that_drops_characters_says_which_and_still_knows_where_answers_lie(tmp_path: Path) -> None:
    folder = Path(DATA or "") / "tinystories656k"
    tokenizer, template = load_tokenizer(folder), load_template(folder)
    assert tokenizer.loss_of("Hi + 😀, ü = 中文!") == "+😀ü=中文"
    assert tokenizer.loss_of("Once upon a time.") == ""
    messages = (Message(role="user", content="+ 😀 ü"), Message(role="assistant", content="The = end 😀 now."))
    encoded = encode_example(Example(row=1, messages=messages), tokenizer, template)
    assert spoken(encoded, tokenizer) == "The  end  now.<|end_story|>"


@pytest.mark.skipif(not DATA, reason="LUTHIER_TEST_DATA is not set")
def test_a_tokenizer_rebuilt_by_transformers_is_copied_as_rebuilt(tmp_path: Path) -> None:
    folder = Path(DATA or "") / "tinystories656k"
    copy_tokenizer(folder, tmp_path, DEFAULT_TEMPLATE)
    before, after = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Hello.<|end_story|>\nOne day", " a  b", "ü= x", "", "\n\n"):
        assert after.encode(text) == before.encode(text)
        assert load_tokenizer(tmp_path).encode(text) == before.encode(text, add_special_tokens=False)
    assert after.eos_token_id == before.eos_token_id


def test_plain_text_is_learnt_whole_and_ended(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, None)
    tokenizer = load_tokenizer(folder)
    encoded = encode_example(Example(row=1, text="in the"), tokenizer, load_template(folder))
    assert encoded.ids == [*tokenizer.encode("in the"), tokenizer.eos_id]
    assert encoded.labels == encoded.ids


def test_a_template_made_here_equals_the_one_of_a_folder() -> None:
    template = ChatTemplate(CHATML, {"eos_token": "</s>"})
    assert template.render([{"role": "user", "content": "a"}]) == "<|im_start|>user\na<|im_end|>\n"
