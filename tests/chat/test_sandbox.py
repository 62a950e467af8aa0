from __future__ import annotations

import subprocess
import sys
import time

import pytest

from lfm2chat.chat import render as render_module
from lfm2chat.chat.render import Renderer
from lfm2chat.errors import TemplateError

MESSAGES = [{"role": "user", "content": "hi"}] * 300
NESTED = "{% for a in messages %}" * 4 + "{{ '' }}" + "{% endfor %}" * 4
DOUBLED = "{% set x = 'ab' %}" + "{% set x = x + x %}" * 60 + "{{ x | length }}"
DOUBLED_IN_LOOP = (
    "{% set ns = namespace(x='ab') %}"
    "{% for m in messages %}{% set ns.x = ns.x + ns.x %}{% endfor %}"
)
NESTED_NAMESPACES = (
    "{% set x = namespace() %}" + "{% set x = namespace(a=x, b=x) %}" * 60 + "{{ x }}"
)


def run(source: str) -> str:
    return Renderer(source).render([{"messages": MESSAGES, "tools": None, "bos_token": "B"}])[0]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ joiner() }}",
        "{{ range(5) }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(a=1) }}",
        "{% set ns = namespace(_x=1) %}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ raise_exception('no roles') }}",
        "{{ messages[0]['role'] + 1 }}",
        "{{ 1 // 0 }}",
        "{{ messages[10 ** 3]['role'] }}",
    ],
)
def test_no_template_gets_out(source):
    started = time.monotonic()
    with pytest.raises(TemplateError) as caught:
        run(source)
    assert caught.value.hint
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__ }}",
        "{{ messages._meter }}",
        "{{ raise_exception.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ self.__init__ }}",
        "{{ messages | attr('__class__') }}",
    ],
)
def test_what_is_private_is_not_there(source):
    assert run(source) == ""


@pytest.mark.parametrize(
    "source",
    [
        "{{ 9 ** (9 ** 9) }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ 'a'.center(10 ** 9) }}",
        "{{ 'a' | center(10 ** 9) }}",
        "{{ '%01000000000d' % 1 }}",
        "{{ 'a\\n' | indent(10 ** 9) }}",
        DOUBLED_IN_LOOP.replace("+", "~"),
        "{% for m in messages %}{{ messages ~ messages ~ messages }}{% endfor %}" * 20,
    ],
)
def test_an_expensive_template_is_run_apart_and_ended(source):
    assert not Renderer(source).in_process
    with pytest.raises(TemplateError):
        run(source)


@pytest.mark.parametrize("source", [DOUBLED, DOUBLED_IN_LOOP])
def test_what_runs_here_cannot_make_a_huge_text(source):
    assert Renderer(source).in_process
    with pytest.raises(TemplateError, match="makes more than"):
        run(source)


def test_what_runs_here_cannot_print_a_huge_text():
    renderer = Renderer("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}")
    assert renderer.in_process
    with pytest.raises(TemplateError, match="prints more than"):
        renderer.render([{"messages": [{"role": "user", "content": "x" * 10_000}] * 300}])


def test_what_runs_here_cannot_take_long():
    assert Renderer(NESTED).in_process
    with pytest.raises(TemplateError, match="takes longer than"):
        run(NESTED)


def test_nested_namespaces_are_not_written_out():
    assert run(NESTED_NAMESPACES) == "<Namespace>"


@pytest.mark.parametrize(
    "source",
    [
        "{% for c in messages[0].content %}{{ c }}{% endfor %}",
        "{% set messages = bos_token %}{% for c in messages %}{% endfor %}",
        "{% for messages in messages %}{% for c in messages %}{% endfor %}{% endfor %}",
        "{% for a, b in messages %}{% endfor %}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{% set x = [messages] %}",
        "{% set x %}{{ messages }}{% endset %}",
        "{{ bos_token ~ bos_token }}",
        "{{ bos_token % 1 }}",
        "{{ messages | tojson(indent=1000000000) }}",
        "{{ messages | join('x') }}",
        "{{ bos_token.replace('B', 'x') }}",
        "{{ strftime_now('%Y') }}",
        "{{ _meter }}",
        "{{ bos_token }}" * 700,
    ],
)
def test_what_could_grow_or_loop_unseen_does_not_run_here(source):
    assert not Renderer(source).in_process


def test_a_child_prints_what_a_template_here_prints():
    source = (
        "{% generation %}{{ bos_token }}{% endgeneration %}"
        "{% for m in messages[:2] %}{{ m | tojson }}{% if loop.first %}{% continue %}{% endif %},"
        "{% endfor %}"
    )
    here, apart = Renderer(source), Renderer(source + "{{ '' ~ '' }}")
    assert (here.in_process, apart.in_process) == (True, False)
    variables = [{"messages": [{"ä": "<é>"}] * 3, "bos_token": b} for b in "BC"]
    wanted = ['B{"ä": "<é>"}{"ä": "<é>"},', 'C{"ä": "<é>"}{"ä": "<é>"},']
    assert here.render(variables) == apart.render(variables) == wanted


def test_a_child_knows_the_date_and_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert run("{{ strftime_now('%Y') }}").isdigit()
    seen = []

    def remember(command, **options):
        seen.append(options["env"])
        return subprocess.CompletedProcess(command, 0, b'{"outputs": [""]}')

    monkeypatch.setattr(render_module.subprocess, "run", remember)
    Renderer("{{ '' ~ '' }}").render([{}])
    assert "HF_TOKEN" not in seen[0]


def test_a_child_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(render_module, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(render_module, "_WALL_LIMIT_S", 0.2)
    with pytest.raises(TemplateError, match="stopped after"):
        run("{{ '' ~ '' }}")


def test_a_child_that_cannot_start_is_an_error_of_ours(monkeypatch):
    monkeypatch.setattr(render_module.sys, "executable", "/nonexistent/python")
    with pytest.raises(TemplateError, match="can be started"):
        run("{{ '' ~ '' }}")


def test_a_child_starts_without_torch():
    code = "import sys, lfm2chat.chat.sandbox; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
