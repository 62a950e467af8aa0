"""What a start may not load: the screen must paint before torch is there."""

import subprocess
import sys

import pytest


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_command_line_imports_neither_torch_nor_textual():
    loaded = loaded_by("import lfm2chat.cli")
    assert "lfm2chat" in loaded
    assert not loaded & {"torch", "textual", "transformers", "huggingface_hub"}


def test_the_plain_chat_imports_neither_torch_nor_textual():
    loaded = loaded_by("import lfm2chat.plain")
    assert "lfm2chat" in loaded
    assert not loaded & {"torch", "textual", "rich", "typer", "transformers", "huggingface_hub"}


def test_the_app_imports_no_torch():
    loaded = loaded_by("import lfm2chat.tui.app")
    assert "textual" in loaded
    assert not loaded & {"torch", "transformers", "huggingface_hub"}


def test_the_package_imports_nothing_heavy():
    assert not loaded_by("import lfm2chat") & {"torch", "textual", "transformers", "tokenizers"}


def test_an_answer_imports_no_transformers():
    loaded = loaded_by(
        "import lfm2chat\nlist(lfm2chat.load('guide').chat([dict(role='user', content='hi')]))"
    )
    assert "torch" in loaded
    assert not loaded & {"transformers", "textual", "huggingface_hub"}


@pytest.mark.parametrize("name", ["ChatModel", "Lfm2Config", "Lfm2ForCausalLM", "load"])
def test_the_documented_names_are_there(name):
    import lfm2chat

    assert getattr(lfm2chat, name).__name__ == name
    assert name in lfm2chat.__all__


def test_an_unknown_name_is_an_attribute_error():
    import lfm2chat

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lfm2chat.nonsense
