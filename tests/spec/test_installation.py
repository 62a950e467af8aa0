"""The name under which measurements of this machine are kept."""

from lfm2chat.spec.installation import MAX_NAME, package_version, processor_name


def test_the_name_tells_generations_of_one_name_apart(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD   EPYC\nmodel\t: 1\n")
    assert processor_name(cpuinfo) == "AMD EPYC (family 25, model 17)"


def test_a_machine_that_tells_nothing_has_a_name_all_the_same(tmp_path):
    assert processor_name(tmp_path / "nothing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert processor_name(tmp_path / "binary")


def test_a_long_name_is_cut(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name: " + "x" * 1000)
    assert len(processor_name(cpuinfo)) == MAX_NAME


def test_the_version_is_a_text():
    assert isinstance(package_version(), str)
