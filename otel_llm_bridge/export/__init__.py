"""From ended spans to the receiver: queue, ledger, spool, transport, and the end of the process."""
