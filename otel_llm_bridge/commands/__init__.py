"""The subcommands of ``otel-llm-bridge``, one module each: ``add_arguments(parser)`` and ``main(arguments)``."""
