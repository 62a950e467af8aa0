"""`lfm2chat verify` as a process of its own."""

import json


def test_the_guide_agrees_with_transformers(lfm2chat):
    done = lfm2chat("verify", "guide", "--quick", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kept"] is True
    assert report["parameters"] == 3_297_792
    assert {figure["precision"] for figure in report["figures"]} == {"", "float32"}
    assert all(figure["kept"] for figure in report["figures"])
    assert report["worst"]["value"] <= 1e-4
    assert set(report["versions"]) == {"lfm2chat", "torch", "transformers"}
    assert "transformers reads" in done.stderr


def test_a_model_that_is_not_there_ends_with_3(lfm2chat):
    done = lfm2chat("verify", "nonsense")

    assert done.returncode == 3
    assert done.stdout == ""
    assert "nonsense" in done.stderr
