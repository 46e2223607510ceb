"""Predicted peak memory of many cases, over several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch
from torch import nn

from paca_bench.complexity.memory import (
    MemoryPrediction,
    build_on_meta,
    check_case_mode,
    predict_built_case,
)
from paca_bench.errors import PacaBenchError, UnsupportedError
from paca_bench.models.subject import build_subject
from paca_bench.plugins import load_plugins
from paca_bench.record import Case

Prediction = MemoryPrediction | PacaBenchError


def predict_case_memories(
    cases: Sequence[Case],
    *,
    processes: int = 1,
    plugins: Sequence[str] = (),
) -> list[Prediction]:
    """Predict the peak of each case; see ``memory.predict_case_memory``.

    Args:
        cases: in any order; those that differ in mode, batch and dtype alone share their
            module.
        processes: how many work on it; with 1, or for a single module, it is this one. A
            script that asks for more must keep its entry behind ``if __name__ == "__main__"``.
        plugins: files that the cases' mechanisms come from, for all processes.

    Returns:
        One for each case, in their order: the prediction, or why there is none. Whatever goes
        wrong with a case ends that case alone.

    Raises:
        PluginError: a plugin cannot be loaded.
    """
    load_plugins(plugins)
    groups = _groups(cases)
    if processes <= 1 or len(groups) <= 1:
        found = [_predict_group(group) for group in groups.values()]
    else:
        with _pool(processes, plugins) as pool:
            found = list(pool.map(_predict_group, groups.values()))
    by_case = dict(_pairs(groups, found))
    return [by_case[case] for case in cases]


def _groups(cases: Sequence[Case]) -> dict[Case, list[Case]]:
    """The different cases, by what their module is built for."""
    groups: dict[Case, list[Case]] = {}
    for case in dict.fromkeys(cases):
        subject = replace(case, mode="forward", batch=1, dtype="float32")
        groups.setdefault(subject, []).append(case)
    return groups


def _pairs(
    groups: dict[Case, list[Case]], found: list[list[Prediction]]
) -> Iterator[tuple[Case, Prediction]]:
    for group, predictions in zip(groups.values(), found, strict=True):
        yield from zip(group, predictions, strict=True)


def _predict_group(cases: Sequence[Case]) -> list[Prediction]:
    """The predictions of cases that share a module."""
    try:
        module = build_on_meta(lambda: build_subject(cases[0]))
    except Exception as error:
        return [_as_ours(case, error) for case in cases]
    return [_predict(case, module) for case in cases]


def _predict(case: Case, module: nn.Module) -> Prediction:
    try:
        check_case_mode(case)
        return predict_built_case(case, module)
    except Exception as error:
        return _as_ours(case, error)


def _as_ours(case: Case, error: Exception) -> PacaBenchError:
    """What ends this case: sizes that torch cannot address, or a fault in a user's mechanism."""
    if isinstance(error, PacaBenchError):
        return error
    text = (str(error).strip().splitlines() or [""])[0]
    return UnsupportedError(
        f"no memory can be predicted for {case.id}: {type(error).__name__}: {text}"
    )


def _pool(processes: int, plugins: Sequence[str]) -> ProcessPoolExecutor:
    """Processes that begin with what all predictions need."""
    # A fork of this process would inherit its threads in whatever state they are.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=_start,
        initargs=(torch.get_num_threads(), tuple(plugins)),
    )


def _start(threads: int, plugins: Sequence[str]) -> None:
    """What a kernel holds for itself depends on the threads of the process that asks."""
    torch.set_num_threads(threads)
    load_plugins(plugins)
