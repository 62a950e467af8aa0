"""Folders of strangers: nothing in them is run, nothing outside them is read, the app lives on."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lfm2chat

# Every file that Python opens, compiles, runs or imports while a folder is loaded, as Python's own
# audit tells it. Two of them are loaded before: what that imports is ours.
LOAD = """
import json, os, sys, threading
from pathlib import Path
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.loaded import load_model
from lfm2chat.runtime.models import resolve_model
from lfm2chat.settings import Settings

NEVER = ("pickle.find_class", "marshal.loads", "import", "os.system", "os.exec", "os.posix_spawn",
         "subprocess.Popen", "ctypes.dlopen", "socket.connect", "os.symlink", "os.chmod")
seen = []

def hook(event, args):
    if not watching:
        return
    if event == "open":
        seen.append((event, str(args[0])))
    elif event in ("compile", "exec"):
        code = args[1] if event == "compile" else getattr(args[0], "co_filename", "")
        seen.append((event, str(code)))
    elif event in NEVER:
        seen.append((event, str(args[0])[:100]))

settings = [Settings(), Settings(precision="int8")]
packed = Path(sys.argv[1])  # takes the longer way, by the kernels
watching = False
sys.addaudithook(hook)
for each in settings:
    load_model(resolve_model(str(packed), Path("/nowhere")), each)
try:
    load_model(resolve_model(sys.argv[-1], Path("/nowhere")), settings[0])
except Lfm2ChatError:
    pass
for folder in sys.argv[1:]:
    for each in settings if Path(folder) == packed else settings[:1]:
        seen.clear()
        watching = True
        try:
            load_model(resolve_model(folder, Path("/nowhere")), each)
            told = None
        except Lfm2ChatError as error:
            told = [type(error).__name__, str(error), error.hint]
        watching = False
        print(json.dumps([folder, told, seen]))
"""


class Trap:
    """As a pickle it makes a file where nobody may make one."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


READ = {
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("chat_template.jinja", "model.safetensors", "lfm2chat.json"),
}
PACKAGE = Path(lfm2chat.__file__).parent
OTHER_WEIGHTS = (
    *("pytorch_model.bin", "model.pt", "model.pkl", "consolidated.00.pth", "adapter_model.bin"),
    *("model.ckpt", "training_args.bin", "optimizer.pt", "flax_model.msgpack", "tf_model.h5"),
)
CODE = (
    *("modeling_lfm2.py", "configuration_lfm2.py", "tokenization_lfm2.py", "__init__.py"),
    *("sitecustomize.py", "torch.py", "safetensors.py", "tokenizers.py", "jinja2.py", "handler.py"),
)
CONFIGS = (
    {"auto_map": {"AutoModelForCausalLM": "modeling_lfm2.Trap"}},
    {"auto_map": {"AutoConfig": "configuration_lfm2.Trap"}, "trust_remote_code": True},
    {"auto_map": {"AutoModel": "stranger/other--modeling.Trap"}},
    {"custom_pipelines": {"chat": {"impl": "handler.Trap", "pt": ["AutoModel"]}}},
    {"_name_or_path": "/etc/passwd"},
    {"quantization_config": {"quant_method": "trap", "module": "handler"}},
    {"torch_dtype": "__import__('handler')"},
    {"transformers_version": "!!python/object/apply:os.system ['true']"},
    {"__class__": "handler.Trap", "__reduce__": ["os.system", "true"]},
    {"py/object": "handler.Trap"},
)
TOKENIZERS = (
    {"tokenizer_class": "TrapTokenizer"},
    {"auto_map": {"AutoTokenizer": ["tokenization_lfm2.Trap", None]}},
    {"tokenizer_file": "/etc/passwd"},
    {"vocab_file": "../../../../etc/passwd", "merges_file": "/etc/passwd"},
    {"chat_template": "{% include '/etc/passwd' %}"},
    {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"},
    {"chat_template": [{"name": "default", "template": "{% import 'os' as os %}"}]},
    {"bos_token": {"__type": "AddedToken", "content": "<|startoftext|>", "lstrip": "x"}},
    {"extra_special_tokens": {"image": "__import__('handler')"}},
    {"added_tokens_decoder": {"7": {"content": "handler", "__class__": "handler.Trap"}}},
)


@pytest.fixture
def folders(make_model, tmp_path):
    """50 of them, and the file that one of them would make."""
    small = {"num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]}
    whole = make_model("whole", **small, full_attn_idxs=[1])
    tokenizer = json.loads((whole / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []  # it loads in a fifth of the time
    (whole / "tokenizer.json").write_text(json.dumps(tokenizer))
    canary = tmp_path / "canary"
    trap = pickle.dumps(Trap(canary))
    code = f"open({str(canary)!r}, 'w').close()"
    made = []

    def folder(kind, number):
        made.append(whole.parent / f"{kind}-{number}")
        shutil.copytree(whole, made[-1], copy_function=os.link)
        return made[-1]

    def change(path, values):
        text = json.dumps(json.loads(path.read_text()) | values)
        path.unlink()  # it is one file in all folders
        path.write_text(text)

    for number, name in enumerate(OTHER_WEIGHTS):
        (folder("beside", number) / name).write_bytes(trap)
        alone = folder("alone", number)
        (alone / name).write_bytes(trap)
        (alone / "model.safetensors").unlink()
    for number, name in enumerate(CODE):
        (folder("code", number) / name).write_text(code)
    for number, values in enumerate(CONFIGS):
        config = folder("config", number)
        change(config / "config.json", values)
        for name in CODE:
            (config / name).write_text(code)
    for number, values in enumerate(TOKENIZERS):
        tokenizer = folder("tokenizer", number)
        change(tokenizer / "tokenizer_config.json", values)
        (tokenizer / "chat_template.jinja").unlink()
        for name in CODE:
            (tokenizer / name).write_text(code)
    return made, canary


@pytest.mark.parametrize(("step", "good"), [(3, 15), pytest.param(1, 41, marks=pytest.mark.long)])
def test_nothing_in_50_folders_is_run_and_nothing_outside_of_them_is_read(step, good, folders):
    made, canary = folders
    assert len(made) == 50
    made = made[::step]
    command = [sys.executable, "-c", LOAD, *map(str, made)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = 0
    for folder, told, seen in map(json.loads, run.stdout.splitlines()):
        loaded += told is None
        for event, what in seen:
            if event == "open":
                assert is_ours(Path(what), Path(folder)), (folder, what)
            else:  # the chat template, compiled for the sandbox
                assert (event, what) in {("compile", "<template>"), ("exec", "<template>")}, folder
        if "alone" in folder:
            assert "no safetensors weights" in told[1]
            assert told[2]
    assert loaded == good  # none of those without weights; the first in both ways
    assert not canary.exists()


def is_ours(path, folder):
    """Whether ``path`` is of a model's own files, of the package, or of the system's figures."""
    if path.parent == folder:
        return path.name in READ
    return path.parts[1] in {"proc", "sys"} or path.is_relative_to(PACKAGE)
