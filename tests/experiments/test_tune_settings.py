"""Settings: what is allowed, files and back, what may change when a study goes on."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from experiments.tune.settings import CHANGEABLE, SAMPLERS, SCHEDULERS, Settings, read_toml
from hpo import OPTIMIZERS


def test_every_optimizer_is_a_sampler_or_a_scheduler() -> None:
    assert {*SAMPLERS, *SCHEDULERS} - {"none"} == set(OPTIMIZERS)


def test_toml_there_and_back(tmp_path: Path) -> None:
    made = Settings(sampler="random", trials=7, text='od"d\\näme λ🙂', seconds=1.5, reduction_factor=2.5, folder="a/b")
    (tmp_path / "s.toml").write_text(made.to_toml({"python": "3.11"}), encoding="utf-8")
    values, versions = read_toml(tmp_path / "s.toml")
    assert Settings.of(values) == made
    assert versions == {"python": "3.11"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sampler", "asha"), ("scheduler", "gp"), ("tokenizer", "word"), ("workers", 0), ("workers", True), ("seed", -1),
        ("seconds", 0), ("seconds", float("nan")), ("seconds", "60"), ("trials", 0), ("device", "tpu"), ("text", " "),
        ("precision", "int8"), ("reduction_factor", 1), ("min_resource", 10**9), ("min_resource", 100), ("context", 1),
        ("space", "huge"), ("memory", 0), ("memory", 1.5), ("memory", "8 GB"), ("engine", "fast"),
        ("activation_checkpointing", 1), ("activation_checkpointing", "yes"), ("activation_checkpointing", None),
        ("kernels", 1), ("kernels", "on"), ("disk", "20G"), ("disk", 0),
    ],
)  # fmt: skip
def test_one_sentence_names_setting_value_and_what_is_allowed(name: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        Settings(**{name: value})
    said = str(caught.value)
    assert said.startswith(f"{name} is {value!r}, but must be ")
    assert "\n" not in said


def test_unknown_setting_and_bad_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown setting 'speed'; allowed are sampler, "):
        Settings.of({"speed": 3})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("seed = = 3")
    with pytest.raises(ValueError, match="is not TOML"):
        read_toml(tmp_path / "bad.toml")


def test_differences_name_what_may_not_change() -> None:
    assert Settings().differences(replace(Settings(), seed=4)) == ["seed was 4 and is now 0"]
    free = replace(Settings(), seconds=9.0, trials=3, workers=5, folder="x", disk="20GB")
    assert Settings().differences(free) == []
    assert set(CHANGEABLE) <= {f.name for f in fields(Settings)}
