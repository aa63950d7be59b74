"""Metrics beside rouge-score, the objective as a Run, prompts, the experiment's arms with a small model, table and claim."""

from __future__ import annotations

import json
from math import isclose, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import hpo
from experiments.decoding import __main__ as room
from experiments.decoding import arms, speed
from experiments.decoding.judge import PerplexityJudge, measure_nats, perplexity
from experiments.decoding.metrics import (
    METRICS,
    Question,
    count_right,
    distinct_n,
    exact_match,
    list_f1,
    list_items,
    rouge,
)
from experiments.decoding.objective import DecodingObjective
from experiments.decoding.prompts import EXAMPLES, PROMPTS, TEMPLATES, write_prompt
from experiments.decoding.questions import load_questions
from experiments.decoding.smollm2 import list_absent_packages
from experiments.decoding.tables import CLAIM, decoding_tables
from models.config import GPTConfig
from models.data.tokenizers import Characters
from models.decoding.completer import Completer
from models.decoding.completion import Completion
from models.decoding.parameters import DecodingParameters
from models.gpt import GPT

torch.set_num_threads(1)
WORDS = st.text(alphabet="ab c1,.A-é\n", max_size=40)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
@settings(deadline=None, max_examples=150)
def test_rouge_is_rouge_scores(text: str, references: list[str]) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    for kind, name in (("1", "rouge1"), ("2", "rouge2"), ("l", "rougeL")):
        expected = max(scorer.score(one, text)[name].fmeasure for one in references)
        assert isclose(rouge(text, references, kind), expected, abs_tol=1e-12)
    assert rouge(text, [], "1") == 0


def test_exact_match_is_blind_to_articles_case_and_signs() -> None:
    question = Question("who", ("The Beatles", "wings"))
    assert [exact_match(text, question) for text in ("beatles.", " WINGS", "the beatles, and wings", "")] == [1, 1, 0, 0]


def test_a_list_is_judged_by_what_is_right_and_new() -> None:
    question = Question("fruits", ("apple", "cherry", "peach", "tomato", "kiwi"))
    assert list_items("1. Apples, the Cherries; and peaches.\n(Tomatoes), , kiwi") == list(question.answers)
    assert list_f1("apples, cherries, peach, tomatoes, kiwi", question) == 1
    assert count_right("apple, apple, apple, stone", question) == (1, 4)
    assert isclose(list_f1("apple, apple, apple, stone", question), 2 * (1 / 4) * (1 / 5) / (1 / 4 + 1 / 5))
    assert list_f1("", question) == list_f1("stone", question) == 0
    many = Question("numbers", tuple(f"n{place}" for place in range(40)))
    assert list_f1(", ".join(many.answers[:10]), many) == 1  # ten were asked for


def test_distinct_n_is_the_share_of_new_ones() -> None:
    assert distinct_n(["a b a b"], 1) == 0.5 and isclose(distinct_n(["a b a b"], 2), 2 / 3)
    assert distinct_n(["a", "b b b"], 2) == (1 + 1 / 2) / 2
    assert {*METRICS} == {"exact_match", "rouge_1", "rouge_2", "rouge_l", "list_f1"}


LETTERS = Characters("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ :,.<>|_/\n")
SMALL = Completer(GPT(GPTConfig(layers=1, hidden=16, heads=2, vocabulary=LETTERS.vocabulary, context=32), 3), LETTERS)


def test_a_judge_is_the_models_own_likelihood() -> None:
    ids = torch.tensor([LETTERS.encode("abcde").tolist()])
    logs = torch.log_softmax(SMALL.model(ids)[0].detach(), -1)
    expected = -float(torch.stack([logs[place, ids[0, place + 1]] for place in (1, 2, 3)]).mean())
    assert isclose(measure_nats(SMALL, "ab", "cde"), expected, rel_tol=1e-5)
    assert isclose(log(perplexity(SMALL, "ab", "cde")), expected, rel_tol=1e-5)
    assert measure_nats(SMALL, "a" * 40, "b" * 50) > 0  # beyond the context
    with pytest.raises(ValueError, match="the prompt or the text is empty"):
        measure_nats(SMALL, "", "a")
    judge, question = PerplexityJudge(SMALL, penalty=3.0, template="x{}"), Question("y", ())
    assert isclose(judge("a b", question), -measure_nats(SMALL, "xy", "a b"), rel_tol=1e-6)
    loops = "a b a b a b"
    assert isclose(judge(loops, question), -measure_nats(SMALL, "xy", loops) - 3 * (1 - 2 / 5), rel_tol=1e-6)
    assert judge(" ", question) == pytest.approx(-log(LETTERS.vocabulary))


