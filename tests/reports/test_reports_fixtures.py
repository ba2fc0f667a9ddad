"""What reports compute, against answers known from R, scipy, statsmodels, sacrebleu and textbooks."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments.designs import model
from reports import rank_tests
from reports.contrast import contrast
from reports.cube import Cube, Measure
from reports.discordance import mcnemar
from reports.effects import Effect
from reports.interactions import interactions
from reports.resample import corpus_bleu, ratio_of_sums, two_way_bootstrap
from reports.study import Study
from reports.verdicts import correct

ROMAN = {3: "III", 4: "IV", 5: "V"}


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def cube_of(values: np.ndarray) -> Cube:
    return Cube(tuple(f"a{i}" for i in range(len(values))), tuple(range(values.shape[1])), values, values.shape[2])


def bracket(values: np.ndarray, at: float, draws: int) -> tuple[float, float]:
    """Between these lies the quantile of so many draws from the values, by four of its binomial errors."""
    error = 4 * math.sqrt(at * (1 - at) / draws)
    least = np.quantile(values, max(at - error, 0.0), method="lower")
    most = np.quantile(values, min(at + error, 1.0), method="higher")
    return float(least) - 1e-12, float(most) + 1e-12


def squares(rows_NC: np.ndarray, response_N: np.ndarray) -> float:
    fit = np.linalg.lstsq(rows_NC, response_N, rcond=None)[0]
    return float(((response_N - rows_NC @ fit) ** 2).sum())


def coded(case: dict[str, Any]) -> tuple[dict[str, list[str]], list[dict[str, str]], list[str], np.ndarray]:
    """(axes, rows, every term, response) of an analysis of variance, as a design's model has them."""
    factors = case["factors"]
    axes = {f: sorted({str(v) for v in case["rows"][f]}) for f in factors}
    rows = [dict(zip(factors, map(str, v), strict=True)) for v in zip(*(case["rows"][f] for f in factors), strict=True)]
    terms = ["*".join(c) for size in range(1, len(factors) + 1) for c in itertools.combinations(factors, size)]
    return axes, rows, terms, np.array(case["rows"][case["response"]], float)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_the_designs_model_gives_the_analyses_of_variance_of_r(statistics_fixtures: Path, kind: int) -> None:
    """Sums of squares of types 1 to 3, from the model matrix that estimability and fractions are read from."""
    for case in read(statistics_fixtures, "anova")["cases"]:
        axes, rows, terms, response = coded(case)
        matrix_NC, owners = model.matrix(axes, rows, terms)
        owner = np.array(owners)
        residual, total = squares(matrix_NC, response), float(((response - response.mean()) ** 2).sum())
        df_residual = len(rows) - matrix_NC.shape[1]
        for i, term in enumerate(terms):
            parts = set(term.split("*"))
            if kind == 1:
                without = ["", *terms[:i]]
            elif kind == 2:  # all that do not contain it
                without = ["", *(t for t in terms if not parts <= set(t.split("*")))]
            else:
                without = ["", *(t for t in terms if t != term)]
            big = matrix_NC[:, np.isin(owner, [*without, term])] if kind < 3 else matrix_NC
            found = squares(matrix_NC[:, np.isin(owner, without)], response) - squares(big, response)
            df = int((owner == term).sum())
            known = case[f"type_{kind}"][term.replace("*", ":")]
            f = found / df / (residual / df_residual)
            assert found == pytest.approx(known["sum_sq"], rel=1e-8, abs=1e-9)
            assert df == known["df"]
            assert f == pytest.approx(known["F"], rel=1e-8)
            assert float(stats.f.sf(f, df, df_residual)) == pytest.approx(known["p"], rel=1e-8)
            assert found / (found + residual) == pytest.approx(known["partial_eta2"], rel=1e-8)
        tail = case[f"type_{kind}"]["Residual"]
        assert (residual, df_residual) == (pytest.approx(tail["sum_sq"]), tail["df"])
        assert response.mean() == pytest.approx(case["grand_mean"], rel=1e-12)
        if "balanced" not in case["id"]:
            assert total > residual


