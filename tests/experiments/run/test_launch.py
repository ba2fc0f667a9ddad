"""The scheduler: what is missing runs once, in order; what fails blocks only what needs it."""

from __future__ import annotations

import time

import pytest
from fake_study import fork

from experiments.errors import LavitError
from experiments.launch import HerePool, check_store, critical_path, run_graph
from experiments.lease import Lease


def statuses(outcomes):
    return {identity: outcome.status for identity, outcome in outcomes.items()}


def test_everything_runs_once_and_again_nothing(store, graph, attempts):
    jobs = graph()
    first = run_graph(jobs, store, HerePool())
    assert set(statuses(first).values()) == {"ran"}
    assert sorted(attempts()) == sorted(jobs)
    again = run_graph(jobs, store, HerePool())
    assert set(statuses(again).values()) == {"done"}
    assert len(attempts()) == len(jobs)


def test_a_failure_blocks_only_what_needs_it(store, graph):
    outcomes = run_graph(graph(tokenizer_a="raise"), store, HerePool())
    found = statuses(outcomes)
    assert found[("tokenizer", "ta")] == "failed"
    assert found[("pretrain", "pa")] == found[("evaluate", "ea")] == "blocked"
    assert found[("evaluate", "eb")] == "ran"
    assert outcomes[("evaluate", "ea")].cause == ("tokenizer", "ta")
    assert outcomes[("evaluate", "ea")].error["class"] == "ValueError"


def test_the_order_of_the_graph_does_not_matter(store, graph):
    jobs = dict(reversed(graph().items()))
    assert set(statuses(run_graph(jobs, store, HerePool())).values()) == {"ran"}


def test_the_longest_way_to_the_end_goes_first(make_job):
    short = make_job("a", "short", estimate=1)
    long = make_job("a", "long", estimate=1)
    last = make_job("b", "last", {"a": "long"}, estimate=10)
    length = critical_path({(job.stage, job.key): job for job in (short, long, last)})
    assert length == {("a", "short"): 1, ("a", "long"): 11, ("b", "last"): 10}


def test_a_need_that_is_neither_planned_nor_done_is_refused(store, make_job):
    job = make_job("pretrain", "p", {"tokenizer": "gone"})
    with pytest.raises(LavitError, match="tokenizer/gone"):
        run_graph({("pretrain", "p"): job}, store, HerePool())


def test_an_altered_stage_is_named_and_made_again(store, graph, attempts):
    jobs = graph()
    run_graph(jobs, store, HerePool())
    path = store.folder("tokenizer", "ta") / "weights.txt"
    path.write_bytes(b"x" * path.stat().st_size)
    (problem,) = check_store(jobs.values(), store)
    assert "tokenizer/ta/weights.txt" in problem
    outcomes = run_graph(jobs, store, HerePool())
    assert statuses(outcomes)[("tokenizer", "ta")] == "ran"
    assert len(attempts()) == len(jobs) + 1
    assert check_store(jobs.values(), store) == []


def test_forked_jobs_run_side_by_side_and_a_dead_one_fails_alone(store, graph, make_job):
    jobs = graph(seconds=0.3, tokenizer_a="kill")
    jobs[("vision", "x")] = make_job("vision", "x", how="exit")
    start = time.monotonic()
    outcomes = run_graph(jobs, store, fork(slots=2))
    found = statuses(outcomes)
    assert found[("tokenizer", "ta")] == "failed"
    assert "SIGKILL" in outcomes[("tokenizer", "ta")].error["message"]
    assert "exit code 3" in outcomes[("vision", "x")].error["message"]
    assert found[("evaluate", "eb")] == "ran"
    assert found[("evaluate", "ea")] == "blocked"
    assert store.failure("tokenizer", "ta")["class"] == "Died"
    assert time.monotonic() - start < 8


def test_what_a_job_prints_is_in_its_log(store, make_job):
    job = make_job("vision", "v", how="raise")
    run_graph({("vision", "v"): job}, store, fork(slots=1))
    assert "loss is not a number" in (store.folder("vision", "v") / "log.txt").read_text()


def test_a_job_over_its_time_is_ended_alone(store, make_job):
    jobs = {("a", "slow"): make_job("a", "slow", seconds=30), ("a", "fast"): make_job("a", "fast")}
    outcomes = run_graph(jobs, store, fork(slots=2, timeout_s=1.0))
    assert statuses(outcomes) == {("a", "slow"): "failed", ("a", "fast"): "ran"}
    assert "timeout_s" in outcomes[("a", "slow")].error["message"]


def test_a_stage_of_another_launch_is_waited_for_and_taken_over_when_that_dies(store, make_job, attempts):
    job = make_job("vision", "v")
    store.write_request(job.request())
    other = Lease(store.folder("vision", "v")).acquire()

    class Releasing(HerePool):
        waits = 0

        def wait(self, timeout_s):
            self.waits += 1
            if self.waits == 3:
                other.release()
            return super().wait(timeout_s)

    pool = Releasing()
    outcomes = run_graph({("vision", "v"): job}, store, pool)
    assert statuses(outcomes) == {("vision", "v"): "ran"}
    assert pool.waits >= 4
    assert len(attempts()) == 1
