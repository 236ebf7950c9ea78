"""Ids as text while they come, stop strings, and sampling against its definition."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers

from appliance.data.chat import Tokenizer
from serving.answer_text import AnswerText, Detokeniser
from serving.engine import Sampling
from serving.engines.sampling import pick, score

TEXTS = ["Hello  world", "ü🙂日本語 👩‍👩‍👧", " leading and trailing ", "\n\n\ttabs", "e\u0301 combined", "🇩🇪🇫🇷"]
TEXTS += ["\ufffd itself \ufffd"]


def byte_level() -> Tokenizer:
    """Every byte is a token, so a character is up to four."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine = Engine(models.BPE({character: n for n, character in enumerate(alphabet)}, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    return Tokenizer(engine, {})


def metaspace() -> Tokenizer:
    """SentencePiece's way: spaces are marks, the first one is dropped, unknown characters are bytes."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyzHLu,.", *(f"<0x{n:02X}>" for n in range(256)), "▁t", "▁th", "▁the"]
    vocabulary = {token: n for n, token in enumerate(["<unk>", *letters])}
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e")]
    engine = Engine(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    from tokenizers import normalizers

    engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    engine.decoder = decoders.Sequence(steps)
    return Tokenizer(engine, {})


@pytest.mark.parametrize("make", [byte_level, metaspace])
@pytest.mark.parametrize("text", [*TEXTS, "the cat, the hat ü the"])
def test_the_pieces_are_the_text_and_never_half_a_character(make: Any, text: str) -> None:
    tokenizer = make()
    ids = tokenizer.encode(text)
    stream = Detokeniser(tokenizer)
    pieces = [stream.push(id_) for id_ in ids]
    whole = tokenizer.decode(ids)
    assert "".join(pieces) + stream.end() == whole
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("make", [byte_level, metaspace])
def test_an_answer_continues_the_text_before_it(make: Any) -> None:
    tokenizer = make()
    ids = tokenizer.encode("the cat ü the hat")
    for cut in range(1, len(ids)):
        before, after = tokenizer.decode(ids[:cut]), ids[cut:]
        if "\ufffd" in before:
            continue
        stream = Detokeniser(tokenizer, ids[:cut])
        assert before + "".join(stream.push(id_) for id_ in after) + stream.end() == tokenizer.decode(ids)


def test_bytes_that_are_no_character_come_out_in_the_end() -> None:
    tokenizer = byte_level()
    lost = tokenizer.encode("🙂")[:2]
    stream = Detokeniser(tokenizer)
    assert "".join(stream.push(id_) for id_ in lost) == ""
    assert stream.end() == tokenizer.decode(lost)
    endless = Detokeniser(tokenizer)
    shown = [endless.push(lost[1]) for _ in range(50)]
    assert sum(map(bool, shown)) > 3


@pytest.mark.parametrize("seed", range(20))
def test_the_text_ends_before_the_first_stop_string(seed: int) -> None:
    draw = random.Random(seed)
    tokenizer = byte_level()
    for _ in range(30):
        text = "".join(draw.choice("abü🙂") for _ in range(draw.randint(0, 30)))
        stops = ["".join(draw.choice("abü🙂") for _ in range(draw.randint(1, 4))) for _ in range(draw.randint(0, 3))]
        answer = AnswerText(tokenizer, stops)
        shown = ""
        for id_ in tokenizer.encode(text):
            shown += answer.push(id_)
            if answer.stopped:
                break
        shown += answer.end()
        # A stop is seen as soon as it is whole, so the one that ends first wins.
        ends = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text]
        first = min((end for end, _ in ends), default=None)
        expected = text if first is None else text[: min(start for end, start in ends if end == first)]
        assert shown == expected, (text, stops)


def test_zero_temperature_takes_the_likeliest() -> None:
    logits = np.array([0.1, 3.0, 2.9], dtype=np.float32)
    assert pick(logits, Sampling(temperature=0), np.random.default_rng(0), Counter()) == 1


def drawn(sampling: Sampling, logits: Any, count: int = 20_000) -> Any:
    generator = np.random.default_rng(0)
    values = np.array(logits, dtype=np.float32)
    found = np.bincount([pick(values, sampling, generator, Counter()) for _ in range(count)], minlength=len(values))
    return found / count


def test_tokens_come_as_often_as_they_are_likely() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    for temperature in (0.5, 1.0, 2.0):
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        assert np.abs(drawn(Sampling(temperature=temperature), logits) - expected).max() < 0.015


def test_top_k_and_top_p_leave_out_the_tail() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    assert (drawn(Sampling(top_k=2), logits, 500) > 0).tolist() == [True, True, False, False]
    assert (drawn(Sampling(top_p=0.6), logits, 500) > 0).tolist() == [True, True, False, False]
    assert (drawn(Sampling(top_p=0.0), logits, 50) > 0).tolist() == [True, False, False, False]


def test_penalties_and_biases_move_tokens_by_their_definition() -> None:
    logits = np.array([1.0, 0.9, 0.0], dtype=np.float32)
    generator = np.random.default_rng(0)
    said = Counter({0: 2})
    assert pick(logits, Sampling(temperature=0), generator, said) == 0
    assert pick(logits, Sampling(temperature=0, presence_penalty=0.2), generator, said) == 1
    assert pick(logits, Sampling(temperature=0, frequency_penalty=0.06), generator, said) == 1
    assert pick(logits, Sampling(temperature=0, logit_bias={2: 5.0}), generator, said) == 2
    assert logits.tolist() == pytest.approx([1.0, 0.9, 0.0])


def test_scores_are_log_probabilities_best_first() -> None:
    probabilities = np.array([0.2, 0.5, 0.3])
    found = score(np.log(probabilities).astype(np.float32) + 7, 0, 2)
    assert found.logprob == pytest.approx(np.log(0.2), abs=1e-5)
    assert [id_ for id_, _ in found.top] == [1, 2]
    assert score(np.zeros(3, dtype=np.float32), 1, 99).top[0][1] == pytest.approx(np.log(1 / 3))
