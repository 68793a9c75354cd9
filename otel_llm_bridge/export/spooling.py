"""The spool of one signal as the options ask for it: the same for who writes it and for who delivers it later."""

from __future__ import annotations

from ..settings import Settings
from .spool import Spool
from .spool_folder import SHARES, folder_of


def spool_of(settings: Settings, signal: str, spool_dir: str) -> Spool:
    """What ``spool_dir`` keeps of ``signal`` (``traces`` or ``logs``), within its share of the whole size."""
    share = int(settings.spool_max_bytes * SHARES[signal])
    return Spool(folder_of(spool_dir, signal), share, settings.spool_max_age, settings.spool_fsync)
