"""Real frameworks on top of LiteLLM, instrumented without a line of code. An optional job: ``make frameworks``."""
