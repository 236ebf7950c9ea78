"""What is noticed in examples is there, what is not there is not noticed, and personal data is found by its digits."""

from __future__ import annotations

import json
import os
import random
import statistics
from pathlib import Path
from typing import Any

import pytest

from appliance.data.ingest import check
from appliance.data.personal import find_personal, iban_is_valid, luhn, personal_kinds
from appliance.data.scripts import main_script
from appliance.spec import DataSpec

DATA = os.environ.get("LUTHIER_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="LUTHIER_TEST_DATA is not set")
KINDS = {"PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IP_ADDRESS": "ip", "EMAIL_ADDRESS": "email", "US_SSN": "ssn"}
NAMES = ("apple", "river", "stone", "cloud", "ember", "field", "glass", "heron", "ivory", "jolly")


def plain(count: int = 60) -> list[dict[str, Any]]:
    source = random.Random(3)
    return [
        {"prompt": f"Tell me of {' '.join(source.sample(NAMES, 4))}.", "completion": f"It is {source.choice(NAMES)}."}
        for _ in range(count)
    ]


def found(tmp_path: Path, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    checked = check(path, DataSpec())
    assert 0 <= checked["quality"]["score"] <= 100
    return {finding["code"]: finding for finding in checked["findings"]}


SEEDED = {
    "personal-email": "Write to jane.doe@example.org.",
    "personal-phone": "Call me: +49 30 901820.",
    "personal-card": "It is 4532 2766 4457 7020.",
    "personal-iban": "Pay to DE89 3704 0044 0532 0130 00 please.",
    "personal-ssn": "Mine is 531-21-7351.",
    "personal-ip": "The server is 58.74.121.78.",
    "secret": "key = ghp_" + "a1B2" * 9,
    "refusal": "I'm sorry, but I can't do that.",
    "boilerplate": "It is fine. All rights reserved.",
    "broken-characters": "The cafÃ© is open.",
}


@pytest.mark.parametrize("code", SEEDED)
def test_what_is_put_into_some_rows_is_found_in_those_rows(tmp_path: Path, code: str) -> None:
    rows = plain()
    for place in (7, 21, 40):
        rows[place] = {"prompt": f"Question {place} about {NAMES[place % 7]}?", "completion": SEEDED[code]}
    findings = found(tmp_path, rows)
    assert findings[code]["rows"] == [8, 22, 41]
    assert findings[code]["where"] == "rows.jsonl:8"
    assert findings[code]["fix"]
    assert not (set(findings) & set(SEEDED)) - {code}


def test_clean_rows_have_nothing_noticed_about_them(tmp_path: Path) -> None:
    findings = found(tmp_path, plain())
    assert {code for code, finding in findings.items() if finding["severity"] != "info"} <= {"disagreeing-answers"}
    assert not set(findings) & set(SEEDED)


def test_answers_to_the_same_question_that_disagree_are_named(tmp_path: Path) -> None:
    rows = [{"text": f"the {NAMES[n % 10]} number {n}", "label": f"class {n % 2}"} for n in range(30)]
    rows += [{"text": "THE apple number 0!", "label": "class 1"}]
    findings = found(tmp_path, rows)
    assert findings["disagreeing-answers"]["rows"] == [1, 31]


def test_an_answer_that_is_the_question_is_named(tmp_path: Path) -> None:
    rows = [*plain(), {"prompt": "Where is the nearest station?", "completion": "Where is the nearest station?"}]
    assert found(tmp_path, rows)["echoed-answer"]["rows"] == [61]


@pytest.mark.parametrize(("rare", "named"), [(4, True), (20, False)])
def test_classes_more_than_ten_to_one_apart_are_named(tmp_path: Path, rare: int, named: bool) -> None:
    rows = [{"text": f"sentence {n}", "label": "common"} for n in range(100)]
    rows += [{"text": f"phrase {n}", "label": "rare"} for n in range(rare)]
    assert ("class-imbalance" in found(tmp_path, rows)) == named


@pytest.mark.parametrize("long", [1, 3000])
def test_lengths_that_vary_by_more_than_twice_their_mean_are_named(tmp_path: Path, long: int) -> None:
    rows = [{"prompt": f"What is {n}?", "completion": f"Number {n}. " * (long if n == 50 else 1)} for n in range(100)]
    lengths = [len(f"{row['prompt']}\n{row['completion']}") for row in rows]
    variation = statistics.pstdev(lengths) / statistics.mean(lengths)
    findings = found(tmp_path, rows)
    assert ("length-variation" in findings) == (variation > 2)
    assert ("length-outlier" in findings) == (long > 1)


@pytest.mark.parametrize(("missing", "named"), [(10, True), (4, False)])
def test_a_value_missing_in_more_than_a_tenth_of_the_rows_is_named(tmp_path: Path, missing: int, named: bool) -> None:
    rows = plain(60)
    for place in range(missing):
        rows[place * 3]["completion"] = None if place % 2 else ""
    assert ("missing-values" in found(tmp_path, rows)) == named


def test_several_writings_are_named_with_their_shares(tmp_path: Path) -> None:
    rows = plain(75) + [{"prompt": f"Вопрос номер {n}?", "completion": "Это ответ."} for n in range(25)]
    assert found(tmp_path, rows)["language-mix"]["message"].endswith("Latin 75%, Cyrillic 25%")


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello", "Latin"),
        ("Où était-ce ?", "Latin"),
        ("Γειά σου", "Greek"),
        ("Привет", "Cyrillic"),
        ("שלום", "Hebrew"),
        ("مرحبا", "Arabic"),
        ("नमस्ते", "Devanagari"),
        ("สวัสดี", "Thai"),
        ("안녕하세요", "Hangul"),
        ("你好", "Han"),
        ("漢字とかな", "Kana"),
        ("123 !?", None),
    ],
)
def test_the_writing_of_a_text_is_told(text: str, script: str | None) -> None:
    assert main_script(text) == script