def test_a_main_effect_squared_over_its_variance_is_the_f_of_type_3(statistics_fixtures: Path) -> None:
    """Weights over the cells, as a report's main effects have them: for a factor of two levels, effect^2 / se^2 = F."""
    for case in read(statistics_fixtures, "anova")["cases"]:
        axes, _, terms, _ = coded(case)
        cells, factors = case["cell_means"], case["factors"]
        arms = [dict(zip(factors, map(str, v), strict=True)) for v in zip(*(cells[f] for f in factors), strict=True)]
        tail = case["type_3"]["Residual"]
        for factor in (f for f in factors if len(axes[f]) == 2):
            weights = model.main_weights(axes, arms, terms, factor, axes[factor][1], axes[factor][0])
            assert weights is not None
            effect = float(np.dot(weights, cells["mean"]))
            variance = tail["sum_sq"] / tail["df"] * float((np.square(weights) / cells["count"]).sum())
            assert effect**2 / variance == pytest.approx(case["type_3"][factor]["F"], rel=1e-8)


def montgomery(rows: list[int]) -> tuple[dict[str, tuple[str, str]], list[dict[str, str]]]:
    axes = dict.fromkeys("ABCD", ("low", "high"))
    return axes, [{name: axes[name][i >> bit & 1] for bit, name in enumerate("ABCD")} for i in rows]


def test_effects_and_interactions_of_a_factorial_are_montgomerys(statistics_fixtures: Path) -> None:
    known = read(statistics_fixtures, "factorial_effects")
    response = np.array(known["standard_order_responses"], float)
    axes, rows = montgomery(list(range(16)))
    study = Study("m", "", "full", axes, {f"a{i}": row for i, row in enumerate(rows)}, "a0", "x", (), None, (0,))
    for found in interactions(study, cube_of(response[:, None, None])):  # ours is not halved
        value = sum(weight * response[int(arm[1:])] for arm, weight in found.weights.items()) / 2
        assert value == pytest.approx(known["full_2^4_effects"]["".join(found.axes)])
        assert value == pytest.approx(known["published_full"].get("".join(found.axes), value))
    for name, effects in (("full_2^4_effects", list(range(16))), ("half_effects_(aliased)", None)):
        chosen = effects or known["half_fraction_I=ABCD_rows"]
        _, own = montgomery(chosen)
        terms = ["*".join(effect) for effect in known[name]]
        matrix_AC, owners = model.matrix(axes, own, terms)
        for i, owner in enumerate(owners):
            if owner:
                value = float(matrix_AC[:, i] @ response[chosen]) / (len(chosen) / 2)
                assert value == pytest.approx(known[name][owner.replace("*", "")]), owner
    for name in "ABCD":  # by least squares over the half, as reports of fractions do
        weights = model.main_weights(axes, own, list("ABCD"), name, "high", "low")
        assert weights is not None
        assert np.dot(weights, response[chosen]) == pytest.approx(known["published_half"][name])


def test_aliases_and_resolution_of_fractions(statistics_fixtures: Path) -> None:
    from pydoe import fracfact, fracfact_aliasing

    for design in read(statistics_fixtures, "fractional_factorial")["designs"]:
        signs = np.array(design["design_matrix_rows_runs"])
        made = fracfact(design["pydoe3_generator"])
        assert sorted(map(tuple, made.astype(int).tolist())) == sorted(map(tuple, signs.tolist()))
        axes = dict.fromkeys(design["factors"], ("low", "high"))
        rows = [{f: axes[f][int(sign > 0)] for f, sign in zip(axes, row, strict=True)} for row in signs]
        short = [[w for w in words if len(w) <= 2] for words in design["alias_classes"].values()]
        expected = {frozenset(words) for words in short if len(words) > 1}
        found = {frozenset(c.replace("*", "").split(" = ")) for c in model.alias_chains(axes, rows)}
        assert found == expected
        whole = fracfact_aliasing(made)[0]
        letters = dict(zip("abcdefg", design["factors"], strict=False))
        chains = [{"".join(letters[c] for c in word.replace("*", "")) for word in c.split(" = ")} for c in whole]
        for first, words in design["alias_classes"].items():
            own = next(chain for chain in chains if first in chain)
            assert own <= set(words)
        assert design["design"].endswith(ROMAN[design["resolution"]])
        assert design["runs"] == len(signs)
        lengths = [len(word) for word in design["defining_relation"][1:]]
        assert min(lengths) == design["resolution"]


