"""The length of vectors whose squares do not fit into float32, though every element does (above 1e19).

A length is measured in float32, as it is everywhere, and where that comes out infinite once more in float64, which squares of
float32 fit into. On a CPU one looks at the result, which costs nothing; a device that would have to be waited for measures in
float64 at once, which takes no longer, because memory is what it waits for.
"""

from math import isfinite

import torch
from torch import Tensor


def length(x: Tensor) -> Tensor:
    """The Euclidean norm of all elements, (); float64 where float32 cannot hold it. Not finite where an element is not."""
    if x.device.type != "cpu" or x.dtype == torch.float64:
        return torch.linalg.vector_norm(x, dtype=torch.float64)
    norm = torch.linalg.vector_norm(x)
    return norm if isfinite(norm.item()) else torch.linalg.vector_norm(x, dtype=torch.float64)


def normalise(x: Tensor, dims: tuple[int, ...], least: float) -> Tensor:
    """x over its norms along some dimensions, which are taken for `least` where they are smaller."""
    if x.device.type == "cpu":
        norm = torch.linalg.vector_norm(x, dim=dims, keepdim=True)
        if isfinite(norm.sum().item()):
            return x / norm.clamp(min=least)
    x = x / x.abs().amax(dim=dims, keepdim=True).clamp(min=1.0)
    return x / torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp(min=least)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of the angle between two flat tensors, (); 0 where one of them is zero or not finite."""
    dot, of_a, of_b = torch.dot(a, b), torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    if a.device.type == "cpu" and not isfinite((dot + of_a + of_b).item()):
        a, b = (one / one.abs().max() for one in (a, b))
        dot, of_a, of_b = torch.dot(a, b), torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    return (dot / of_a / of_b).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
