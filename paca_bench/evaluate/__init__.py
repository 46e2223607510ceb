"""Checkpoints on labelled images: ``paca-bench evaluate``. Importing it imports no torch."""

from paca_bench.evaluate.result import evaluation_json as evaluation_json
from paca_bench.evaluate.run import Evaluation as Evaluation
from paca_bench.evaluate.run import prepare as prepare
from paca_bench.evaluate.text import print_evaluation as print_evaluation
from paca_bench.evaluate.text import progress as progress
