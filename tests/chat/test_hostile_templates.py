"""Templates that cost: whatever one does, the app is back soon, with little memory taken.

In a process of its own, so that its peak is seen, and that of the children that it starts.
"""

import json
import subprocess
import sys

import pytest

from lfm2chat.chat.render import Renderer
from lfm2chat.errors import TemplateError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")

RENDER = """
import json, resource, sys, time
from lfm2chat.chat.render import Renderer
from lfm2chat.errors import TemplateError

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024

def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)

messages = [{"role": "user", "content": "hi"}] * 300
for source in json.load(sys.stdin):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before, started = peak(), cpu()
    try:
        given = {"messages": messages, "tools": None, "bos_token": "B"}
        found = len(Renderer(source).render([given])[0])
    except TemplateError as error:
        found = [str(error), error.hint]
    children = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps([found, cpu() - started, peak() - before, children]))
"""
CHILD_STARTS_S = 1.0  # measured: 0.1 to 0.2 s of CPU time
MB = 10**6


def render_all(sources):
    """For each: printed characters or the error, CPU seconds, bytes here, bytes of a child."""
    run = subprocess.run(
        [sys.executable, "-c", RENDER],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def times(text, count):
    return "".join(text.replace("#", str(number)) for number in range(count))


BIG = "{% set x = '\U0001f600 a ' %}" + "{% set x = x + x %}" * 22
LISTS = "{% set x = messages %}" + "{% set x = x + x %}" * 22
HERE = [
    BIG,
    BIG + "{{ x }}",
    BIG + times("{% set a# = x.split(' ') %}", 20),
    BIG + times("{% set a# = x.split() %}", 20),
    BIG + times("{% set a# = x.rsplit('a', -1) %}", 20),
    BIG + times("{% set a# = x.rstrip() %}", 60),
    BIG + times("{% set a# = x | upper %}", 60),
    BIG + times("{% set a# = x | lower %}", 60),
    BIG + times("{% set a# = x | trim %}", 60),
    LISTS,
    LISTS + "{{ x }}",
    LISTS + "{{ x | tojson }}",
    "{% set x = messages %}" + "{% set x = x + x %}" * 10 + times("{% set a# = x | tojson %}", 60),
    "{% for m in messages %}" * 3 + "{% set x = m.content + 'x' %}" + "{% endfor %}" * 3,
    "{% set n = namespace(x='ab') %}{% for m in messages %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set x = namespace() %}" + "{% set x = namespace(a=x, b=x) %}" * 60 + "{{ x }}",
    "{{ messages | tojson }}" * 200,
    "{{ messages }}" * 200,
]
APART = [
    BIG + times("{% set a# = x[1:] %}", 60),
    "{{ 'a' * 10 ** 9 }}",
    "{{ 'a'.center(10 ** 9) }}",
    "{{ 'a' | center(10 ** 9) }}",
    "{{ '%01000000000d' % 1 }}",
    "{{ 'a\\n' | indent(10 ** 9) }}",
    "{{ bos_token.replace('', 'x' * 10 ** 5).replace('', 'x' * 10 ** 5) }}",
    "{% set x = [messages, messages] %}{{ [x, x, x] * 10 ** 8 }}",
    "{{ messages | join('x' * 10 ** 7) }}",
    "{{ ('x' * 10 ** 6) | wordwrap(1) }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ namespace.__init__.__globals__['os'].system('id') }}",
    "{{ ''.join.__self__.__class__ | attr('__base__') }}{{ 1 // 0 }}",
    "{{ ('{0.__class__.__mro__[1]}' ~ '').format(1) }}{{ 1 // 0 }}",
    "{{ ('' ~ '{0.__init__}').format_map({'0': messages}) }}{{ 1 // 0 }}",
    "{{ messages.sort() ~ '' }}",
    "{{ (messages ~ '').encode().decode('rot13') }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% include '/etc/passwd' %}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
]
ENDLESS = [
    "{{ 9 ** (9 ** 9) }}",
    "{% for m in messages ~ '' %}" * 4 + "{% endfor %}" * 4,
    "{% for m in messages %}" * 4 + "{{ '' }}" + "{% endfor %}" * 4,
]


def check(sources):
    """Each ends in time and memory; gives those that printed something or nothing."""
    printed = set()
    for source, (what, cpu_s, here, child) in zip(sources, render_all(sources), strict=True):
        shown = source[:100] + source[-200:]
        assert cpu_s < 2.0 + CHILD_STARTS_S, shown
        assert here < 512 * 2**20, shown
        assert child < 512 * 2**20, shown
        if isinstance(what, list):
            assert all(what), shown
        else:
            assert what <= 4 * 2**20, shown
            printed.add(source)
    return printed


SOME_AND_ALL = [slice(2, None, 3), pytest.param(slice(None), marks=pytest.mark.long)]


@pytest.mark.parametrize("which", SOME_AND_ALL)
def test_a_template_that_runs_here_keeps_to_its_time_and_memory(which):
    assert all(Renderer(source).in_process for source in HERE)
    check(HERE[which])


@pytest.mark.parametrize("which", SOME_AND_ALL)
def test_a_template_that_runs_apart_keeps_to_them_too_and_gets_nothing(which):
    assert not any(Renderer(source).in_process for source in APART)
    assert not check(APART[which])


@pytest.mark.long
def test_an_endless_template_is_ended():
    assert not check(ENDLESS)


def test_a_template_of_more_than_64_kib_is_refused():
    with pytest.raises(TemplateError, match="65,536 bytes"):
        Renderer("x" * 65_537)
