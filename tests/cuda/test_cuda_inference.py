"""On a CUDA device: inference is measured there, and the model stays where it was."""

import torch

from models.inference import measure_inference
from tests.cuda.device import make, one_device

pytestmark = one_device


def test_a_model_of_the_cpu_is_measured_on_a_copy() -> None:
    model = make({}, device="cpu").model
    state = torch.cuda.get_rng_state()
    for precision in ("float32", "bf16", "fp16"):
        found = measure_inference(model, batch=2, device="cuda", precision=precision, warmup=1, repeats=3)
        assert found.device == torch.cuda.get_device_name() and 0 < found.forward.low <= found.forward.high
    assert next(model.parameters()).device.type == "cpu" and torch.equal(torch.cuda.get_rng_state(), state)


def test_a_clock_is_read_only_when_the_device_has_finished() -> None:
    model, late = make({}).model, []

    def clock() -> float:
        late.append(not torch.cuda.current_stream().query())
        return float(len(late))

    found = measure_inference(model, warmup=0, repeats=5, clock=clock)
    assert len(late) == 20 and not any(late) and found.forward.median == 1.0
