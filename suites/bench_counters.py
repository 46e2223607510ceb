"""What a sweep computes before it measures: closed forms, counts, predicted memory, plans."""

from __future__ import annotations

import torch
from pytest_benchmark.fixture import BenchmarkFixture

import paca_bench
from paca_bench.complexity.dispatch import count
from paca_bench.complexity.memory import predict_case_memory
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.plan import make_plan
from paca_bench.predicted_time import Machine
from paca_bench.record import Case
from paca_bench.spec import make_spec

MODEL = "pacavit_tiny_p2cconv_100_0"
CASE = Case(level="model", mechanism=MODEL, host="", height=512, width=512, mode="forward")


def test_closed_form_of_a_model(benchmark: BenchmarkFixture) -> None:
    cost = benchmark(lambda: paca_bench.model_cost(MODEL, height=512, width=512).macs)
    assert cost > 0


def test_count_of_every_operator(benchmark: BenchmarkFixture) -> None:
    with torch.device("meta"):
        model = build_subject(CASE)
    assert benchmark(count, model, input_shape(CASE)).macs > 0


def test_predicted_memory(benchmark: BenchmarkFixture) -> None:
    assert benchmark(predict_case_memory, CASE).peak_bytes > 0


def test_plan_of_the_main_job(benchmark: BenchmarkFixture) -> None:
    spec = make_spec({"res": "224..1024"})
    assert benchmark(make_plan, spec, "cpu", Machine.nominal("cpu"))
