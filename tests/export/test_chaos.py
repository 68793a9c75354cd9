"""A bounded round of chaos: nothing may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .chaos import chaos
from .kills import BATCH, kills


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_random_ends_and_faults_lose_nothing(seed: int, tmp_path: Path) -> None:
    """Programs and their children, killed at random under random faults: all spans arrive, few of them twice."""
    result = chaos(tmp_path, seed, processes=8, spans=1500)
    assert result.ended > 2000
    assert result.lost == 0, result
    assert result.duplicates <= result.ended * 0.1, result


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_kill_sends_at_most_one_batch_twice(seed: int, tmp_path: Path) -> None:
    """SIGKILL in the middle of a delivery: what was on its way comes again, and nothing else does."""
    result = kills(tmp_path, seed, count=4)
    assert result.lost == 0, result
    assert 0 < max(result.twice) <= BATCH, result
