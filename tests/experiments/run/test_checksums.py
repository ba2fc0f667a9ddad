"""A finished stage that was truncated or altered on disk is found, named and made again; what needs it is not."""

from __future__ import annotations

import os
import random

import pytest
from fake_study import plan_tiny

from experiments.driver import run_jobs
from experiments.launch import HerePool, check_store
from experiments.store import Store


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # size and time tell nothing


def delete(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


DAMAGE = (truncate, flip_a_bit, delete, empty)


def content(store, jobs):
    return {
        (*job, name): (store.folder(*job) / name).read_bytes()
        for job in jobs
        for name in store.done(*job)["files"]
        if (store.folder(*job) / name).is_file()
    }


@pytest.fixture
def made(plan):
    wanted = plan("study.until=tokenizer")
    assert run_jobs(wanted, HerePool(), quiet=True).ok
    return wanted


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_repaired_without_repeating_what_was_made_from_it(made, attempts, capsys, damage):
    store = Store(made.runs_dir)
    before = content(store, made.jobs)
    victim = next(job for job in made.jobs if job[0] == "tokenizer")
    damage(store.folder(*victim) / "weights.txt")
    launch = run_jobs(plan_tiny(made.runs_dir, "study.until=tokenizer"), HerePool(), quiet=True)
    told = capsys.readouterr().err
    assert "will be made again" in told
    assert str(store.folder(*victim) / "weights.txt") in told
    assert launch.ok
    assert attempts() == [victim], "the stage itself, and nothing that was made from it while it was whole"
    assert content(store, made.jobs) == before


def test_files_that_the_stage_did_not_make_do_not_count(made, attempts):
    store = Store(made.runs_dir)
    for job in made.jobs:
        (store.folder(*job) / "notes.txt").write_text("mine")
        (store.folder(*job) / "log.txt").write_text("altered")
    assert check_store(made.jobs.values(), store) == []
    assert run_jobs(plan_tiny(made.runs_dir, "study.until=tokenizer"), HerePool(), quiet=True).ran == 0


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))])
def test_any_damage_anywhere_is_repaired_to_the_same_bytes(made, seed):
    draw = random.Random(seed)
    store = Store(made.runs_dir)
    before = content(store, made.jobs)
    damaged = draw.sample(sorted(made.jobs), draw.randint(1, 4))
    for job in damaged:
        name = draw.choice(sorted(store.done(*job)["files"]))
        draw.choice(DAMAGE)(store.folder(*job) / name)
    launch = run_jobs(plan_tiny(made.runs_dir, "study.until=tokenizer"), HerePool(), quiet=True)
    assert launch.ran == len(damaged)
    # records.parquet holds no time, so a stage that is made again is the same to the byte
    assert content(store, made.jobs) == before
    assert all(store.verify(*job) == [] for job in made.jobs)
