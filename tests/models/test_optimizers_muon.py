"""Muon: where singular values land, and that parameters are taken apart and stacked as they should be."""

import pytest
import torch
from torch import Tensor

from models.flat import flatten
from models.optimizers.matrices import stacks
from models.optimizers.muon import orthogonalise
from tests.models.test_flat import Tiny


def with_spectrum(rows: int, columns: int, singular: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    u, _ = torch.linalg.qr(torch.randn(rows, rows, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(columns, rows, generator=generator))
    return (u * singular) @ v.T


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 9), (8, 32), (32, 64), (64, 256)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_singular_values_of_random_matrices_land_near_one(rows: int, columns: int, size: float) -> None:
    x = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(0)) * size
    values = torch.linalg.svdvals(orthogonalise(x))
    assert values.min() > 0.68 and values.max() < 1.2


@pytest.mark.parametrize("condition", [1.0, 30.0, 100.0])
def test_singular_values_of_ill_conditioned_matrices_land_near_one(condition: float) -> None:
    x = with_spectrum(16, 40, torch.logspace(0, -float(torch.tensor(condition).log10()), 16))
    values = torch.linalg.svdvals(orthogonalise(x[None]))
    assert values.min() > 0.68 and values.max() < 1.2


def test_singular_vectors_are_kept() -> None:
    x = with_spectrum(12, 20, torch.linspace(1, 2, 12))
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    inside = u.T @ orthogonalise(x[None])[0] @ vh.T
    torch.testing.assert_close(inside, inside.diagonal().diag(), rtol=0, atol=1e-5)


def test_a_zero_matrix_stays_zero() -> None:
    assert not orthogonalise(torch.zeros(2, 3, 4)).any()


@pytest.mark.parametrize("splits", [False, True])
def test_stacks_are_views_of_the_same_matrix_of_every_layer(splits: bool) -> None:
    model = Tiny(splits)
    flat = flatten(model)
    found = {(stack.start, stack.rows, stack.columns): stack for stack in stacks(flat, flat.segments[0])}
    sizes = sorted((stack.count, stack.rows, stack.columns) for stack in found.values())
    assert sizes == sorted([(3, 10, 6), (3, 6, 10), *([(3, 6, 6)] * 3 if splits else [(3, 18, 6)])])
    weights = dict(model.named_parameters())
    for stack in found.values():
        assert stack.of(flat.weights).data_ptr() == flat.weights[stack.start :].data_ptr()
    start = flat.places["blocks.0.qkv.weight"][0]
    values = found[(start + 72, 6, 6) if splits else (start, 18, 6)].of(flat.weights)
    for layer in range(3):
        whole = weights[f"blocks.{layer}.qkv.weight"]
        assert torch.equal(values[layer], whole[12:] if splits else whole)


def test_stacks_of_gradients_do_not_reach_into_the_weights() -> None:
    """Both buffers are views of one storage."""
    flat = flatten(Tiny())
    flat.grads.fill_(7.0)
    assert all((stack.of(flat.grads) == 7.0).all() for one in flat.segments for stack in stacks(flat, one))


def test_matrices_at_unequal_distances_stand_alone() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 4, bias=False),
        torch.nn.Linear(4, 4, bias=False),
        torch.nn.Linear(4, 8, bias=False),
        torch.nn.Linear(8, 4, bias=False),
        torch.nn.Linear(4, 4, bias=False),
    )
    flat = flatten(model)
    found = stacks(flat, flat.segments[0])
    assert sorted((stack.start, stack.count) for stack in found if stack.rows == stack.columns) == [
        (0, 1),
        (16, 1),
        (96, 1),
    ]
