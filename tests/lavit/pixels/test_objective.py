"""What denoising networks are taught, and how pictures come out of what they say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavit.errors import LavitError
from lavit.pixels.objective import TIMES, Epsilon, Flow, Objective


@pytest.mark.parametrize("objective", [Flow(), Flow("clean"), Epsilon()])
def test_a_lesson_depends_on_its_generator_alone(objective: Objective) -> None:
    clean = torch.randn(4, 3, 2, 2)
    first, second = (objective.lesson(clean, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.noisy_Bchw, second.noisy_Bchw) and torch.equal(first.target_Bchw, second.target_Bchw)
    assert first.time_B.min() >= 0 and first.time_B.max() < TIMES


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 60), seed=st.integers(0, 1000))
def test_a_network_that_knows_the_picture_gives_it_back(steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn(2, 2, 3, 2, 2, generator=generator).double()
    schedule = Epsilon()

    def hidden_noise(x: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
        kept = schedule.kept_T[time_B].double().reshape(-1, 1, 1, 1)
        return (x - kept.sqrt() * clean) / (1 - kept).sqrt()

    found = Flow("clean").sample(lambda x, t: clean, noise, steps)
    torch.testing.assert_close(found, clean)
    torch.testing.assert_close(Flow().sample(lambda x, t: noise - clean, noise, steps), clean)
    # DDIM ends at time 0, where Stable Diffusion's schedule keeps 0.085 % of noise.
    painted = schedule.sample(hidden_noise, noise, steps)
    left = hidden_noise(painted, torch.zeros(2, dtype=torch.long)) * float(1 - schedule.kept_T[0]) ** 0.5
    torch.testing.assert_close((painted - left) / float(schedule.kept_T[0]) ** 0.5, clean)


def test_sampling_agrees_with_the_schedulers_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    def network(x: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) + time_B.reshape(-1, 1, 1, 1) / TIMES

    ddim = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    ddim.set_timesteps(12)
    x = noise
    for time in ddim.timesteps:
        x = ddim.step(network(x, time.expand(2)), time, x).prev_sample
    torch.testing.assert_close(Epsilon().sample(network, noise, 12), x, atol=1e-5, rtol=1e-5)

    euler = diffusers.FlowMatchEulerDiscreteScheduler()
    euler.set_timesteps(sigmas=[1 - step / 8 for step in range(8)])
    x = noise
    for time in euler.timesteps:
        x = euler.step(network(x, time.expand(2)), time, x).prev_sample
    torch.testing.assert_close(Flow().sample(network, noise, 8), x, atol=1e-5, rtol=1e-5)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(LavitError, match="predict='noise'"):
        Flow("noise")
    with pytest.raises(LavitError, match="steps=0"):
        Epsilon().sample(lambda x, t: x, torch.zeros(1, 1, 1, 1), 0)
