"""SGLang's real controller on this backend and on SGLang's own files; runs in the environment that `make test-sglang` makes."""

__all__: list[str] = []
