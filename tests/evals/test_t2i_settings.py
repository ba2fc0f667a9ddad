"""Drawing settings as data: they reach the model, they are in the protocol, and best of several stays by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tiny_corpus import Oracle, TinyCorpus

from evals.errors import EvaluationError
from evals.runner import build_suite, evaluate
from lavit.model.draw_settings import DrawSettings
from reports.declare import read_declarations

CONF = Path(__file__).parents[2] / "conf"


class Recorder(Oracle):
    """Remembers how it was asked to draw."""

    def draw(self, prompts, seed, settings):
        self.settings = settings
        return super().draw(prompts, seed, settings)


def suite_of(name="t2i", **draw):
    node = {"_target_": "evals.benchmarks.t2i.TextToImage", "count": 4, "batch": 4, "draw": draw or None}
    return {"name": "one", "benchmarks": {name: node}}


@pytest.mark.parametrize("draw", [{}, {"guidance": 2, "max_tokens": 7}])
def test_settings_reach_the_model_and_the_protocol(draw, tmp_path) -> None:
    model = Recorder()
    evaluate(model, TinyCorpus(), build_suite(suite_of(**draw)), tmp_path)
    assert model.settings == DrawSettings(**draw)
    written = json.loads((tmp_path / "protocol.json").read_text())["t2i"]["draw"]
    assert DrawSettings(**written) == model.settings


def test_a_wrong_setting_is_named_with_its_place_in_the_config() -> None:
    with pytest.raises(EvaluationError, match=r"suite\.benchmarks\.t2i\.draw\.guide: there is no such setting"):
        build_suite(suite_of(guide=2))
    with pytest.raises(EvaluationError, match=r"suite\.benchmarks\.t2i\.draw\.top_p is 3"):
        build_suite(suite_of(top_p=3))


def test_best_of_several_needs_a_name_that_says_so() -> None:
    with pytest.raises(EvaluationError, match=r"t2i/exact would mix"):
        build_suite(suite_of(best_of=4))
    assert build_suite(suite_of("t2i_best_of", best_of=4))[0].name == "t2i_best_of"


def composed(suite, *overrides):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", overrides=[f"suite={suite}", "scale=smoke", *overrides])
    return build_suite(OmegaConf.to_container(config.suite, resolve=True))


def test_the_suites_draw_by_default_as_the_code_does() -> None:
    for suite in ("core", "held_out"):
        drawn = [b for b in composed(suite) if hasattr(b, "draw")]
        assert drawn
        for benchmark in drawn:
            assert DrawSettings(**benchmark.draw) == DrawSettings()


def test_a_setting_varied_for_the_main_entry_holds_for_all_entries() -> None:
    for suite in ("held_out", "best_of"):
        composed(suite, "suite.benchmarks.t2i=null")
        for benchmark in composed(suite, "suite.benchmarks.t2i.draw.guidance=2", "suite.benchmarks.t2i.draw.top_k=9"):
            if hasattr(benchmark, "draw"):
                assert (benchmark.draw["guidance"], benchmark.draw["top_k"]) == (2, 9)


def test_best_of_several_is_on_request_and_has_a_table_of_its_own() -> None:
    assert "t2i_best_of" not in [benchmark.name for benchmark in composed("core")]
    best = next(b for b in composed("best_of") if b.name == "t2i_best_of")
    assert best.draw["best_of"] == 4 and best.controls == {}
    tables = {table.name: table.benchmarks() for table in read_declarations()}
    assert "t2i_best_of" not in tables["main"]
    assert [name for name, named in tables.items() if "t2i_best_of" in named] == ["best_of"]
