"""Settings, suites and Python values to one frozen spec, and back to JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench import spec as spec_module
from paca_bench.errors import SpecError
from paca_bench.spec import (
    SweepSpec,
    make_spec,
    parse_settings,
    read_suite,
    suite_names,
    suite_title,
)

# setting -> (as typed, as TOML has it, field, its value)
SETTINGS: dict[str, tuple[str, Any, str, Any]] = {
    "res": ("64,96", [64, 96], "resolutions", ((64, 64), (96, 96))),
    "mechanism": ("vit, paca", ["vit", "paca"], "mechanisms", ("vit", "paca")),
    "model": ("deit_tiny,timm:x", ["deit_tiny", "timm:x"], "models", ("deit_tiny", "timm:x")),
    "level": ("layer,model", ["layer", "model"], "levels", ("layer", "model")),
    "host": ("tiny", "tiny", "host", "tiny"),
    "stage": ("1,4", [1, 4], "stages", (1, 4)),
    "clusters": ("0,49,4-3-2-01", [0, "49", "4-3-2-1"], "clusters", (0, 49, "4-3-2-1")),
    "option": (
        ["clustering=conv,mlp", "cluster_norm=false"],
        {"clustering": ["conv", "mlp"], "cluster_norm": False},
        "options",
        (("clustering", ("conv", "mlp")), ("cluster_norm", (False,))),
    ),
    "mode": ("train", ["train"], "modes", ("train",)),
    "batch": ("1,8", [1, 8], "batches", (1, 8)),
    "dtype": ("bfloat16,float32", ["bfloat16", "float32"], "dtypes", ("bfloat16", "float32")),
    "kernel": ("math,flash", ["math", "flash"], "kernels", ("math", "flash")),
    "memory_format": ("channels_last", "channels_last", "memory_formats", ("channels_last",)),
    "compile": (
        "none,max-autotune",
        ["none", "max-autotune"],
        "compiles",
        ("none", "max-autotune"),
    ),
    "tf32": ("on", ["on"], "tf32s", ("on",)),
    "autocast": ("none,float16", ["none", "float16"], "autocasts", ("none", "float16")),
    "device": ("cuda:1", "cuda:1", "device", "cuda:1"),
    "metrics": ("memory,macs", ["memory", "macs"], "metrics", ("complexity", "memory")),
    "budget": ("5m", 300, "budget_s", 300.0),
    "precision": ("5%", 0.05, "precision", 0.05),
    "processes": ("4", 4, "processes", 4),
    "timeout": ("90s", 90, "timeout_s", 90.0),
    "threads": ("2", 2, "threads", 2),
    "allocator": ("system", "system", "allocator", "system"),
    "seed": ("2147483647", 2**31 - 1, "seed", 2**31 - 1),
    "data": ("folder:images", "folder:images", "data", "folder:images"),
    "accuracy_level": ("host", ["host"], "accuracy_levels", ("host",)),
    "task": ("segment", "segment", "task", "segment"),
    "head": ("linear,paca", ["linear", "paca"], "heads", ("linear", "paca")),
    "accuracy_res": ("32,64", [32, 64], "accuracy_resolutions", ((32, 32), (64, 64))),
    "seeds": ("5", 5, "seeds", 5),
    "doctor": (False, False, "doctor", False),
    "bad_images": ("skip", "skip", "bad_images", "skip"),
    "train_budget": ("images:50k", "images:50000", "train_budget", "images:50000"),
    "plugin": ("a.py", ["a.py"], "plugins", ("a.py",)),
}


def test_every_field_has_a_setting_and_every_setting_is_tested() -> None:
    assert SETTINGS.keys() == spec_module._KEYS.keys()
    assert {field for _, _, field, _ in SETTINGS.values()} == {
        field.name for field in dataclasses.fields(SweepSpec)
    }


@pytest.mark.parametrize("key", SETTINGS)
def test_a_setting_as_typed_and_as_in_toml(key: str) -> None:
    typed, toml, field, expected = SETTINGS[key]
    assert parse_settings({key: typed})[field] == expected
    assert parse_settings({key: toml})[field] == expected


@pytest.mark.parametrize("key", SETTINGS)
@pytest.mark.parametrize(
    "value", [True, None, [], {}, {"a": 1}, [[]], "", 1.5, -1, ["a", 1], "a,,b"]
)
def test_any_toml_value_is_taken_or_refused_by_its_name(key: str, value: Any) -> None:
    """Whatever stands in a suite gives a field of the right type or one clear line."""
    refusal = ""
    parsed: dict[str, Any] = {}
    try:
        parsed = parse_settings({key: value})
    except SpecError as error:
        refusal = str(error)
    if parsed:
        spec = dataclasses.replace(make_spec({"res": "32"}), **parsed)
        assert SweepSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    else:
        assert f"--{key.replace('_', '-')} " in refusal
        assert "\n" not in refusal


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mechanism", 5),
        ("mechanism", True),
        ("mechanism", {"vit": 1}),
        ("mechanism", [["vit"]]),
        ("plugin", 5),
        ("host", ["nano"]),
        ("host", 5),
        ("data", 5),
        ("data", ""),
        ("allocator", "tuned,system"),
        ("device", "cuda:"),
        ("device", "cuda:²"),
        ("device", "cuda:-1"),
        ("device", "cuda:" + "9" * 5000),
        ("device", "tpu"),
        ("precision", "0"),
        ("precision", "100%"),
        ("precision", "nan"),
        ("precision", "%"),
        ("precision", "2%%"),
        ("processes", "3,4"),
        ("processes", 0),
        ("stage", 5),
        ("batch", 0),
        ("dtype", "int8"),
        ("mode", "fit"),
        ("metrics", "flop"),
        ("seed", -1),
        ("seed", 2**31),
        ("accuracy_res", "33"),
    ],
)
def test_refused(key: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"^--{key.replace('_', '-')} "):
        parse_settings({key: value})


def test_models_are_measured_at_their_level_and_at_no_other() -> None:
    assert make_spec({"res": 32, "model": "deit_tiny"}).levels == ("model",)
    both = make_spec({"res": 32, "model": "deit_tiny", "level": "host,model"})
    assert both.levels == ("host", "model")
    with pytest.raises(SpecError, match="--model is measured at level model, but --level is host;"):
        make_spec({"res": 32, "model": "deit_tiny", "level": "host"})


def test_metrics_come_in_the_order_of_measurement_and_static_counts_are_one_group() -> None:
    assert parse_settings({"metrics": "accuracy,flops,params,latency"}) == {
        "metrics": ("complexity", "latency", "accuracy")
    }


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"unknown setting 'cluster'; did you mean 'clusters'\?"):
        parse_settings({"cluster": 4})


def test_no_resolution_says_what_to_add() -> None:
    with pytest.raises(SpecError, match=r"add for example --res 224\.\.1024"):
        make_spec({"mechanism": "vit"})


SPECS = st.fixed_dictionaries(
    {"res": st.just("32,64x96")},
    optional={
        key: st.sampled_from([typed, toml])
        for key, (typed, toml, _, _) in SETTINGS.items()
        if key != "res"
    },
).map(lambda values: make_spec({**values, **({"task": "segment"} if "head" in values else {})}))


@given(SPECS)
@settings(max_examples=60, deadline=None)
def test_a_spec_survives_json(spec: SweepSpec) -> None:
    assert SweepSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_spec_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_spec({"res": 32}).seed = 1


def test_a_run_of_an_earlier_version_still_says_its_steps() -> None:
    for steps, budget in ((0, "default"), (40, "steps:40")):
        assert parse_settings({"train_steps": steps}) == {"train_budget": budget}
        earlier = make_spec({"res": 32}).to_json()
        del earlier["train_budget"], earlier["bad_images"]
        spec = SweepSpec.from_json({**earlier, "train_steps": steps})
        assert spec == make_spec({"res": 32, "train_budget": budget})


@pytest.mark.parametrize("steps", [-1, 1.5, "x", None, 10**8])
def test_steps_of_a_suite_of_an_earlier_version_are_checked(steps: Any) -> None:
    with pytest.raises(SpecError, match="--train-steps "):
        parse_settings({"train_steps": steps})


def test_the_later_of_two_budgets_counts_as_settings_stand_over_a_suite() -> None:
    given = {"res": 32, "train_steps": 5, "train_budget": "time:1m"}
    assert make_spec(given).train_budget == "time:60s"


def test_models_are_not_trained_unless_asked_for() -> None:
    assert "accuracy" in make_spec({"res": 32}).metrics
    assert "accuracy" not in make_spec({"res": 32, "model": "pvt_tiny"}).metrics
    assert "accuracy" not in make_spec({"res": 32, "level": "host,model"}).metrics
    named = make_spec({"res": 32, "model": "pvt_tiny", "metrics": "accuracy"})
    assert named.metrics == ("accuracy",)


def damaged(**changes: Any) -> dict[str, Any]:
    return {**make_spec({"res": 32}).to_json(), **changes}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        damaged(sede=1),
        damaged(seed="0"),
        damaged(seed=True),
        damaged(budget_s="10m"),
        damaged(resolutions=32),
        damaged(resolutions=[32]),
        damaged(resolutions=[[32, 32, 32]]),
        damaged(mechanisms="vit"),
        damaged(mechanisms=[1]),
        damaged(host=None),
    ],
)
def test_a_damaged_spec_of_a_run_is_refused_by_the_name_of_its_field(data: Any) -> None:
    with pytest.raises(SpecError, match="in the run's spec"):
        SweepSpec.from_json(data)


def test_whole_numbers_of_seconds_are_seconds() -> None:
    assert SweepSpec.from_json(damaged(budget_s=900)) == make_spec({"res": 32})


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_suite_of_ones_own(tmp_path: Path) -> None:
    suite = write(tmp_path, 'title = "Mine"\n[sweep]\nres = [32, "64..96"]\nclusters = [4]\n')
    assert make_spec(read_suite(suite)).resolutions == ((32, 32), (64, 64), (96, 96))
    assert suite_title(suite) == "Mine"


@pytest.mark.parametrize("plugin", ['"mine.py"', '["mine.py"]', '"../suites/mine.py"'])
def test_plugins_are_relative_to_their_suite(tmp_path: Path, plugin: str) -> None:
    suite = write(tmp_path / "suites", f"[sweep]\nres = 32\nplugin = {plugin}\n")
    (tmp_path / "suites" / "mine.py").touch()
    (found,) = make_spec(read_suite(suite)).plugins
    assert Path(found).samefile(tmp_path / "suites" / "mine.py")


def test_an_absolute_plugin_stays_where_it_is(tmp_path: Path) -> None:
    suite = write(tmp_path, '[sweep]\nres = 32\nplugin = "/elsewhere/mine.py"\n')
    assert make_spec(read_suite(suite)).plugins == ("/elsewhere/mine.py",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"one table \[sweep\]"),
        ("sweep = 5", r"one table \[sweep\]"),
        ("[[sweep]]\nres = 32", r"one table \[sweep\]"),
        ("[sweep]\nres = 32\n[extra]\n", "not extra"),
        ("[sweep\n", "not valid TOML.*line 1"),
        ("[sweep]\nres = 32\nres = 64\n", "not valid TOML"),
    ],
)
def test_a_malformed_suite_is_named(tmp_path: Path, text: str, says: str) -> None:
    suite = write(tmp_path, text)
    with pytest.raises(SpecError, match=says) as error:
        read_suite(suite)
    assert suite in str(error.value)


def test_a_suite_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot read suite"):
        read_suite(str(path))


@pytest.mark.parametrize("name", ["smok", "smoke.json", "", ".", "/", "x" * 5000])
def test_a_missing_suite_names_those_that_ship(name: str) -> None:
    with pytest.raises(SpecError, match=f"no suite .* one of {', '.join(suite_names())}"):
        read_suite(name)


def test_a_run_folder_called_like_a_suite_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "smoke").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_suite("smoke") == read_suite("smoke.toml")


def test_a_file_of_ones_own_hides_the_suite_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "[sweep]\nres = 32\n", "smoke.toml")
    monkeypatch.chdir(tmp_path)
    assert read_suite("smoke.toml") == {"res": 32}
