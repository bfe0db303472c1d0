"""Every bad scenario is refused in one line a fault: file, line, dotted key, and the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.errors import ScenarioError
from launch.scenario.complaints import Fault
from launch.scenario.document import read_source
from launch.scenario.load import load_scenario
from launch.scenario.world import check_behaviour, check_schemes, check_traces

GOOD = """\
# a scenario that loads
seed = 3
[host]
memory = "4GiB"
[guests]
count = 2
memory = "512MiB"
workload = [
    { kind = "constant" },            # {not} = a table
    { kind = "sine", mean = "1GiB", amplitude = "1MiB", period = 60 },
    # the worst case: { kind = "replay" }
]
[arrivals]
kind = "burst"
count = 1
size = "1GiB"
[scheme.clamp]
cut = "even"
"""


def refusal(tmp_path: Path, text: str, sets: tuple[str, ...] = ()) -> str:
    """The only line of the error, which stands on its own."""
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as error:
        load_scenario(path, sets)
    (line,) = error.value.lines
    assert "\n" not in line
    return line.replace(f"{tmp_path}/", "")


def test_the_good_one_is_good(tmp_path: Path) -> None:
    """The scenario that the cases below spoil loads as it is."""
    (tmp_path / "good.toml").write_text(GOOD, encoding="utf-8")
    assert load_scenario(tmp_path / "good.toml").scenario.seed == 3


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "cure"),
    [
        ("count = 2", "cuont = 2", 6, "guests.cuont", "did you mean guests.count?"),
        ("seed = 3", "sede = 3", 2, "sede", "did you mean seed?"),
        ("seed = 3", "parallel = 3", 2, "parallel", "did you mean toolstack.parallel?"),
        ("[guests]", "[guets]", 5, "guets", "did you mean guests?"),
        ("seed = 3", "qqq = 3", 2, "qqq", "remove it, or use one of name, about"),
        ("amplitude =", "ampliude =", 10, "guests.workload.1.ampliude", "workload.1.amplitude?"),
        ("seed = 3", 'seed = "3"', 2, "seed", "must be a whole number, not '3'"),
        ("seed = 3", "seed = -3", 2, "seed", "0 or more"),
        ("seed = 3", "speed = -3", 2, "speed", "0.001 or more, not -3"),
        ("seed = 3", "speed = 0.0001", 2, "speed", "0.001 or more"),
        ("seed = 3", "speed = 1e7", 2, "speed", "1000000 or less"),
        ("seed = 3", "speed = nan", 2, "speed", "finite"),
        ("seed = 3", "repeats = 10_001", 2, "repeats", "10000 or less"),
        ("seed = 3", "duration = 1e8", 2, "duration", "10000000 or less"),
        ("seed = 3", "duration = inf", 2, "duration", "finite"),
        ("seed = 3", "name = '..'", 2, "name", "a letter or digit first"),
        ("seed = 3", "speed = inf", 2, "speed", "finite"),
        ("seed = 3", 'release = "4.16"', 2, "release", "not '4.16'; did you mean '4.21'?"),
        ("seed = 3", "release = 4.5", 2, "release", "'4.3', '4.12', '4.17', '4.21', '4.22' or 'claim-sets'"),
        ("seed = 3", "schemes = []", 2, "schemes", "at least 1"),
        ("seed = 3", "schemes = ['claim', 'claim']", 2, "schemes", "name it once"),
        ("seed = 3", "duration = 0", 2, "duration", "above 0"),
        ("seed = 3", "toolstack = 3", 2, "toolstack", "a table"),
        ('"4GiB"', '"4GB"', 4, "host.memory", 'write "4GiB"'),
        ('"4GiB"', '"4 apples"', 4, "host.memory", 'write "512MiB", "16GiB"'),
        ('"4GiB"', '"1KiB"', 4, "host.memory", "no whole number of 4 KiB pages"),
        ('"4GiB"', "-7", 4, "host.memory", "less than nothing"),
        ('"4GiB"', "0", 4, "host.memory", "above 0"),
        ('"4GiB"', "4.5", 4, "host.memory", "whole number of 4 KiB pages"),
        ('"4GiB"', '"1GiB"', 4, "host.memory", "raise host.memory or lower host.dom0"),
        ('"4GiB"', '"4GiB"\nnodes = ["1GiB", "1GiB"]', 5, "host.nodes", "make them equal"),
        ('"4GiB"', '"4GiB"\nnodes = "two"', 5, "host.nodes", "a whole number or an array"),
        ('"4GiB"', '"4GiB"\nname = "a b"', 5, "host.name", "letters, digits"),
        ('"4GiB"', '"4GiB"\nname = ".."', 5, "host.name", "a letter or digit first"),
        ('"4GiB"', '"4GiB"\nname = ""', 5, "host.name", "a letter or digit first"),
        ('"4GiB"', '"4097GiB"', 4, "host.memory", "at most 4TiB: lower it"),
        ('"4GiB"', '"4GiB"\nnodes = 65', 5, "host.nodes", "at most 64: name fewer"),
        ('"4GiB"', f'"65GiB"\nnodes = {["1GiB"] * 65}', 5, "host.nodes", "at most 64: name fewer"),
        ("count = 2", "count = 100_001", 6, "guests.count", "100000 or less"),
        ("count = 2", "count = 2\nheadroom = nan", 7, "guests.headroom", "finite"),
        (
            "count = 2",
            "count = 2\nbehaviour_options = {a = [inf]}",
            7,
            "guests.behaviour_options.a.0",
            "finite",
        ),
        ("period = 60", "period = inf", 10, "guests.workload.1.period", "finite"),
        ("period = 60", "period = 60, phase = nan", 10, "guests.workload.1.phase", "finite"),
        ('cut = "even"', "cut = nan", 18, "scheme.clamp.cut", "finite"),
        ("count = 1", "count = 1_000_001", 15, "arrivals.count", "1000000 or less"),
        ('"burst"\ncount = 1', '"poisson"\nrate = 2000', 15, "arrivals.rate", "lower arrivals.rate"),
        ("count = 2", "count = 20", 7, "guests.memory", "lower guests.count to 5"),
        ("count = 2", 'count = 2\nmax = "256MiB"', 7, "guests.max", "raise guests.max"),
        ("count = 2", 'count = 2\nkind = "arm"', 7, "guests.kind", "'hvm' or 'pv'"),
        ("count = 2", 'count = 2\nshared = 0.5\nkind = "pv"', 7, "guests.shared", "only HVM guests share"),
        ("count = 2", "count = 2\nshared_writes = 3.0", 7, "guests.shared_writes", "add guests.shared"),
        ("count = 2", "count = 2\nshared = 1.5", 7, "guests.shared", "0.99 or less"),
        ("count = 2", "count = 2\ntrace = 'x'", 7, "guests.trace", 'add {kind = "replay"}'),
        ('"constant"', '"replay"', 5, "guests.trace", "--set guests.trace=FOLDER"),
        ('"constant"', '"sinus"', 9, "guests.workload.0", "did you mean 'sine'?"),
        ('kind = "constant"', "pages = 3", 9, "guests.workload.0", 'kind = "constant", "sine"'),
        (", period = 60", "", 10, "guests.workload.1.period", "add period ="),
        ("period = 60", "period = 60, phase = 'x'", 10, "guests.workload.1.phase", "'random' or a number"),
        ('"1MiB"', '"2GiB"', 10, "guests.workload.1", "lower amplitude"),
        ('memory = "512MiB"\n', "", 5, "guests.memory", 'add memory = "512MiB"'),
        ('"burst"', '"poisson"', 13, "arrivals.rate", "add rate = 0.1"),
        ('"burst"', '"azure"', 13, "arrivals.trace", "--set arrivals.trace=FOLDER"),
        ('"burst"', '"bursts"', 14, "arrivals.kind", "did you mean 'burst'?"),
        ('"burst"\ncount = 1', '"burst"', 13, "arrivals.count", "add count = 6"),
        ('size = "1GiB"', "", 13, "arrivals.size", 'add size = "1GiB"'),
        ('size = "1GiB"', 'size = "9GiB"', 16, "arrivals.size", "raise host.memory"),
        ('size = "1GiB"', "size = 1\nsizes = [1]", 17, "arrivals.sizes", "keep one of the two"),
        ('size = "1GiB"', "size = 1\nat = 900", 17, "arrivals.at", "raise duration"),
        ('size = "1GiB"', "size = 1\nat = [1, 2]", 17, "arrivals.at", 'write kind = "list"'),
        ('size = "1GiB"', "size = 1\nat = []", 17, "arrivals.at", "write at = 0, its second"),
        ('"burst"\ncount = 1', '"list"\nat = []', 15, "arrivals.at", "write at = [60], the second of each"),
        ('size = "1GiB"', "size = 1\nat = [inf]", 17, "arrivals.at.0", "finite"),
        ('size = "1GiB"', "size = 1\nat = 'x'", 17, "arrivals.at", "a number or an array"),
        ("[scheme.clamp]", "[scheme]\nclamp = 3\n[scheme.other]", 18, "scheme.clamp", "must be a table"),
        ('cut = "even"', "[hosts]\nname = 'a'", 18, "hosts", "write [[hosts]] above each"),
        ('cut = "even"', "[[hosts]]\nmemroy = 3", 19, "host.memroy", "did you mean host.memory?"),
        ('cut = "even"', "[[hosts]]\n[hosts.guests]\ncount = 'x'", 20, "guests.count", "a whole number"),
        ("seed = 3", "# a line\u2028that is one\nsede = 3", 3, "sede", "did you mean seed?"),
        ("seed = 3", 'builder = """\n[host]\n"""', 2, "builder", "did you mean toolstack.builder?"),
    ],
)
def test_a_fault_is_told_with_its_place_and_cure(
    tmp_path: Path, old: str, new: str, line: int, key: str, cure: str
) -> None:
    """The one line names the file, the line, the dotted key and what to do."""
    assert old in GOOD
    said = refusal(tmp_path, GOOD.replace(old, new, 1))
    assert said.startswith(f"bad.toml:{line}: {key}: "), said
    assert cure in said, said


def test_several_faults_are_several_lines(tmp_path: Path) -> None:
    """Every fault has a line of its own."""
    (tmp_path / "bad.toml").write_text(GOOD.replace("count", "cuont"), encoding="utf-8")
    with pytest.raises(ScenarioError) as error:
        load_scenario(tmp_path / "bad.toml")
    assert [line.rpartition("/")[2].split(": ")[0] for line in error.value.lines] == [
        "bad.toml:6",
        "bad.toml:15",
    ]


def test_text_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    """A syntax error names file and line."""
    assert refusal(tmp_path, "seed = 3\nname = demo\n").startswith("bad.toml:2: not TOML")


@pytest.mark.parametrize(
    ("assignment", "start", "cure"),
    [
        ("guests.cuont=3", "--set guests.cuont: unknown key", "did you mean guests.count?"),
        ("guests.workload.1.period=0", "--set guests.workload.1.period: ", "above 0"),
        ("guests={cuont=3}", "--set guests.cuont: unknown key", "did you mean guests.count?"),
        ("guests.workload.1.kind=sinus", "--set guests.workload.1.kind: ", "did you mean 'sine'?"),
        ("guests.workload.1.amplitude=2GiB", "--set guests.workload.1.amplitude: ", "lower amplitude"),
        ("guests.workload.1=3", "--set guests.workload.1: ", "must be a table, not 3"),
        ("speed=fast", "--set speed: ", "must be a number, not 'fast'"),
    ],
)
def test_the_command_line_is_blamed_for_its_own_faults(
    tmp_path: Path, assignment: str, start: str, cure: str
) -> None:
    """A fault that --set brought in is told as such, not as the file's."""
    said = refusal(tmp_path, GOOD, (assignment,))
    assert said.startswith(start) and cure in said, said


