"""The length of vectors, also if squares of their elements (above 1e19) do not fit into float32.

A length is computed in float32. If the result is infinite, it is computed again in float64, which holds squares of float32. On a
CPU it costs nothing to look at the result. On a GPU that would wait for the device, so float64 is used there from the start; it
takes no longer, because the time goes into reading memory.
"""

from math import isfinite

import torch
from torch import Tensor


def length(x: Tensor) -> Tensor:
    """The Euclidean norm of all elements, (); in float64 if float32 cannot hold it. Not finite if an element is not."""
    if x.device.type != "cpu" or x.dtype == torch.float64:
        return torch.linalg.vector_norm(x, dtype=torch.float64)
    norm = torch.linalg.vector_norm(x)
    return norm if isfinite(norm.item()) else torch.linalg.vector_norm(x, dtype=torch.float64)


def normalise(x: Tensor, dims: tuple[int, ...], least: float) -> Tensor:
    """x divided by its norms along some dimensions; norms below `least` count as `least`."""
    if x.device.type == "cpu":
        norm = torch.linalg.vector_norm(x, dim=dims, keepdim=True)
        if isfinite(norm.sum().item()):
            return x / norm.clamp(min=least)
    x = x / x.abs().amax(dim=dims, keepdim=True).clamp(min=1.0)
    return x / torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp(min=least)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of the angle between two flat tensors, (); 0 if one of them is zero or not finite."""
    dot, of_a, of_b = torch.dot(a, b), torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    if a.device.type == "cpu" and not isfinite((dot + of_a + of_b).item()):
        a, b = (one / one.abs().max() for one in (a, b))
        dot, of_a, of_b = torch.dot(a, b), torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    return (dot / of_a / of_b).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