class Parrot:
    """Completes a prompt by its length and the seed, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def complete(self, prompts: Any, parameters: DecodingParameters, seeds: Any = 0) -> list[Completion]:
        self.asked += zip(prompts, seeds, strict=True)
        return [Completion(f"{prompt} {seed % 97}", "length") for prompt, seed in zip(prompts, seeds, strict=True)]


QUESTIONS = [Question(f"q{place}", (f"{place}",)) for place in range(6)]


def test_the_objective_is_a_run_in_the_unit_of_questions(tmp_path: Path) -> None:
    """advance(2n) is advance(n), save, load, advance(n); seeds differ by question's replicate and by trial."""
    model = Parrot()
    objective = DecodingObjective(
        model, QUESTIONS, lambda rest, one: f"{rest['prompt']} {one.text}", lambda text, one: float(len({*text}) + len(one.text)),
        {"max_tokens": 4}, replicates=3,
    )  # fmt: skip
    config = {"prompt": "p", "temperature": 0.5}
    whole, first, second = (objective(config, 7, 6) for _ in range(3))
    expected = whole.advance(6)
    assert len(model.asked) == 18 and len({seed for _, seed in model.asked}) == 3
    first.advance(3)
    first.save(str(tmp_path / "half"))
    second.load(str(tmp_path / "half"))
    assert second.advance(6) == expected and second.texts == whole.texts
    assert objective(config, 8, 6).advance(6) != expected
    assert whole.parameters == DecodingParameters(max_tokens=4, temperature=0.5) and whole.rest == {"prompt": "p"}
    model.asked.clear()
    objective({**config, "temperature": 0}, 7, 6).advance(6)
    assert len(model.asked) == 6  # where nothing is drawn, once is enough
    with pytest.raises(ValueError, match="the horizon is 7 questions, but there are 6"):
        objective(config, 7, 7)
    with pytest.raises(ValueError, match=r"^top_p is 2, but must be"):
        objective({**config, "top_p": 2}, 7, 6)


def test_schedulers_judge_by_the_first_questions(tmp_path: Path) -> None:
    objective = DecodingObjective(SMALL, QUESTIONS, lambda rest, one: f"{rest['prompt']} {one.text[:1]}",
                                  lambda text, one: float(len({*text})), {"max_tokens": 6})  # fmt: skip
    space = hpo.Space.of({"prompt": ["a", "the list:"], "temperature": (0.0, 1.5), "frequency_penalty": (0.0, 2.0)})
    study = hpo.maximize(objective, space, hpo.ASHA(hpo.Random(space, seed=0), min_resource=2, max_resource=6), 8,
                         unit="questions", quiet=True, folder=tmp_path)  # fmt: skip
    budgets = {until for _, until in study.history.results}
    assert budgets >= {2, 6} and study.best.until == 6


def test_questions_are_apart_and_have_answers() -> None:
    search, held_out = load_questions()
    assert (len(search), len(held_out)) == (24, 35)
    topics = {one.text for one in (*search, *held_out)}
    assert len(topics) == 59 and not topics & {topic for shown in EXAMPLES.values() for topic in shown}
    for one in (*search, *held_out):
        assert len({*one.answers}) == len(one.answers) >= 8 and list_f1(", ".join(one.answers[:10]), one) == 1, one.text


def test_prompts_end_where_the_answer_begins() -> None:
    assert len(PROMPTS) == len(TEMPLATES) * len(EXAMPLES) == 9
    written = {write_prompt(prompt, Question("rivers", ())) for prompt in PROMPTS}
    assert len(written) == 9
    for prompt in written:
        assert prompt.count("rivers") == 1 and "{" not in prompt and prompt[-1] in ":\n"
    assert write_prompt({"template": "topic", "examples": "short"}, Question("rivers", ())).endswith("\nTopic: rivers\nList:")


