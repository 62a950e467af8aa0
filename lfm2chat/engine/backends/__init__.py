"""Fast ways to run a model; each provides :class:`lfm2chat.engine.decoding.LanguageModel`."""