def test_an_option_is_blamed_by_its_name() -> None:
    """--seed and --scheme are named as options."""
    with pytest.raises(ScenarioError, match=r"^--seed: must be 0 or more, not -1$"):
        load_scenario("default", seed=-1)


def test_the_largest_that_is_possible_is_accepted(tmp_path: Path) -> None:
    """Every limit is the last value that is allowed, not the first that is not."""
    (tmp_path / "large.toml").write_text(GOOD, encoding="utf-8")
    sets = ("host.memory=4TiB", "host.nodes=64", "repeats=10000", "duration=1e7", "speed=1e6")
    scenario = load_scenario(tmp_path / "large.toml", (*sets, "arrivals.count=1000000")).scenario
    assert (scenario.host.memory, scenario.host.nodes) == (1 << 30, 64)
    sets = ("guests.count=100000", "guests.memory=1", "speed=0.001", "host.name=a..-_")
    assert load_scenario(tmp_path / "large.toml", sets).scenario.guests.count == 100_000


def test_a_file_is_the_name_of_its_scenario_whatever_it_is_called(tmp_path: Path) -> None:
    """What a file's name begins with and a scenario's may not is left out."""
    for file, name in ((".hidden.toml", "hidden"), ("...toml", "scenario"), ("-x y.toml", "x-y")):
        (tmp_path / file).write_text(GOOD, encoding="utf-8")
        assert load_scenario(tmp_path / file).scenario.name == name


