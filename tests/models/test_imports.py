"""What a worker pays before its first step: the modules that building and training a GPT import, beside torch's own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# torch's compiler and what it computes with: 0.4 to 1 second of every worker, and of no use to a run that is not compiled.
DEAR = ("sympy", "mpmath", "torch.fx.experimental", "torch._dynamo", "torch._inductor")
CONFIGS = [
    {},
    {"precision": "bf16", "dropout": 0.1, "attention_dropout": 0.1, "hypergradient": 0.1},
    {"optimizer": "muon", "positions": "rotary", "norm": "rms", "qk_norm": True, "kv_heads": 1, "ema": 0.9},
    {"optimizer": "adafactor", "attention_dropout": 0.1, "layer_dropout": 0.1, "spike": 5.0, "noise_every": 2},
    {"activation_checkpointing": True, "dropout": 0.1, "precision": "bf16"},
    {"optimizer": "lion", "nonfinite": "skip", "precision": "fp16"},
]
SCRIPT = f"""
import sys
import torch
before = set(sys.modules)
from models.gpt import GPT
from models.config import GPTConfig
GPT(GPTConfig(vocabulary=65))
print(*(set(sys.modules) - before))
from tests.models.tiny import STEP, make
for config in {CONFIGS!r}:
    make(config).advance(3 * STEP)
    print(*(set(sys.modules) - before))
"""


def test_building_and_training_a_gpt_import_no_compiler() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.split()
    assert "models.gpt" in imported
    assert [name for name in imported if name in DEAR or name.startswith(tuple(f"{one}." for one in DEAR))] == []