class Reciter:
    """Greedily it loops; with a frequency penalty it recites what is right, more of it with the examples "both"."""

    def complete(self, prompts: Any, parameters: DecodingParameters, seeds: Any = 0) -> list[Completion]:
        answers = {one.text: one.answers for part in load_questions() for one in part}
        found = []
        for prompt in prompts:
            topic = next(topic for topic in sorted(answers, key=len, reverse=True) if topic in prompt.splitlines()[-2:][0]
                         or topic in prompt.splitlines()[-1])  # fmt: skip
            known = answers[topic][: 6 if "spring" in prompt and "alpha" in prompt else 3]
            new = known if parameters.frequency_penalty > 0.2 else known[:1] * 8
            found.append(Completion(" " + ", ".join(new), "stop"))
        return found


def test_arms_choose_by_the_search_questions_and_are_tried_on_others() -> None:
    lines = []
    for arm in ("greedy", "default", "GP"):
        search = arms.search_decoding(Reciter(), 0, 8) if arm == "GP" else arms.search_prompts(arm, Reciter(), 0)
        found = arms.try_held_out(Reciter(), search[0], 0)
        assert len(found["scores"]) == 35
        lines += [{"arm": arm, "seed": seed, "config": search[0], "value": search[1], "evaluations": search[2], "seconds": 1.0,
                   **found} for seed in room.SEEDS[arm]]  # fmt: skip
    assert lines[0]["config"] == {"temperature": 0.0, **lines[0]["config"]} and lines[0]["evaluations"] == 9
    assert {*lines[-1]["config"]} == {*arms.SPACE} and lines[-1]["evaluations"] == 14
    json.dumps(lines)
    assert all(line["value"] > 0.5 for line in lines if line["arm"] == "GP")
    verdict = CLAIM.rule(lines)
    assert verdict.holds, verdict
    table = decoding_tables(lines)
    assert "GP less greedy" in table and "| GP | 3 |" in table and "template" in table
    assert CLAIM.rule([line for line in lines if line["arm"] != "GP"]).holds is None
    turned = [{**line, "arm": {"GP": "greedy", "greedy": "GP"}.get(line["arm"], line["arm"])} for line in lines]
    assert CLAIM.rule(turned).holds is False
    looping = [{**line, "distinct_2": 0.1 if line["arm"] == "GP" else 0.9} for line in lines]
    assert CLAIM.rule(looping).holds is False


def test_the_command_prints_what_is_stored(tmp_path: Path) -> None:
    found = CliRunner().invoke(room.app, ["--table", "--results", str(tmp_path / "none.jsonl")])
    assert found.exit_code == 0 and "nothing is measured yet" in found.output
    keys = [(one.key["arm"], one.key["seed"]) for one in room.decoding_measurements()]
    assert keys[:3] == [("greedy", 0), ("default", 0), ("GP", 0)] and len({*keys}) == 7
    assert next(room.decoding_measurements()).digest
    assert room.compare_decoding({"arm": "GP", "seconds": 1, "value": 2}) == {"arm": "GP", "value": 2}


def test_contenders_write_the_same_and_are_timed_in_turns() -> None:
    pytest.importorskip("transformers")
    calls = speed.make_contenders(2, 5, {**speed.SHAPE, "layers": 2, "hidden": 48})
    seconds = speed.time_contenders(calls, rounds=2)
    assert {name: len(each) for name, each in seconds.items()} == dict.fromkeys(calls, 2)
    assert "| ours |" in speed.tabulate_seconds(seconds)
    with pytest.raises(ValueError, match="write different tokens"):
        speed.time_contenders({"ours": calls["ours"], "other": lambda: [[1]]}, 1)


@pytest.mark.slow
def test_smollm2_is_transformers_own() -> None:
    """Logits of our GPT with its weights, and tokens of our reading of its tokenizer."""
    if absent := list_absent_packages():
        pytest.skip(f"{', '.join(absent)} is not installed")
    transformers = pytest.importorskip("transformers")
    from experiments.decoding.smollm2 import find_file, load_smollm2

    ours, file = load_smollm2(), find_file()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    for text in ("Some fruits are: apple, 1234 pears\n", "<|im_start|>user\nhé!<|im_end|>\n", "  two  spaces\tand a tab"):
        ids = ours.tokenizer.encode(text)
        assert ids.tolist() == tokenizer(text)["input_ids"] and ours.tokenizer.decode(ids) == text
        with torch.inference_mode():
            found, expected = ours.model(torch.tensor(ids)[None]), theirs(torch.tensor(ids)[None]).logits
        assert np.allclose(found.numpy(), expected.numpy(), atol=2e-3)
