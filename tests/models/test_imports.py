"""What a worker pays before its first step: the modules that building and training a GPT import, beside torch's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# torch's compiler and what it computes with: 0.4 to 1 second of every worker, and of no use to a run that is not compiled.
DEAR = ("sympy", "mpmath", "torch.fx.experimental", "torch._dynamo", "torch._inductor")
SCRIPT = """
import sys
import torch
before = set(sys.modules)
from models.gpt import GPT
from models.config import GPTConfig
GPT(GPTConfig(vocabulary=65))
print(*(set(sys.modules) - before))
if {train}:
    from tests.models.tiny import STEP, make
    for config in ({config}, {{"optimizer": "muon", "positions": "rotary", "norm": "rms", "qk_norm": True}}):
        run = make(config)
        run.advance(3 * STEP)
    print(*(set(sys.modules) - before))
"""


@pytest.mark.parametrize(
    ("train", "config"), [(False, "{}"), (True, '{"precision": "bf16", "activation_checkpointing": True, "dropout": 0.1}')]
)
def test_building_and_training_a_gpt_import_no_compiler(train: bool, config: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(train=train, config=config)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.split()
    assert "models.gpt" in imported
    assert [name for name in imported if name in DEAR or name.startswith(tuple(f"{one}." for one in DEAR))] == []
