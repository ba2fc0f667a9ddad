"""Composition gives what Hydra gives, and what is wrong is named with the nearest right thing."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from experiments.compose import Composer, compose, depends_on_seed, parse_overrides, resolve
from experiments.errors import LavitError
from experiments.key import canonical_text

GROUPS = {
    "regime": ["unified", "adapter"],
    "tokens": ["dynamic", "fixed", "pooled"],
    "target": ["discrete", "continuous"],
    "llm": ["unfrozen", "frozen"],
    "scale": ["smoke", "quick"],
    "study": ["quickstart", "lavit_paper"],
}
REAL = Composer()
REAL_VALUES = ["train.steps=7", "optimizer.lr=1e-5", "tokenizer.quantizer.codebook_size=64", "scale.steps.pretrain=11",
               "data.aligned=0.25", "suite=held_out", "suite=best_of", "tokenizer.keep.anneal=0.0", "+train.more=1",
               "~optimizer.weight_decay", "data.colours={red: [1, 2, 3]}", "data.objects=[2,3]", "data.objects.0=2",
               "world.image_size=3", "scale.world.image_size=64", "optimizer.lr=text"]  # fmt: skip
VALUES = ["train.steps=7", "optimizer.lr=1e-5", "data.split_key=part", "suite.benchmarks=[caption]", "+train.more=1",
          "tokenizer.codebook={size: 8, dim: 4}", "scale.steps=11", "~optimizer.weight_decay"]  # fmt: skip


@st.composite
def override_lists(draw: st.DrawFn) -> list[str]:
    chosen = draw(st.lists(st.sampled_from(sorted(GROUPS)), unique=True, max_size=4))
    groups = [f"{group}={draw(st.sampled_from(GROUPS[group]))}" for group in chosen]
    return draw(st.permutations([*groups, *draw(st.lists(st.sampled_from(VALUES), unique=True, max_size=3))]))


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overrides=override_lists())
def test_the_result_is_hydras_own(overrides: list[str], composer: Composer, shared_conf: Path) -> None:
    mine = composer.compose(overrides)
    with initialize_config_dir(str(shared_conf), version_base="1.3"):
        theirs = hydra_compose("config", overrides)
    assert resolve(mine) == OmegaConf.to_container(theirs, resolve=True)


QUICK_VALUES = ["train.steps=7", "optimizer.lr=1e-5", "data.split_key=part", "suite.benchmarks=[caption]", "seed=3",
                "scale.steps=11", "train.steps=9", "optimizer.lr=null", "train.batch_size='${train.steps}'",
                "data.split_key='a: b'"]  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_quick_way_gives_what_omegaconf_gives_types_included(data: st.DataObject, composer: Composer) -> None:
    """Plans resolve without OmegaConf where they can; over the small folder and over the real one."""
    for place in (composer, REAL):
        groups = data.draw(st.lists(st.sampled_from(["tokens", "target", "llm", "regime", "scale"]), unique=True))
        chosen = [f"{group}={data.draw(st.sampled_from(place.options(group)))}" for group in groups]
        chosen = ["scale=quick" if text == "scale=7b" else text for text in chosen]
        known = QUICK_VALUES if place is composer else REAL_VALUES
        overrides = [*chosen, *data.draw(st.lists(st.sampled_from(known), unique=True, max_size=4))]
        seed = data.draw(st.integers(0, 3))
        try:
            whole = place.compose(overrides)
        except LavitError as error:
            with pytest.raises(LavitError, match=re.escape(error.message)):
                place.resolved(overrides, seed)
            continue
        each_seed = depends_on_seed(whole)
        if each_seed:
            whole = copy.deepcopy(whole)
            whole.seed = seed
        found, told = place.resolved(overrides, seed)
        assert told == each_seed
        assert canonical_text(found) == canonical_text(resolve(whole))
        assert list(found) == list(resolve(whole))


def test_a_value_that_follows_the_seed_is_resolved_for_each(conf: Path) -> None:
    with (conf / "config.yaml").open("a") as file:
        file.write("\nfollows: ${seed}\n")
    place = Composer(conf)
    assert [place.resolved(["llm=frozen"], seed)[0]["follows"] for seed in (0, 5)] == [0, 5]
    assert place.resolved(["llm=frozen"], 5)[1]


def test_composing_inside_a_running_hydra_leaves_it_alone(shared_conf: Path) -> None:
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(shared_conf), version_base="1.3"):
        before = GlobalHydra.instance().hydra
        assert compose(["llm=frozen"], shared_conf)["llm"]["name"] == "frozen"
        assert GlobalHydra.instance().hydra is before


def test_value_overrides_do_not_leak_into_later_compositions(composer: Composer) -> None:
    usual = composer.compose([]).train.batch_size
    assert composer.compose(["train.batch_size=5"]).train.batch_size == 5
    assert composer.compose([]).train.batch_size == usual


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stpes=5", ["train.stpes=5", "'train' has no key 'stpes'", "did you mean train.steps"]),
        ("trian.steps=5", ["'trian'", "did you mean train.steps"]),
        ("tokenizer.codebook.sise=5", ["'tokenizer.codebook' has no key 'sise'", "tokenizer.codebook.size"]),
        ("batch_size=5", ["'batch_size'", "train.batch_size"]),
        ("train.steps.more=5", ["'train.steps' is a single value"]),
        ("regime=adaptor", ["'adaptor'", "config group 'regime'", "did you mean 'adapter'"]),
        ("regime=null", ["'regime'", "adapter, unified"]),
        ("regim=adapter", ["'regim'", "did you mean regime"]),
        ("train.steps=many", ["train.steps is a number (now 400)", "not text like many"]),
        ("llm.trainable=3", ["llm.trainable is true or false"]),
        ("suite.benchmarks=caption", ["suite.benchmarks is a list"]),
        ("llm=frozen,unfrozen", ["names several values"]),
        ("nonsense", ["'nonsense' is not an override", "key=value"]),
        ("=3", ["'=3' is not an override"]),
        ("a b=c", ["is not an override"]),
        ("~nothing", ["'nothing'"]),
    ],
)
def test_a_wrong_override_is_named(override: str, words: list[str], composer: Composer) -> None:
    with pytest.raises(LavitError) as caught:
        composer.compose([override])
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 4


def test_an_override_that_refers_to_nothing_is_named(composer: Composer) -> None:
    with pytest.raises(LavitError, match=r"train\.steps"):
        resolve(composer.compose(["train.steps=${nowhere}"]))


def test_a_value_that_must_be_given_is_named(composer: Composer) -> None:
    with pytest.raises(LavitError, match=r"optimizer\.lr"):
        resolve(composer.compose(["optimizer.lr='???'"]))


def test_hydras_own_overrides_are_left_out(composer: Composer) -> None:
    assert resolve(composer.compose(["hydra.job.chdir=true"])) == resolve(composer.compose([]))


def test_a_folder_without_a_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(LavitError, match="no config"):
        Composer(tmp_path)


def test_choices_and_options(composer: Composer) -> None:
    assert composer.choices(["scale=smoke"])["scale"] == "smoke"
    assert composer.options("llm") == ["frozen", "unfrozen"]
    assert "tokens" in composer.groups()


def test_seed_references_are_seen(composer: Composer) -> None:
    assert not depends_on_seed(composer.compose([]))
    assert depends_on_seed(composer.compose(["+train.order=${seed}"]))


def test_parsing_keeps_order_and_types() -> None:
    values = [override.value() for override in parse_overrides(["a=1", "b=1.0", "c='1'", "d=true"])]
    assert [type(value).__name__ for value in values] == ["int", "float", "QuotedString", "bool"] or values[2] == "1"
