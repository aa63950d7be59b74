"""A script that knows nothing of hpo: it prints its loss every step, and goes on from a folder if it is given one.

    python training_script.py --lr=0.1 --steps=9 [--pause=0.01] [--until=3 --dir=FOLDER] [--fail=how] [--json] [--config=FILE]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--steps", type=int, default=9)
parser.add_argument("--until", type=int)
parser.add_argument("--dir", type=Path)
parser.add_argument("--begin", default="")
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--fail", default="")
parser.add_argument("--json", action="store_true")
parser.add_argument("--config", type=Path)
args = parser.parse_args()
if args.config:
    args.lr = json.loads(args.config.read_text())["lr"]

step, x = 0, 1.0
if args.dir and (args.dir / "state.json").exists():
    step, x = json.loads((args.dir / "state.json").read_text())
print(f"begins at {step} {args.begin} {os.environ.get('LR', '')}", file=sys.stderr)
if args.fail in ("child", "session"):  # something that outlives the script; in a session of its own, as torchrun has its workers
    alone = args.fail == "session"
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=alone)
    Path(os.environ["CHILD"]).write_text(str(child.pid))
if args.fail == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while step < (args.until or args.steps):
    time.sleep(args.pause)
    step, x = step + 1, x * (1.0 - args.lr)
    if args.fail == "status" and step == 3:
        sys.exit("out of luck")
    if args.fail == "signal" and step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    loss = "n/a" if args.fail == "text" else f"{x:.9f}"
    if args.fail != "silent":
        entry = json.dumps({"step": step, "loss": x, "note": "ok"})
        print(entry if args.json else f"step {step}: train loss 9.9, val loss {loss}")
if args.dir:
    (args.dir / "state.json").write_text(json.dumps([step, x]))
