"""A bounded round of chaos: nothing may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .chaos import chaos


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_random_ends_and_faults_lose_nothing(seed: int, tmp_path: Path) -> None:
    """Programs and their children, killed at random under random faults: all spans arrive, few of them twice."""
    result = chaos(tmp_path, seed, processes=8, spans=1500)
    assert result.ended > 2000
    assert result.lost == 0, result
    assert result.duplicates <= result.ended * 0.1, result
