"""A computation of torch, written down operation by operation and played back with the same bits.

    tape = Tape()
    with tape:                              # operations as they come below autograd: a gradient's are among them
        value = f(x); (slope,) = torch.autograd.grad(value, [x])
    play = tape.compile([x], [value, slope])
    play(x2)                                # [value, slope] at x2

What is played is what was written down, less what need not be done again: what does not depend on the inputs is computed
once, what was computed twice is computed once, and what nobody reads is left out. Operations are not reordered, and none is
replaced but one that writes into a tensor, by the one that returns the same; so nothing is rounded otherwise. Branches are
not recorded: the caller has to know that they do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

Play = Callable[..., tuple[torch.Tensor, ...]]


class Unplayable(Exception):
    """What was recorded cannot be played back: it draws random numbers, or changes a tensor that is read by two names."""


@dataclass(frozen=True)
class Ref:
    """The k-th tensor that step `step` returns."""

    step: int
    k: int


@dataclass
class Step:
    """One operation; among the arguments, tensors stand as Ref (computed) or Tensor (given)."""

    operation: Callable[..., Any]
    arguments: list[Any]
    form: Any  # of (args, kwargs), whose leaves the arguments are

    def run(self, values: Sequence[Sequence[Any]]) -> list[Any]:
        leaves = [values[a.step][a.k] if isinstance(a, Ref) else a for a in self.arguments]
        args, kwargs = tree_unflatten(leaves, self.form)
        return list(tree_flatten(self.operation(*args, **kwargs))[0])


class Tape(TorchDispatchMode):
    """Everything that is computed while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []  # all tensors live on, so ids are names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.recorded.append((func, args, kwargs or {}, result))
        return result

    def compile(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> Play:
        """The outputs as a function of the inputs; raises Unplayable."""
        program = Program(inputs)
        for func, args, kwargs, result in self.recorded:
            program.add(func, args, kwargs, result)
        refs = [program.name_of(tensor) for tensor in outputs]
        if not all(isinstance(ref, Ref) for ref in refs):
            raise Unplayable("an output was not computed from the inputs")
        play = program.shorten(refs)
        with torch.no_grad():
            return torch.jit.trace(play, tuple(x.detach() for x in inputs), check_trace=False)  # type: ignore[no-any-return]


class Program:
    """Steps in the form in which every tensor is computed once and never changed; step 0 stands for the inputs."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        self.inputs = len(inputs)
        self.steps: list[Step | None] = [None]
        self.names: dict[int, Ref] = {id(x): Ref(0, k) for k, x in enumerate(inputs)}
        self.given = {address(x) for x in inputs}  # memory that was there before
        self.memory: dict[int, set[int]] = {}  # address -> ids of the recorded tensors that lie there
        self.stale: set[int] = set()  # ids of tensors that were changed by another name
        self.alike: dict[Any, int] = {}

    def name_of(self, tensor: torch.Tensor) -> Ref | torch.Tensor:
        """How a tensor is read: what computed it, or itself if it was there before."""
        if id(tensor) in self.stale:
            raise Unplayable("a tensor is read that was changed by another name")
        if id(tensor) in self.names:
            return self.names[id(tensor)]
        if address(tensor) in self.memory and address(tensor) not in self.given:
            raise Unplayable("a tensor is read that shares its memory with a recorded one, and was not recorded")
        self.given.add(address(tensor))
        return tensor

    def add(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unplayable(f"{func} draws random numbers")
        leaves, form = tree_flatten((args, kwargs))
        arguments = [self.name_of(x) if isinstance(x, torch.Tensor) else x for x in leaves]
        results = tree_flatten(result)[0]
        if func._schema.is_mutable:
            func = self._pure(func, leaves, results)
        step = self._step(func, arguments, form)
        for k, x in enumerate(results):
            if isinstance(x, torch.Tensor):
                self.names[id(x)] = Ref(step, k)
                self.memory.setdefault(address(x), set()).add(id(x))

    def shorten(self, outputs: Sequence[Any]) -> Play:
        """Plays the steps that the outputs need; those that need no input are run here, once."""
        depends: list[bool] = [True]
        known: list[list[Any]] = [[None] * self.inputs]
        for step in self.steps[1:]:
            assert step is not None
            depends.append(any(isinstance(a, Ref) and depends[a.step] for a in step.arguments))
            known.append([] if depends[-1] else step.run(known))
        needed, reached = set[int](), [ref.step for ref in outputs]
        while reached:
            i = reached.pop()
            if i and depends[i] and i not in needed:
                needed.add(i)
                reached += [a.step for a in self.steps[i].arguments if isinstance(a, Ref)]  # type: ignore[union-attr]

        def play(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            values = list(known)
            values[0] = list(inputs)
            for i in sorted(needed):
                values[i] = self.steps[i].run(values)  # type: ignore[union-attr]
            return tuple(values[ref.step][ref.k] for ref in outputs)

        return play

    def _step(self, func: Any, arguments: list[Any], form: Any) -> int:
        """The number of the step; that of an earlier one that is the same."""
        key = (func, str(form), *map(identity, arguments))
        if key not in self.alike:
            self.alike[key] = len(self.steps)
            self.steps.append(Step(func, arguments, form))
        return self.alike[key]

    def _pure(self, func: Any, leaves: list[Any], results: list[Any]) -> Any:
        """The operation that returns what this one writes into its first argument."""
        target = leaves[0]
        if len(results) != 1 or results[0] is not target:
            raise Unplayable(f"{func} writes to something that it does not return")
        if address(target) in self.given:
            raise Unplayable(f"{func} writes to a tensor that was there before")
        packet = getattr(torch.ops.aten, func._schema.name.removeprefix("aten::").removesuffix("_"), None)
        if packet is None or func._overloadname not in packet.overloads():
            raise Unplayable(f"{func} has no form that writes to nothing")
        self.stale |= self.memory[address(target)] - {id(target)}
        return getattr(packet, func._overloadname)


def identity(argument: Any) -> Any:
    """What two arguments have in common if they are the same."""
    if isinstance(argument, Ref):
        return argument
    return type(argument), id(argument) if isinstance(argument, torch.Tensor) else repr(argument)


def address(tensor: torch.Tensor) -> int:
    """Where a tensor's memory begins; one without memory shares it with nothing."""
    return tensor.untyped_storage().data_ptr() if tensor.numel() else id(tensor)