def test_a_scheme_named_on_the_command_line_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    """What is wrong with a scheme is told of its table where it has one, else of who named it."""
    path = tmp_path / "x.toml"
    path.write_text(GOOD, encoding="utf-8")
    loaded = load_scenario(path, schemes=["os:path", "clamp"])
    named, table = loaded.error(Fault(("scheme", "os:path"), "no"), Fault(("scheme", "clamp"), "no")).lines
    assert named == "--scheme: no"
    assert table == f"{path}:17: scheme.clamp: no"
    path.write_text("schemes = ['os:path']\n" + GOOD, encoding="utf-8")
    assert load_scenario(path).error(Fault(("scheme", "os:path"), "no")).lines == (f"{path}:1: schemes: no",)


def test_a_scenario_that_is_not_there_names_those_that_are() -> None:
    """A wrong name is answered with the built-in names."""
    with pytest.raises(ScenarioError, match=r"defualt: no such .* did you mean 'default'\?.*borg, default"):
        read_source("defualt")


def test_borg_without_its_traces_says_what_to_add() -> None:
    """Each missing path is one line with the --set that cures it."""
    with pytest.raises(ScenarioError) as error:
        load_scenario("borg")
    guests, arrivals = error.value.lines
    assert "guests.trace: missing" in guests and "--set guests.trace=FOLDER" in guests
    assert "arrivals.trace: missing" in arrivals and "--set arrivals.trace=FOLDER" in arrivals


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (None, "name a Google Borg 2019"),
        ("time,avg_memory_usage,collection_id\n1,2,3\n", "all columns of Google's"),
        ("a,b\n1,2\n", "no memory trace here"),
    ],
)
def test_a_trace_is_looked_at_before_anything_starts(tmp_path: Path, content: str | None, cure: str) -> None:
    """A missing trace, or one without its columns, is one line that names the key."""
    if content is not None:
        (tmp_path / "trace.csv").write_text(content, encoding="utf-8")
    trace = f"guests.trace={tmp_path / 'trace.csv'}"
    loaded = load_scenario("default", [trace, 'guests.workload=[{kind="replay"}]'])
    with pytest.raises(ScenarioError) as error:
        check_traces(loaded)
    (line,) = error.value.lines
    assert line.startswith("--set guests.trace: ") and cure in line