def test_friedman_nemenyi_and_the_published_ranks(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "friedman_nemenyi")["cases"]:
        systems, scores = case["systems"], np.array(case["scores_rows_datasets"])
        names = [f"d{i}" for i in range(len(scores))]
        for default in systems:
            found = rank_tests.rank(scores, names, systems, default)
            assert list(found.ranks.values()) == pytest.approx(case["average_ranks"])
            assert (found.chi2, found.p) == pytest.approx((case["chi2_tie_corrected"], case["chi2_tie_corrected_p"]))
            assert found.f == pytest.approx(case["iman_davenport_F"])
            assert list(found.f_df) == case["F_df"]
            assert found.f_p == pytest.approx(case["F_p"])
            assert found.critical_difference == pytest.approx(case["nemenyi_cd_0.05_exact_q"], rel=1e-6)
            assert found.critical_difference == pytest.approx(case["nemenyi_cd_0.05_table"], rel=5e-5)
            for pair in found.pairs:
                known = case["nemenyi_p"]
                p = known.get(f"{pair.arm}|{default}", known.get(f"{default}|{pair.arm}"))
                assert pair.nemenyi == pytest.approx(p, rel=1e-6)


def test_signed_ranks_of_benchmarks(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "wilcoxon_signed_rank")["cases"]:
        differences = np.round(np.array(case["x"]) - np.array(case["y"]), 12)
        expected = case["expected"]
        known = expected.get("exact_two-sided", expected["approx_wilcox_nocorr"])["p"]
        assert rank_tests.signed_rank(differences) == pytest.approx(known, rel=1e-9), case["id"]


def test_mcnemar(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "mcnemar")["cases"]:
        (_, b), (c, _) = case["table_[[both,a_only],[b_only,neither]]"]
        exact, mid = mcnemar(b, c)
        assert exact == pytest.approx(case["exact_p"], rel=1e-9), case["id"]
        assert mid == pytest.approx(case.get("mid_p", 1.0), rel=1e-9), case["id"]


def test_corrections_over_a_family(statistics_fixtures: Path) -> None:
    from dataclasses import replace

    known = contrast(cube_of(np.random.default_rng(0).normal(size=(2, 3, 9))), {"a0": 1, "a1": -1})
    for case in read(statistics_fixtures, "p_adjust")["cases"]:
        effects = [
            Effect("arm", Measure("b", "m", "test"), f"a{i}", "d", replace(known, p=p)) for i, p in enumerate(case["p"])
        ]
        for method, name in (("holm", "holm"), ("fdr_bh", "BH")):
            found = [effect.contrast for effect in correct(effects, method)]
            assert [c.p_adjusted for c in found] == pytest.approx(case["adjusted"][name], rel=1e-12)
            assert {c.family_size for c in found} == {len(effects)}
        significant = [e.contrast.significant for e in correct(effects, "holm")]
        clear = [abs(p - 0.05) > 1e-9 for p in case["adjusted"]["holm"]]  # at the level itself, rounding decides
        assert [s for s, c in zip(significant, clear, strict=True) if c] == [
            s for s, c in zip(case["adjusted"]["holm_reject_0.05"], clear, strict=True) if c
        ]


def test_paired_bootstrap_of_few_examples_is_the_enumerated_one(statistics_fixtures: Path) -> None:
    cases = [c for c in read(statistics_fixtures, "paired_bootstrap")["cases"] if c["id"].startswith("exact")]
    assert len(cases) == 12
    for case in cases:
        differences = np.array(case["differences"])
        size = len(differences)
        every = differences[np.array(list(itertools.product(range(size), repeat=size)))].mean(axis=1)
        assert len(every) == case["n_enumerated"]
        assert every.std() == pytest.approx(case["bootstrap_se_exact"], abs=1e-12)
        assert np.quantile(every, [0.025, 0.975]) == pytest.approx(case["percentile_95_linear"], abs=1e-12)
        assert np.quantile(every, [0.05, 0.95]) == pytest.approx(case["percentile_90_linear"], abs=1e-12)
        assert (every < 1e-12).mean() == pytest.approx(case["p_boot_mean_le_0"], abs=1e-12)
        found = contrast(cube_of(differences[None, None]), {"a0": 1.0})
        assert found.estimate == pytest.approx(case["mean"], abs=1e-12)
        assert found.se * math.sqrt((size - 1) / size) == pytest.approx(case["bootstrap_se_exact"], abs=1e-12)
        sums = np.stack([differences, np.ones(size)], axis=-1)[None, None]
        _, *ends = two_way_bootstrap(sums, ratio_of_sums, {0: 1.0}, 4000)
        for end, at in zip(ends, (0.025, 0.975), strict=True):
            least, most = bracket(every, at, 4000)
            assert least <= end <= most, case["id"]


