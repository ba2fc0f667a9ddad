"""Study files: the good ones are read, the bad ones are refused by file, key and value."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.compose import Composer
from experiments.errors import LavitError
from experiments.plan import Plan, make_plan
from experiments.planner import Planner
from experiments.stages import stage_names
from experiments.study import Study, read_study

GOOD: dict[str, Any] = {
    "name": "good",
    "question": "Does it matter?",
    "design": "full",
    "axes": {"regime": ["unified", "adapter"], "target": ["discrete", "continuous"], "llm": ["unfrozen", "frozen"]},
    "void": [{"when": {"regime": "adapter", "target": "continuous"}, "why": "an adapter has no target"}],
    "seeds": 2,
    "headline": "caption/CIDEr",
}


class Desk:
    """A config folder to write studies into, composed by one composer: each study gets a name of its own."""

    def __init__(self, conf: Path):
        self.conf = conf
        self.composer = Composer(conf)
        self.written = 0

    def write(self, body: Any) -> str:
        name, self.written = f"good{self.written}", self.written + 1
        if isinstance(body, dict) and body.get("name") == "good":
            body = {**body, "name": name}
        text = body if isinstance(body, str) else yaml.safe_dump(body, sort_keys=False)
        (self.conf / "study" / f"{name}.yaml").write_text(text)
        return name

    def read(self, body: Any, *overrides: str) -> tuple[Study, list[str]]:
        return read_study(self.composer, [f"study={self.write(body)}", *overrides], stage_names)

    def plan(self, body: Any) -> Plan:
        planner = Planner(self.conf, self.conf.parent / "runs", lambda stage, key: False, count=False)
        planner.composer = self.composer
        return planner.plan_study([f"study={self.write(body)}"])


@pytest.fixture(scope="module")
def desk(shared_conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(Path(shutil.copytree(shared_conf, tmp_path_factory.mktemp("desk") / "conf")))


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


def test_the_shipped_studies_are_on_one_screen(shared_conf: Path) -> None:
    for path in (shared_conf / "study").glob("*.yaml"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# ")
        assert len(lines) <= 20


def test_a_good_study(desk: Desk) -> None:
    study, rest = desk.read(GOOD, "scale=smoke", "hydra/launcher=joblib")
    assert rest == ["scale=smoke"]
    assert study.seeds == (0, 1)
    assert study.default == {"regime": "unified", "target": "discrete", "llm": "unfrozen"}
    assert study.voids[0].describe() == "regime=adapter & target=continuous"


def test_axes_of_every_form(desk: Desk) -> None:
    axes = {
        "llm": ["unfrozen", "frozen"],
        "lr": {"key": "optimizer.lr", "levels": [1e-3, 1e-4]},
        "trained": {"key": "llm.trainable", "levels": [True, False]},
        "compressor": {"key": "tokens", "levels": ["dynamic", "fixed"]},
        "budget": {"short": "train.steps=10", "long": ["train.steps=20", "train.batch_size=4"]},
    }
    study, _ = desk.read(changed(axes=axes, void=[]))
    assert {name: list(axis.levels) for name, axis in study.axes.items()} == {
        "llm": ["unfrozen", "frozen"], "lr": ["0.001", "0.0001"], "trained": ["true", "false"],
        "compressor": ["dynamic", "fixed"], "budget": ["short", "long"],
    }  # fmt: skip
    assert study.axes["lr"].levels["0.0001"] == ("optimizer.lr=0.0001",)
    assert study.axes["compressor"].levels["fixed"] == ("tokens=fixed",)
    assert study.axes["budget"].levels["long"] == ("train.steps=20", "train.batch_size=4")


@pytest.mark.parametrize("value", ["1,2", "a b", "it's", "true", "12", "", "a\\b", "x=y", "[1]", "null"])
def test_text_levels_keep_their_type(value: str, desk: Desk) -> None:
    study, _ = desk.read(changed(axes={"split": {"key": "data.split_key", "levels": ["plain", value]}}, void=[]))
    config = desk.composer.compose(study.axes["split"].levels[value])
    assert config._get_node("data")._get_node("split_key")._value() == value  # type: ignore[union-attr]


def test_the_command_line_changes_the_study(desk: Desk) -> None:
    study, rest = desk.read(
        GOOD, "study.seeds=[3,5]", "study.axes.llm=[frozen]", "study.margin=0.1", "~study.void", "train.steps=7",
        "study.axes.lr={key: optimizer.lr, levels: [1e-3, 1e-4]}",
    )  # fmt: skip
    assert study.seeds == (3, 5)
    assert list(study.axes["llm"].levels) == ["frozen"]
    assert list(study.axes["lr"].levels) == ["0.001", "0.0001"]
    assert study.margin == 0.1
    assert study.voids == ()
    assert rest == ["train.steps=7"]


def test_an_override_of_an_axis_narrows_it(desk: Desk) -> None:
    study, rest = desk.read(GOOD, "target=continuous", "scale=smoke")
    assert list(study.axes["target"].levels) == ["continuous"]
    assert study.default["target"] == "continuous"
    assert rest == ["scale=smoke"]
    body = changed(axes={"lr": {"key": "optimizer.lr", "levels": [1e-3]}, "budget": {"a": "train.steps=1"}}, void=[])
    study, rest = desk.read(body, "optimizer.lr=0.5", "budget=a")
    assert study.axes["lr"].levels == {"0.5": ("optimizer.lr=0.5",)}
    assert rest == []


def test_the_default_may_be_named(desk: Desk) -> None:
    for value in ({"llm": "frozen"}, "llm=frozen"):
        study, _ = desk.read(changed(default=value))
        assert study.default == {"regime": "unified", "target": "discrete", "llm": "frozen"}


def test_a_study_inherits_by_hydras_defaults_list(desk: Desk) -> None:
    parent = desk.write(GOOD)
    study, _ = desk.read(f"defaults: [{parent}, _self_]\nseeds: 5\n")
    assert (len(study.seeds), list(study.axes)) == (5, ["regime", "target", "llm"])
    assert study.name == Path(study.file).stem  # not the parent's: they would share a folder


def test_an_inherited_axis_is_replaced_added_or_removed(desk: Desk) -> None:
    axes = {**GOOD["axes"], "lr": {"key": "optimizer.lr", "levels": [1e-3, 1e-4]}}
    parent = desk.write(changed(axes=axes, void=[], arms={"big": {"also": "train.steps=7"}}))
    child = desk.write(
        f"defaults: [{parent}, _self_]\naxes: {{llm: null, regime: [adapter, unified], lr: {{levels: [0.5]}}, "
        "tokens: {key: tokens, levels: [fixed, dynamic]}}\narms: {big: null}\n"
    )
    study, _ = desk.read(f"defaults: [{child}, _self_]\nvoid: []\n")
    assert {name: list(axis.levels) for name, axis in study.axes.items()} == {
        "regime": ["adapter", "unified"], "target": ["discrete", "continuous"], "lr": ["0.5"],
        "tokens": ["fixed", "dynamic"],
    }  # fmt: skip
    assert study.arms == {}
    with pytest.raises(LavitError, match=r"axes.llm: has no levels"):  # null removes what is inherited only
        desk.read(changed(axes={"llm": None, "regime": ["unified", "adapter"]}, void=[]))


def test_a_study_bears_its_files_name(desk: Desk) -> None:
    with pytest.raises(LavitError, match="name: 'other' is not the file's name"):
        desk.read(changed(name="other"))
    assert desk.read(GOOD, "study.name=other")[0].name == "other"


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"sedes": 3}, ["sedes: unknown key", "did you mean 'seeds'"]),
    ({"match": {"by": "flops"}}, ["match.by", "did you mean 'train_flops'"]),
    ({"name": "a/b"}, ["name", "'a/b'"]),
    ({"name": "store"}, ["name", "'store'"]),
    ({"question": None}, ["question: missing"]),
    ({"design": "ful"}, ["design", "'ful'", "did you mean 'full'"]),
    ({"design": {"search": 8}}, ["tune", "a search needs it"]),
    ({"design": {"fraction": 1}}, ["design.fraction", "no number of arms"]),
    ({"design": {"fraction": 4, "estimat": ["main"]}}, ["design.estimat", "did you mean 'estimate'"]),
    ({"design": {"fraction": 4, "estimate": ["llm*targt"]}}, ["design.estimate", "did you mean 'target'"]),
    ({"design": {"cumulative": ["llm", "llm"]}}, ["design.cumulative", "twice"]),
    ({"design": {"leave_one_out": {"llm": "gone"}}}, ["design.leave_one_out.llm", "no level 'gone'"]),
    ({"power": {"pilot": 3}}, ["power.pilot", "not a text"]),
    ({"design": "search"}, ["tune", "a search needs it"]),
    ({"axes": None}, ["axes", "no axes"]),
    ({"axes": {}}, ["axes", "no axes"]),
    ({"axes": {"llm": []}}, ["axes.llm: has no levels"]),
    ({"axes": {"llm": "frozen"}}, ["axes.llm", "not a list"]),
    ({"axes": {"llm": ["unfrozen", "froze"]}}, ["axes.llm", "'froze'", "did you mean 'frozen'"]),
    ({"axes": {"llm": ["frozen", "frozen"]}}, ["axes.llm", "twice"]),
    ({"axes": {"llm": [True, False]}}, ["axes.llm", "YAML reads on, off"]),
    ({"axes": {"merge": {True: ["train.steps=1"], False: []}}}, ["axes.merge", "YAML reads on, off"]),
    ({"axes": {"lmm": ["frozen"]}}, ["axes.lmm", "no config group 'lmm'", "did you mean 'llm'"]),
    ({"axes": {"seed": [0, 1]}}, ["axes.seed", "never an axis"]),
    ({"axes": {"s": {"key": "seed", "levels": [1]}}}, ["axes.s.key", "'seed' cannot be an axis"]),
    ({"axes": {"lr": {"key": "optimizer.lt", "levels": [1]}}}, ["axes.lr.key", "did you mean optimizer.lr"]),
    ({"axes": {"lr": {"key": "optimizer.lr"}}}, ["axes.lr.levels", "no levels"]),
    ({"axes": {"lr": {"key": "optimizer.lr", "levles": [1]}}}, ["axes.lr.levles", "did you mean 'levels'"]),
    ({"axes": {"lr": {"key": "optimizer.lr", "levels": [1, 1]}}}, ["axes.lr.levels", "twice"]),
    ({"axes": {"b": {"short": "train.stpes=1"}}}, ["axes.b.short", "did you mean train.steps"]),
    ({"axes": {"b": {"short": 3}}}, ["axes.b.short", "not a list of overrides"]),
    ({"axes": {"b": {"short": "study.seeds=1"}}}, ["axes.b.short", "may not set study"]),
    (
        {"axes": {"a": {"x": "train.steps=1"}, "b": {"key": "train.steps", "levels": [1]}}, "void": []},
        ["axes.b", "'train.steps'", "axis 'a'"],
    ),
    ({"axes": {"lr": {"key": "optimizer.lr", "levels": [1], "only_if": {}}}}, ["axes.lr.only_if", "no condition"]),
    ({"void": [{"when": {"regime": "adapter"}}]}, ["void[0].why: missing"]),
    ({"void": [{"why": "x"}]}, ["void[0].when"]),
    ({"void": [{"when": {"regime": "adapter"}, "why": "x", "b": None}]}, ["void[0].b", "comma"]),
    ({"void": [{"when": {"regim": "adapter"}, "why": "x"}]}, ["void[0].when", "'regim'", "did you mean 'regime'"]),
    ({"void": [{"when": {"regime": "adaptor"}, "why": "x"}]}, ["void[0].when.regime", "did you mean 'adapter'"]),
    ({"void": {"when": {}}}, ["void", "not a list of rules"]),
    ({"seeds": 0}, ["seeds", "0 seeds"]),
    ({"seeds": [1, 1]}, ["seeds", "twice"]),
    ({"seeds": "three"}, ["seeds", "'three'"]),
    ({"seeds": True}, ["seeds", "True"]),
    ({"headline": None}, ["headline: missing"]),
    ({"headline": "CIDEr"}, ["headline", "benchmark/metric"]),
    ({"default": {"lllm": "frozen"}}, ["default.lllm", "did you mean 'llm'"]),
    ({"default": {"llm": "lora"}}, ["default.llm", "no level 'lora'"]),
    ({"default": "frozne"}, ["default", "no arm 'frozne'"]),
    ({"family": ["llm=frozne"]}, ["family", "did you mean 'llm=frozen'"]),
    ({"family": "llm"}, ["family", "list of arm names"]),
    ({"margin": -1}, ["margin", "above zero"]),
    ({"power": 0.1}, ["power", "sd_seed"]),
    ({"until": "pretrian"}, ["until", "did you mean 'pretrain'"]),
    ({"also": "train.stpes=3"}, ["did you mean train.steps"]),
    ({"also": ["seed=3"]}, ["also", "may not set seed"]),
    ({"arms": {"a": {}}}, ["arms.a", "is the same as the arm 'default'"]),
    ({"design": "arms"}, ["arms", "no arms"]),
    ({"design": "arms", "arms": {"a": {"lmm": "frozen"}}}, ["arms.a.lmm", "did you mean 'llm'"]),
    ({"design": "arms", "arms": {"a": {"also": "nonsense"}}}, ["arms.a.also", "'nonsense'"]),
    ({"design": "arms", "arms": {"a": {"regime": "adapter", "target": "continuous"}}}, ["arms.a", "void"]),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[str(change)[:60] for change, _ in BAD])
def test_a_bad_study_is_refused_by_file_key_and_value(change: dict[str, Any], words: list[str], desk: Desk) -> None:
    with pytest.raises(LavitError) as caught:
        desk.plan(changed(**change))
    message = str(caught.value)
    assert ".yaml" in message
    for word in words:
        assert word in message
    assert len(message.splitlines()) <= 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["study=quickstrat"], ["'quickstrat'", "did you mean 'quickstart'"]),
        ([], ["no study is named", "lavit_paper, quickstart"]),
        (["study=[quickstart,lavit_paper]"], ["several studies", "name one"]),
        (["study=quickstart", "study.sedes=3"], ["sedes", "did you mean 'seeds'"]),
        (["study=quickstart", "study.seeds=1,2"], ["several values", "study.seeds=[0,1]"]),
        (["study=quickstart", "study.name.x=1"], ["study.name.x=1"]),
        (["study=quickstart", "seed=1"], ["seed=1", "study.seeds=[1]"]),
        (["study=quickstart", "llm=frozne"], ["'frozne'", "did you mean 'frozen'"]),
        (["study=quickstart", "train.stpes=1"], ["train.stpes=1", "did you mean train.steps"]),
        (["study=quickstart", "study.axes.b={x: 'train.steps=1'}", "train.steps=3"], ["'b' sets this key itself"]),
        (["study=quickstart", "study.axes.b={x: 'train.steps=1'}", "b=y"], ["no level 'y'"]),
    ],
)
def test_a_bad_command_line_is_refused(overrides: list[str], words: list[str], shared_conf: Path) -> None:
    with pytest.raises(LavitError) as caught:
        make_plan(overrides, config_dir=shared_conf, count=False)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "text", ["a: &me {b: *me}", "", "[1, 2]", "just text", "a: [", "name: x\nname: y\n", "axes: {llm: [frozen, {}]}"]
)
def test_a_file_that_is_no_study_is_refused(text: str, desk: Desk) -> None:
    with pytest.raises(LavitError):
        desk.plan(text)


def test_named_interactions_reach_the_report(desk: Desk) -> None:
    plan = desk.plan(changed(interactions=[["regime", "llm"]]))
    assert plan.study_document()["interactions"] == [["regime", "llm"]]
    assert "interactions" not in desk.plan(GOOD).study_document()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("llm", "is not a list of pairs"),
        ([["llm"]], "is not a pair of axes"),
        ([["llm", "regim"]], "there is no axis 'regim'"),
        ([["llm", "llm"]], "two different axes"),
        ([["llm", "regime"], ["regime", "llm"]], "named twice"),
    ],
)
def test_interactions_of_other_shape_are_refused(value: Any, words: str, desk: Desk) -> None:
    with pytest.raises(LavitError, match=words) as caught:
        desk.read(changed(interactions=value))
    assert "interactions" in str(caught.value)
