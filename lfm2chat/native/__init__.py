"""The native kernels: C++ sources, the hook that builds them, and what it built.

Nothing here is imported at run time; :mod:`lfm2chat.engine.backends.native_library` loads the
library where there is one.
"""
