"""The other commands, each as a process of its own."""

import stat

import lfm2chat as package
from lfm2chat.hub.catalog import catalog


def test_the_version_is_the_packages(lfm2chat):
    assert lfm2chat("--version").stdout == f"lfm2chat {package.__version__}\n"


def test_without_a_terminal_the_app_says_to_use_ask(lfm2chat):
    done = lfm2chat()

    assert done.returncode == 2
    assert "lfm2chat ask" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_an_unknown_command_is_a_usage_error(lfm2chat):
    assert lfm2chat("nonsense").returncode == 2


def test_models_list_shows_the_guide_and_what_can_be_had(lfm2chat):
    lines = lfm2chat("models", "list").stdout.splitlines()

    assert lines[0].split()[0] == "guide"
    assert lines[0].endswith("ready")
    pulls = [line for line in lines if "models pull" in line]
    assert [line.split()[0] for line in pulls] == [card.name for card in catalog()]


def test_models_show_tells_what_is_known_of_a_model(lfm2chat):
    shown = lfm2chat("models", "show", "lfm2-350m").stdout

    assert "LiquidAI/LFM2-350M" in shown
    assert "354,483,968" in shown
    assert "LFM Open License" in shown


def test_models_show_tells_what_one_must_know_to_use_a_model(lfm2chat):
    shown = lfm2chat("models", "show", "LFM2-350M-ENJP-MT").stdout

    assert "must be exactly one of those named" in shown
    assert "Translate to Japanese." in shown
    assert "Translate to English." in shown


def test_a_model_on_disk_is_listed_and_a_broken_one_says_why(lfm2chat, make_model):
    make_model("Stranger")
    broken = make_model("Broken")
    (broken / "config.json").write_text('{"model_type": "llama"}')

    listed = lfm2chat("models", "list").stdout

    assert "Stranger" in listed
    assert next(line for line in listed.splitlines() if "Broken" in line).count("cannot be used")


def test_an_unknown_model_lists_the_places_looked_at(lfm2chat, paths):
    done = lfm2chat("models", "show", "nonsense")

    assert done.returncode == 3
    assert str(paths.models) in done.stderr


def test_an_unknown_conversation_ends_with_6(lfm2chat):
    done = lfm2chat("conversations", "show", "12")

    assert done.returncode == 6
    assert "12" in done.stderr


def test_doctor_names_versions_device_threads_folders_and_models(lfm2chat, home):
    report = lfm2chat("doctor").stdout

    for word in ("torch", "device", "threads", str(home / "data"), "guide"):
        assert word in report


def test_everything_that_is_written_is_private(lfm2chat, home):
    lfm2chat("ask", "hi", "--save")

    for path in home.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_locale_without_the_characters_gets_them_spelled_out(lfm2chat, home):
    title = "caf\u00e9 \u2026 \u6f22"
    assert lfm2chat("ask", "--save", title).returncode == 0
    done = lfm2chat(
        "conversations", "list", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9 \\u2026 \\u6f22" in done.stdout
