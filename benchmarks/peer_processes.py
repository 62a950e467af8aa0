"""Other engines as processes of their own, which a benchmark drives one request at a time.

    python benchmarks/peer_processes.py llama MODEL.gguf [--threads 2] [--context 4096]
    python benchmarks/peer_processes.py transformers FOLDER [--dtype bfloat16] [--threads 2]
                                                     [--wait passive]
    python benchmarks/peer_processes.py lfm2chat FOLDER [--precision int8] [--threads 2]
                                                 [--kernels NAME]

In: a model's file or folder, then one JSON request a line on stdin. Out: one JSON answer a line on
stdout, the first once the model is loaded: ``{"ready": true, "load_s": ..., "rss_mb": ...}``, with
``baseline_mb``, what the process held before that. The requests and their answers:

    {"do": "prefill", "tokens": 512}             reads so many ids into an empty cache, with the
                                                 logits of the last -> {"seconds": ...}
    {"do": "decode", "steps": 32, "past": 64}    so many single tokens with logits, on a cache of
                                                 ``past`` tokens, which is not timed -> the same
    {"do": "logits", "ids": [...], "to": "..."}  every position's logits, as raw float32 into the
                                                 file ``to`` -> {"shape": [T, V]}
    {"do": "memory"}                             {"peak_rss_mb": ..., "rss_mb": ...,
                                                 "anonymous_mb": ...}, the last without mapped files
    {"do": "bandwidth"}                          lfm2chat alone: one plain read of all its weights
                                                 -> {"seconds": ..., "bytes": ...}
    {"do": "stop"}                               {"stopped": true}, and the process ends

What goes wrong is answered with ``{"error": "..."}``; the process goes on, unless it was loading.
Ids are random with one seed, the same for every engine. All run on the CPU: llama.cpp maps its
file, has a cache in float16 and its default flash attention, and reads 512 tokens a pass;
transformers reads all in one. Its threads wait asleep, also within a pass, which costs it speed on
a quiet machine: ``--wait default`` leaves them as they come. One process per engine keeps each
one's memory and threads apart, and an idle one uses no CPU. A benchmark uses :class:`Peer`, whose
import costs neither torch nor llama.cpp.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, Self

BATCH = 512
"""Tokens that llama.cpp reads in one pass, logical and physical."""
MB = 2**20
ERROR_LEVEL = 4
"""GGML_LOG_LEVEL_ERROR."""
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables that say how threads wait for work."""