def test_a_launch_stream_that_is_not_there_names_its_files(tmp_path: Path) -> None:
    """arrivals.trace without the Azure files is one line that lists them."""
    loaded = load_scenario("default", [f"arrivals.trace={tmp_path}", "arrivals.kind=azure"])
    with pytest.raises(ScenarioError, match=r"^--set arrivals.trace: .*flav_map.txt[^\n]*$"):
        check_traces(loaded)


def test_a_behaviour_nobody_knows_is_refused() -> None:
    """An unknown behaviour is one line with the known ones."""
    loaded = load_scenario("default", ["guests.behaviour=idel"])
    with pytest.raises(ScenarioError, match=r"^--set guests.behaviour: .*ideal[^\n]*$"):
        check_behaviour(loaded)


def never(scheme: str, release: str) -> str | None:
    return None


def too_old(scheme: str, release: str) -> str | None:
    return f"{scheme} came later: take a newer one" if release == "4.3" else None


def test_a_scheme_nobody_offers_is_refused() -> None:
    """An unknown scheme is one line with the names that are offered; module:Class is left to its loader."""
    loaded = load_scenario("default", schemes=["clam", "my.module:Class"])
    with pytest.raises(
        ScenarioError, match=r'^--scheme: no scheme "clam"; did you mean \'claim\'\?: name one of'
    ):
        check_schemes(loaded, ("claim", "naive"), never)


def test_parameters_of_a_scheme_nobody_offers_are_refused(tmp_path: Path) -> None:
    """A [scheme.NAME] table must belong to a scheme that exists, run now or not."""
    (tmp_path / "x.toml").write_text(GOOD.replace("[scheme.clamp]", "[scheme.clmp]"), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"x.toml:17: scheme.clmp: .*did you mean 'clamp'"):
        check_schemes(load_scenario(tmp_path / "x.toml"), ("claim", "naive", "clamp"), never)


def test_a_scheme_the_release_cannot_carry_is_refused() -> None:
    """The release's objection is passed on with its cure."""
    loaded = load_scenario("default", ["release=4.3"], schemes=["claim"])
    with pytest.raises(
        ScenarioError, match=r'^--scheme: release 4.3 cannot carry "claim": .*take a newer one$'
    ):
        check_schemes(loaded, ("claim",), too_old)