def test_the_score_falls_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    def score(rows: list[dict[str, Any]]) -> int:
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return int(check(path, DataSpec())["quality"]["score"])

    good = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(40)]
    assert score(good) == 100
    assert score([*good, *good[:20]]) < 100
    assert score([*good[:30], *({"prompt": f"{n}?", "completion": ""} for n in range(10))]) == 75
    assert score([*good[:30], *({"prompt": f"{n}?", "completion": f"{n} {{{{name}}}}"} for n in range(10))]) == 75
    assert score([*good[:30], *({"prompt": f"{n}?", "completion": f"a{n}@b.org"} for n in range(10))]) == 75


@needs_data
def test_labelled_personal_data_is_found_and_nothing_else_is_taken_for_it() -> None:
    path = Path(DATA or "") / "pii_presidio" / "generated_small.json"
    hits = misses = extra = 0
    for item in json.loads(path.read_text(encoding="utf-8")):
        text = item["full_text"]
        truth = [(KINDS[s["entity_type"]], s["entity_value"]) for s in item["spans"] if s["entity_type"] in KINDS]
        for kind, value in truth:
            seen = any(value in place or place in value for place in find_personal(text, kind))
            hits, misses = hits + seen, misses + (not seen)
        extra += len(set(personal_kinds(text)) - {kind for kind, _ in truth})
    assert hits + misses == 27
    assert hits >= 26
    assert extra == 0


@pytest.mark.parametrize("seed", range(3))
def test_generated_personal_data_is_found_and_a_wrong_check_digit_is_not(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(200):
        digits = "4" + "".join(str(source.randrange(10)) for _ in range(14))
        right = next(d for d in "0123456789" if luhn(digits + d))
        wrong = str((int(right) + 1) % 10)
        shown = source.choice((digits + right, " ".join((digits + right)[n : n + 4] for n in range(0, 16, 4))))
        assert find_personal(f"My card is {shown}, thanks.", "card") == [shown]
        assert find_personal(f"My card is {digits}{wrong}, thanks.", "card") == []
        account = f"{source.randrange(10**18):018d}"
        check_digits = 98 - int(account + "131400") % 97
        iban = f"DE{check_digits:02d}{account}"
        assert iban_is_valid(iban)
        assert find_personal(f"Send it to {iban}.", "iban") == [iban]
        off = f"DE{(check_digits + 1) % 100:02d}{account}"
        assert find_personal(f"Send it to {off}.", "iban") == []


@needs_data
@pytest.mark.parametrize("name", ["war_and_peace/war-and-peace.txt", "tinyshakespeare/input.txt"])
def test_novels_hold_no_personal_data(name: str) -> None:
    text = (Path(DATA or "") / name).read_text(encoding="utf-8", errors="replace")
    assert not set(personal_kinds(text)) & {"phone", "card", "iban", "ssn", "ip", "secret"}