class Engine(Protocol):
    """What a child can do with its model; ``position`` tokens are in the cache."""

    vocabulary: int
    position: int

    def clear(self) -> None:
        """Empty the cache."""

    def read(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache, with the logits of the last."""

    def step(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache in passes of one token, each with its logits."""

    def write_logits(self, ids: Sequence[int], path: Path) -> None:
        """Read ``ids`` into an empty cache; (T, V) logits as float32 into ``path``."""


class LlamaEngine:
    """A GGUF file in llama.cpp, through its C interface: nothing but its passes is timed."""

    def __init__(self, path: str, *, context: int, threads: int) -> None:
        import llama_cpp

        self._llama = llama_cpp
        errors = collect_llama_errors()
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
        if not model:
            raise RuntimeError(f"{path} was not loaded: {''.join(errors).strip()}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(model, params)
        if not self._context:
            raise RuntimeError(f"no context for {path}: {''.join(errors).strip()}")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        for place in range(BATCH):
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = 0
        # As arrays, which take a slice at once: element by element is slow enough to be seen.
        self._tokens = view_array(batch.token, ctypes.c_int32)
        self._positions = view_array(batch.pos, ctypes.c_int32)
        self._wanted = view_array(batch.logits, ctypes.c_int8)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.position = 0

    def clear(self) -> None:
        """Empty the cache."""
        # The convolutions' states cannot be cut back, so there is no way to drop a part.
        self._llama.llama_memory_clear(self._memory, True)
        self.position = 0

    def read(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache, with the logits of the last."""
        for start in range(0, len(ids), BATCH):
            piece = ids[start : start + BATCH]
            self._fill(piece, every=False, last=start + BATCH >= len(ids))
            self._decode(piece)

    def step(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache in passes of one token, each with its logits."""
        for token in ids:
            self._fill((token,), every=False, last=True)
            self._decode((token,))

    def write_logits(self, ids: Sequence[int], path: Path) -> None:
        """Read ``ids`` into an empty cache; (T, V) logits as float32 into ``path``."""
        self.clear()
        with path.open("wb") as file:
            for start in range(0, len(ids), BATCH):
                piece = ids[start : start + BATCH]
                self._fill(piece, every=True, last=True)
                self._decode(piece)
                logits = self._llama.llama_get_logits(self._context)
                row = ctypes.c_float * (len(piece) * self.vocabulary)
                file.write(memoryview(row.from_address(ctypes.addressof(logits.contents))))

    def _fill(self, ids: Sequence[int], *, every: bool, last: bool) -> None:
        """Put ``ids`` into the batch, asking for ``every`` one's logits or the ``last`` one's."""
        count = self._batch.n_tokens = len(ids)
        self._tokens[:count] = ids
        self._positions[:count] = range(self.position, self.position + count)
        self._wanted[:count] = [every] * (count - 1) + [last]

    def _decode(self, ids: Sequence[int]) -> None:
        status = self._llama.llama_decode(self._context, self._batch)
        if status:
            raise RuntimeError(f"llama_decode gave {status} at {self.position}")
        # A pass may still be under way when it returns.
        self._llama.llama_synchronize(self._context)
        self.position += len(ids)


class TransformersEngine:
    """A folder in transformers, with its own cache."""

    def __init__(self, folder: str, *, dtype: str, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.cache_utils import DynamicCache
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True
        ).eval()
        self._new_cache: Callable[[], Any] = lambda: DynamicCache(config=self._model.config)
        self.vocabulary = self._model.config.vocab_size
        self.clear()

    def clear(self) -> None:
        """Empty the cache."""
        self._cache = self._new_cache()
        self.position = 0

    def read(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache, with the logits of the last."""
        self._pass(self._torch.tensor([ids]), kept=1)

    def step(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache in passes of one token, each with its logits."""
        for token in self._torch.tensor([ids]).split(1, dim=1):
            self._pass(token, kept=1)

    def write_logits(self, ids: Sequence[int], path: Path) -> None:
        """Read ``ids`` into an empty cache; (T, V) logits as float32 into ``path``."""
        self.clear()
        logits = self._pass(self._torch.tensor([ids]), kept=0)[0]
        path.write_bytes(logits.float().numpy().tobytes())

    def _pass(self, ids: Any, *, kept: int) -> Any:
        with self._torch.inference_mode():
            outputs = self._model(
                ids, past_key_values=self._cache, use_cache=True, logits_to_keep=kept
            )
        self.position += ids.shape[1]
        return outputs.logits


class OwnEngine:
    """A folder in our engine, packed once and kept beside the folder."""

    def __init__(self, folder: str, *, precision: str, threads: int) -> None:
        import torch

        from lfm2chat.engine import HybridCache, Precision, open_packed, run_packed

        # What torch is left with needs no second thread.
        torch.set_num_threads(1)
        kind, place = Precision(precision), Path(folder)
        saved = place.with_name(f"{place.name}-{precision}.packed")
        mark = str((place / "model.safetensors").stat().st_mtime_ns)
        self._torch = torch
        self._packed = open_packed(place, kind, saved=saved, fingerprint=mark)
        # As the application does: the fastest kernels, tried once and kept beside the folder.
        trials = place.with_name("kernels.json")
        self._model = run_packed(self._packed, threads=threads, trials=trials)
        self._threads = threads
        self._new_cache: Callable[[], Any] = lambda: HybridCache(
            self._model.config, dtype=self._model.dtype, capacity=4096
        )
        self.vocabulary = self._model.config.vocab_size
        self.clear()

    def clear(self) -> None:
        """Empty the cache."""
        self._cache = self._new_cache()
        self.position = 0

    def read(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache, with the logits of the last."""
        for start in range(0, len(ids), BATCH):
            self._model.next_logits(self._torch.tensor([ids[start : start + BATCH]]), self._cache)
        self.position += len(ids)

    def step(self, ids: Sequence[int]) -> None:
        """Add ``ids`` to the cache in passes of one token, each with its logits."""
        for token in self._torch.tensor([ids]).split(1, dim=1):
            self._model.next_logits(token, self._cache)
        self.position += len(ids)

    def write_logits(self, ids: Sequence[int], path: Path) -> None:
        """Read ``ids`` into an empty cache; (T, V) logits as float32 into ``path``."""
        self.clear()
        logits = self._model.all_logits(self._torch.tensor([ids]), self._cache)
        path.write_bytes(logits.numpy().tobytes())
        self.position = len(ids)

    def bandwidth(self) -> dict[str, float]:
        """What one plain read of the weights takes, by the same number of threads."""
        from lfm2chat.engine.backends.native_library import library, usable_kernels

        native, buffer = library(), self._packed.buffer
        if native is None:
            raise RuntimeError("no native kernels were built")
        kind = usable_kernels()[0].kind
        size = buffer.numel()
        seconds = native.lfm2_read_seconds(buffer.data_ptr(), size, self._threads, kind)
        return {"seconds": seconds, "bytes": size}


class Peer:
    """A child as its parent sees it; ends with the ``with`` block that it is used in.

    Attributes:
        ready: The child's first answer.
    """

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process = process
        self._errors = errors
        self.ready: dict[str, Any] = {}

    @classmethod
    def start(cls, arguments: Sequence[str]) -> Peer:
        """A child with the command line ``arguments``, once its model is loaded.

        Raises:
            RuntimeError: It could not load it.
        """
        # A file and not a pipe: nobody reads along, and a full pipe would stop the child.
        errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            env=environment(arguments),
        )
        peer = cls(process, errors)
        try:
            peer.ready = peer._answer()
        except BaseException:
            peer.stop()
            raise
        return peer

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to ``request``, one of those on top of this file.

        Raises:
            RuntimeError: It went wrong there, or the child is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer says why
        return self._answer()

    def stop(self) -> None:
        """End the child; harmless where it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.poll() is None:
            try:
                self._process.stdin.write('{"do": "stop"}\n')
                self._process.stdin.close()
                self._process.wait(timeout=10)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"the process ended with {status}: {self._errors.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def environment(arguments: Sequence[str]) -> dict[str, str]:
    """The whole environment of a child with the command line ``arguments``."""
    parsed = parse(arguments)
    # Whatever the parent chose for its own threads must not reach a child that has another need.
    values = {name: value for name, value in os.environ.items() if name not in WAITING}
    values |= {"OMP_NUM_THREADS": str(parsed.threads), "TOKENIZERS_PARALLELISM": "false"}
    if parsed.engine == "transformers" and parsed.wait == "passive":
        values["OMP_WAIT_POLICY"] = "PASSIVE"
    if parsed.engine == "lfm2chat" and parsed.kernels:
        values["LFM2CHAT_KERNELS"] = parsed.kernels
    # llama.cpp's threads meet hundreds of times in a pass: asleep they took twice as long. Between
    # requests they sleep in any case.
    return values


def view_array(pointer: Any, kind: type[Any]) -> Any:
    """The :data:`BATCH` numbers that a C ``pointer`` points to, without a copy."""
    return (kind * BATCH).from_address(ctypes.addressof(pointer.contents))


def collect_llama_errors() -> list[str]:
    """Silence llama.cpp in this process; what it says about errors is added to the list."""
    import llama_cpp

    errors: list[str] = []

    @llama_cpp.llama_log_callback
    def collect(level: int, text: bytes, _: object) -> None:
        if level == ERROR_LEVEL:
            errors.append(text.decode(errors="replace"))

    llama_cpp.llama_log_set(collect, ctypes.c_void_p(0))
    _CALLBACKS.append(collect)
    return errors


_CALLBACKS: list[object] = []
"""llama.cpp keeps a bare pointer to its callback: Python must not free it."""


def random_ids(count: int, vocabulary: int, *, seed: int = 0) -> list[int]:
    """The same ``count`` ids below ``vocabulary`` for every engine."""
    return random.Random(seed).choices(range(vocabulary), k=count)


def memory() -> dict[str, float]:
    """What this process holds and has held at most, in MiB; Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    names = {"peak_rss_mb": "VmHWM", "rss_mb": "VmRSS", "anonymous_mb": "RssAnon"}
    return {name: int(values[key].split()[0]) * 1024 / MB for name, key in names.items()}


def respond(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one ``request``."""
    match request["do"]:
        case "prefill":
            engine.clear()
            ids = random_ids(request["tokens"], engine.vocabulary)
            started = time.perf_counter()
            engine.read(ids)
            return {"seconds": time.perf_counter() - started}
        case "decode":
            past = request["past"]
            if engine.position > past:
                engine.clear()
            if engine.position < past:
                engine.read(random_ids(past - engine.position, engine.vocabulary))
            ids = random_ids(request["steps"], engine.vocabulary, seed=1)
            started = time.perf_counter()
            engine.step(ids)
            return {"seconds": time.perf_counter() - started}
        case "logits":
            engine.write_logits(request["ids"], Path(request["to"]))
            return {"shape": [len(request["ids"]), engine.vocabulary]}
        case "memory":
            return memory()
        case "bandwidth":
            if not isinstance(engine, OwnEngine):
                raise TypeError("only our own engine says where its weights are")
            return engine.bandwidth()
        case unknown:
            raise ValueError(f"nobody knows how to do {unknown!r}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of a child."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    engines = parser.add_subparsers(dest="engine", required=True)
    llama = engines.add_parser("llama")
    llama.add_argument("model", help="a GGUF file")
    llama.add_argument("--context", type=int, default=4096, help="tokens that the cache can hold")
    theirs = engines.add_parser("transformers")
    theirs.add_argument("model", help="a folder with config.json and model.safetensors")
    theirs.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    theirs.add_argument(
        "--wait",
        default="passive",
        choices=["passive", "default"],
        help="how its threads wait for work; on a machine without other work passive is slower",
    )
    own = engines.add_parser("lfm2chat")
    own.add_argument("model", help="a folder with config.json and model.safetensors")
    own.add_argument("--precision", default="int8", choices=["int8", "int4"])
    own.add_argument("--kernels", default="", help="take these alone; torch is always there")
    for engine in (llama, theirs, own):
        engine.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


def load(arguments: argparse.Namespace) -> Engine:
    """The engine that the command line asks for, with its model."""
    if arguments.engine == "llama":
        return LlamaEngine(arguments.model, context=arguments.context, threads=arguments.threads)
    if arguments.engine == "lfm2chat":
        return OwnEngine(arguments.model, precision=arguments.precision, threads=arguments.threads)
    return TransformersEngine(arguments.model, dtype=arguments.dtype, threads=arguments.threads)


def main() -> int:
    """Load, then answer until stdin ends or says so."""
    arguments = parse(sys.argv[1:])
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def answer(values: dict[str, Any]) -> None:
        answers.write(json.dumps(values) + "\n")

    if arguments.engine == "llama":
        import llama_cpp  # noqa: F401 - so the time to load is the model's
    elif arguments.engine == "transformers":
        from transformers.models.lfm2 import modeling_lfm2  # noqa: F401
    else:
        import lfm2chat.engine  # noqa: F401
    baseline = memory()["rss_mb"]
    started = time.perf_counter()
    try:
        engine = load(arguments)
    except Exception as error:  # noqa: BLE001 - the parent says so
        answer({"error": f"{type(error).__name__}: {error}"})
        return 1
    seconds = time.perf_counter() - started
    answer({"ready": True, "load_s": seconds, **memory(), "baseline_mb": baseline})
    for line in iter(sys.stdin.readline, ""):
        try:
            request = json.loads(line)
            if request["do"] == "stop":
                answer({"stopped": True})
                break
            answer(respond(engine, request))
        except Exception as error:  # noqa: BLE001 - the parent decides what it means
            answer({"error": f"{type(error).__name__}: {error}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