def test_paired_intervals_of_real_scores(statistics_fixtures: Path) -> None:
    """With one seed: the t interval exactly, scipy's percentile bootstrap within its spread over seeds."""
    cases = [c for c in read(statistics_fixtures, "paired_bootstrap")["cases"] if c["id"].startswith("real")]
    assert len(cases) == 4
    for case in cases:
        if case["inputs_from"] is None:
            scores = np.array([case["a"], case["b"]])
        else:
            path = statistics_fixtures.parent / "vqa" / "vqav2_val_sub2500.expected.json.gz"
            answers = json.loads(gzip.decompress(path.read_bytes()))
            systems = [answers[s]["official_per_question"] for s in ("prior_per_question_type", "always_yes")]
            scores = np.array([[own[i] / 100 for i in sorted(own, key=int)] for own in systems])
        found = contrast(cube_of(scores[:, None]), {"a0": 1, "a1": -1})
        assert scores.mean(axis=1) == pytest.approx([case["mean_a"], case["mean_b"]], abs=1e-12)
        assert found.estimate == pytest.approx(case["mean_diff"], abs=1e-12)
        assert (found.low, found.high) == pytest.approx(tuple(case["t_interval_95"]), abs=1e-10)
        sums = np.stack([scores, np.ones_like(scores)], axis=-1)[:, None]
        _, low, high = two_way_bootstrap(sums, ratio_of_sums, {0: 1.0, 1: -1.0}, 6000)
        known = case["bootstrap_95"]["percentile"]
        assert (low, high) == pytest.approx(tuple(known["ci"]), abs=5 * known["spread_over_4_seeds"])


def test_two_samples_paired_by_seed(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "other_tests")["two_sample"]:
        scores = np.array([case["a"], case["b"]])
        found = contrast(cube_of(scores[:, :, None]), {"a0": 1, "a1": -1})
        assert found.estimate / found.se == pytest.approx(case["paired_t"][0], rel=1e-9)
        assert found.p == pytest.approx(case["paired_t"][1], rel=1e-9)
        assert found.df == pytest.approx(len(case["a"]) - 1)
        spread = found.se * math.sqrt(len(case["a"]))
        assert found.estimate / spread == pytest.approx(case["cohen_dz_paired"], rel=1e-9)


def test_corpus_bleu_of_captions_is_sacrebleus(statistics_fixtures: Path) -> None:
    sacrebleu = pytest.importorskip("sacrebleu.metrics")
    known = read(statistics_fixtures, "sacrebleu_paired")
    corpus = known["corpus"]["vinvl_base"]
    folder = statistics_fixtures.parent / "caption"
    truth = json.loads(gzip.decompress((folder / "coco_karpval_300.ann.json.gz").read_bytes()))
    said = json.loads(gzip.decompress((folder / "coco_karpval_300.vinvl_base.results.json.gz").read_bytes()))
    references: dict[int, list[str]] = {}
    for row in truth["annotations"]:
        references.setdefault(row["image_id"], []).append(row["caption"])
    bleu = sacrebleu.BLEU(lowercase=True)
    rows = []
    for row in sorted(said, key=lambda r: r["image_id"]):
        own = bleu.corpus_score([row["caption"]], [[r] for r in references[row["image_id"]]])
        rows.append([*own.counts, *own.totals, own.sys_len, own.ref_len])
    sums = np.array(rows, float)
    total = sums.sum(axis=0)
    assert 100 * total[:4] / total[4:8] == pytest.approx(corpus["precisions"], rel=1e-12)
    assert (total[8], total[9]) == (corpus["sys_len"], corpus["ref_len"])
    assert 100 * corpus_bleu(total) == pytest.approx(corpus["bleu"], rel=1e-12)
    estimate, low, high = two_way_bootstrap(sums[None, None], corpus_bleu, {0: 1.0}, 2000)
    bootstrap = known["paired"]["bs"]["result"][1]
    assert 100 * estimate == pytest.approx(bootstrap["score"], rel=1e-12)
    assert 50 * (high - low) == pytest.approx(bootstrap["ci"], rel=0.08)  # half the width, of 1,000 resamples there
    assert 50 * (high + low) == pytest.approx(bootstrap["mean"], abs=0.25)


def test_corpus_bleu_of_counts_is_sacrebleus(statistics_fixtures: Path) -> None:
    """The second system, of which precisions and lengths are given."""
    for system in read(statistics_fixtures, "sacrebleu_paired")["corpus"].values():
        words, reference = system["sys_len"], system["ref_len"]
        precisions = np.array(system["precisions"])
        sums = np.concatenate([precisions, np.full(4, 100.0), [words, reference]])
        assert 100 * corpus_bleu(sums) == pytest.approx(system["bleu"], rel=1e-12)
        brevity = min(1.0, math.exp(1 - reference / words))
        assert brevity == pytest.approx(system["bp"], rel=1e-12)
