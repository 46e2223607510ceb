"""``paca-bench evaluate``: from a checkpoint and a folder to accuracies that are known."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from paca_bench import cli
from paca_bench.evaluate import evaluation_json, prepare
from paca_bench.evaluate.run import Evaluation
from paca_bench.models.registry import create_model
from tests.command import Result, typed
from tests.evaluate.colours import (
    CLASSES,
    NAME,
    colours_checkpoint,
    colours_weights,
    make_folder,
    register_colours,
)

ONE_RED_EACH = {name: ["red"] for name in CLASSES}


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command in this process, in a folder with a checkpoint, as if typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    register_colours(monkeypatch)
    colours_checkpoint(tmp_path / "w.pth")

    def call(*arguments: object, checkpoint: str = "w.pth", data: str = "folder:data") -> Result:
        given = ("--model", NAME, "--checkpoint", checkpoint, "--data", data, "--res", "32")
        return typed(("evaluate", *given, *arguments), monkeypatch, capsys)

    return call


def content(path: str = "out.json") -> Any:
    return json.loads(Path(path).read_text())


def test_known_answers_give_the_known_accuracies(run: Run) -> None:
    """Of the red images class k has rank k, of the black ones rank 5 - k."""
    make_folder(Path("data/val"), {**ONE_RED_EACH, "a": ["red", "red", "black"]})
    result = run("--json", "out.json")
    assert (result.code, result.err) == (0, "")
    [row] = content()["rows"]
    assert row["images"] == 8
    # Rank 0: two red in a. Rank 5: the black in a, the red in f.
    assert row["top1"]["value"] == 2 / 8
    assert row["top5"]["value"] == 6 / 8
    assert row["top1"]["low"] < 2 / 8 < row["top1"]["high"]
    assert row["top1"]["method"] == "95% Wilson interval over 8 images"
    assert row["published_top1_percent"] is None
    assert row["published_why_none"] == "no top-1 is published for this model"
    shown = f"{100 * row['top1']['low']:.2f}, {100 * row['top1']['high']:.2f}"
    assert "25.00" in result.out
    assert shown in result.out
    assert "75.00" in result.out
    assert "8 images of data/val" in result.out


def test_the_json_says_what_was_evaluated_and_how(run: Run) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    run("-o", "out.json", "--batch", "2", "--res", "32,48", "--autocast", "bfloat16")
    made = content()
    assert made["schema"] == 1
    assert made["complete"] is True
    assert (made["model"], made["checkpoint"], made["data"]) == (NAME, "w.pth", "data")
    assert (made["num_classes"], made["classes_present"], made["images_found"]) == (6, 6, 6)
    assert made["computing"] == "float32 under autocast to bfloat16"
    assert made["environment"]["device"] == "cpu"
    assert len(made["checkpoint_sha256"]) == 64
    assert [row["resolution"] for row in made["rows"]] == [32, 48]
    for row in made["rows"]:
        assert "shorter side to" in row["preprocessing"]
        for rate in (row["model_images_per_s"], row["images_per_s"]):
            assert 0 < rate["low"] <= rate["value"] <= rate["high"]
            assert "2 groups of consecutive batches" in rate["method"]


def test_a_single_batch_has_no_rate_and_says_so(run: Run) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    result = run("--json", "out.json", "--batch", "6")
    assert content()["rows"][0]["images_per_s"] is None
    assert "images/s needs three batches for an interval" in result.out


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_the_batch_size_changes_no_accuracy(run: Run, batch: int) -> None:
    make_folder(Path("data"), {**ONE_RED_EACH, "b": ["red", "black", "red"]})
    run("--json", "out.json", "--batch", batch)
    [row] = content()["rows"]
    assert (row["top1"]["value"], row["top5"]["value"]) == (1 / 8, 7 / 8)


def test_an_unreadable_image_is_named_or_counted(run: Run) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    Path("data/c/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    result = run()
    assert result.code == 2
    assert result.err.startswith("paca-bench: cannot read data/c/broken.png as an image")
    assert result.err.count("\n") == 1
    result = run("--bad-images", "skip", "--json", "out.json")
    assert result.code == 0
    assert "skipped: 1 files that cannot be read: data/c/broken.png" in result.out
    [row] = content()["rows"]
    assert [one["path"] for one in row["skipped"]] == ["data/c/broken.png"]
    assert (row["images"], row["top1"]["value"]) == (6, 1 / 6)


def test_where_no_image_can_be_read_nothing_is_measured(run: Run) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    for path in Path("data").rglob("*.png"):
        path.write_bytes(b"no image")
    result = run("--bad-images", "skip", "--json", "out.json")
    assert result.code == 3
    assert "32 px: not measured: no image can be read" in result.out
    assert content()["rows"][0]["top1"] is None


def test_a_subset_of_the_classes_keeps_all_logits(run: Run) -> None:
    make_folder(Path("data"), {"c": ["red"], "a": ["red"]})
    result = run()
    assert result.code == 2
    assert (
        "data has 2 class folders (a, c), but the classifier in w.pth has 6 outputs" in result.err
    )
    Path("names.txt").write_text("\n".join(CLASSES))
    result = run("--classes", "names.txt", "--json", "out.json")
    assert result.code == 0
    assert content()["rows"][0]["top1"]["value"] == 1 / 2
    assert "images of 2 of the 6 classes; each is sought among all 6" in result.out


def test_five_classes_have_no_top_5(run: Run) -> None:
    make_folder(Path("data"), {name: ["red"] for name in CLASSES[:5]})
    colours_checkpoint(Path("five.pth"), classes=5)
    run("--json", "out.json", checkpoint="five.pth")
    assert content()["rows"][0]["top5"] is None


def test_empty_class_folders(run: Run) -> None:
    make_folder(Path("data"), {**ONE_RED_EACH, "d": []})
    assert "have no images" in run().err
    result = run("--bad-images", "skip")
    assert result.code == 0
    assert "1 class folders have no images: d" in result.out


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("the checkpoint ran code",))


def test_a_checkpoint_with_code_in_it_runs_nothing(run: Run) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    torch.save({**colours_weights(), "extra": _Code()}, "evil.pth")
    result = run(checkpoint="evil.pth")
    assert result.code == 2
    assert "could run code when read" in result.err
    assert "the checkpoint ran code" not in result.out


def test_weights_that_are_not_finite_have_no_accuracy(run: Run) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    torch.save({**colours_weights(), "head.bias": torch.full((6,), float("nan"))}, "nan.pth")
    result = run(checkpoint="nan.pth")
    assert result.code == 2
    assert "not finite" in result.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--checkpoint", "absent.pth"), "no checkpoint file at absent.pth"),
        (("--model", "nope"), "unknown model 'nope'"),
        (("--model", "pvt_v2_b0", "--res", "224"), "does not fit pvt_v2_b0"),
        (("--model", "pvt_tiny", "--res", "16"), "PVT takes images of at least"),
        (("--data", "folder:absent"), "no such folder"),
        (("--data", "folder:empty"), "no class folders"),
        (("--data", "mnist5k"), "write --data folder:DIR"),
        (("--res", "0"), "--res"),
        (("--res", "big"), "--res"),
        (("--batch", "0"), "--batch"),
        (("--batch", "2,4"), "--batch takes one value, not 2, 4"),
        (("--dtype", "int8"), "--dtype"),
        (("--dtype", "float64", "--autocast", "bfloat16"), "autocast works on float32"),
        (("--device", "tpu"), "--device"),
        (("--bad-images", "ignore"), "--bad-images"),
        (("--option", "flavour=3"), "no option 'flavour'"),
        (("--option", "flavour"), "NAME=VALUE"),
        (("--classes", "absent.txt"), "cannot read --classes absent.txt"),
        (("--plugin", "absent.py"), "no such file"),
        (("--json", "no/out.json"), "does not exist"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(run: Run, arguments: tuple[str, ...], says: str) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    Path("empty").mkdir()
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("paca-bench: ")
    assert result.err.count("\n") == 1
    assert says in result.err


@pytest.mark.parametrize("missing", ["--model", "--checkpoint", "--data"])
def test_what_must_be_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    typed = {"--model": "pvt_tiny", "--checkpoint": "w.pth", "--data": "folder:data"}
    del typed[missing]
    words = [word for pair in typed.items() for word in pair]
    monkeypatch.setattr(sys, "argv", ["paca-bench", "evaluate", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "needs --model NAME, --checkpoint FILE and --data" in capsys.readouterr().err


def test_an_interruption_keeps_the_finished_resolutions(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    rows = Evaluation.rows

    def interrupted(self: Evaluation, observer: Any) -> Any:
        yield next(rows(self, observer))
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluation, "rows", interrupted)
    result = run("--res", "32,48", "--json", "out.json")
    assert result.code == 130
    assert "interrupted" in result.err
    assert content()["complete"] is False
    assert [row["resolution"] for row in content()["rows"]] == [32]


def test_where_memory_runs_out_the_next_resolution_is_tried(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(Path("data"), ONE_RED_EACH)
    row = Evaluation._row

    def small_machine(self: Evaluation, side: int, observer: Any) -> Any:
        if side > 32:
            raise torch.OutOfMemoryError("out of memory")
        return row(self, side, observer)

    monkeypatch.setattr(Evaluation, "_row", small_machine)
    result = run("--res", "48,32", "--json", "out.json")
    assert result.code == 0
    large, small = content()["rows"]
    assert large["reason"] == "out of memory in batches of 64; take a smaller --batch"
    assert large["top1"] is None
    assert small["top1"]["value"] == 1 / 6
    assert run("--res", "48").code == 3


def test_published_models_are_evaluated_at_several_sizes(tmp_path: Path) -> None:
    """A DeiT, whose position table must follow the size; beside it, what is published."""
    torch.manual_seed(0)
    options = {"dim": 12, "depth": 1}
    model = create_model("deit_tiny_patch16_224", num_classes=3, img_size=32, **options)
    torch.save(model.state_dict(), tmp_path / "deit.pth")
    make_folder(tmp_path / "data", {name: ["red", "blue", "black"] for name in "abc"})
    data = f"folder:{tmp_path / 'data'}"
    evaluation = prepare(
        "deit_tiny_patch16_224", tmp_path / "deit.pth", data, res="32,64", options=options
    )
    heard: list[tuple[int, int]] = []
    small, large = evaluation.rows(lambda side, images: heard.append((side, images)))
    assert heard == [(32, 9), (64, 9)]
    # A colour is seen in each class, so that one answer a colour is right.
    assert small.top1 is not None
    assert small.top1.value == 3 / 9
    assert small.notes == ()
    assert "pos_embed was interpolated from 5 to 17 positions" in large.notes[0]
    assert "other settings" in large.published.why_none
    made = evaluation_json(evaluation.header, [small, large], complete=True)
    assert json.loads(json.dumps(made, allow_nan=False))["options"] == options


def test_the_published_top1_stands_beside_ours(tmp_path: Path) -> None:
    model = create_model("pvt_v2_b0")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    names = [f"n{number:08d}" for number in range(1000)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    make_folder(tmp_path / "data", {names[7]: ["red"]})
    evaluation = prepare(
        "pvt_v2_b0",
        tmp_path / "w.pth",
        f"folder:{tmp_path / 'data'}",
        classes=tmp_path / "names.txt",
        threads=1,
    )
    [row] = evaluation.rows()
    assert row.side == 224
    assert row.published.percent == 70.5
    assert row.top1 is not None
    assert row.difference == pytest.approx(100 * row.top1.value - 70.5)
    assert any("50,000 images of ImageNet" in note for note in evaluation.header.notes)


def test_images_are_read_as_the_model_s_evaluation_reads_them(run: Run) -> None:
    """The border that the crop leaves out decides nothing; with it the red would be below zero."""
    make_folder(Path("data"), ONE_RED_EACH)
    framed = Image.new("RGB", (64, 64), "black")
    framed.paste((140, 0, 0), (4, 4, 60, 60))
    framed.save("data/a/0.png")
    run("--json", "out.json")
    assert content()["rows"][0]["top1"]["value"] == 1 / 6
