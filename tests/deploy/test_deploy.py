"""The files in deploy/ say what the command line, the server and the systems that read them understand."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml

from sortal.cli.main import program
from sortal.serving.guard import OPEN, is_loopback
from sortal.serving.limits import Limits

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CONTAINERFILE, UNIT, KSERVE = (DEPLOY / name for name in ("Containerfile", "sortal.service", "kserve.yaml"))
MOMENT = 5
"""Seconds between the last answer and the end of the process, at most."""


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions with what they say, lines that go on joined."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined) if name]


def last(name: str) -> str:
    """What the last such instruction says; the last one counts."""
    return [rest for each, rest in instructions() if each == name][-1]


def usage(words: str) -> str:
    """The command in the Containerfile's comment that begins so."""
    comment = "".join(line.removeprefix("#") for line in CONTAINERFILE.read_text().splitlines(keepends=True) if line[0] == "#")
    return re.search(rf"^ +({words}\b.*)$", comment.replace("\\\n", ""), flags=re.MULTILINE)[1]


@pytest.fixture
def unit() -> configparser.SectionProxy:
    """The unit's [Service]."""
    parser = configparser.RawConfigParser(strict=False, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def runtime() -> dict[str, Any]:
    """The ServingRuntime's specification."""
    return documents()["ServingRuntime"]


def documents() -> dict[str, Any]:
    return {each["kind"]: each["spec"] for each in yaml.safe_load_all(KSERVE.read_text())}


def asked(words: list[str]) -> dict[str, Any]:
    """The options that `sortal` takes from a command line; raises for words that it does not know."""
    assert PurePosixPath(words[0]).name == "sortal"
    name, *rest = words[1:]
    command = program.get_command(program.make_context("sortal", [name, *rest]), name)
    assert isinstance(command, click.Command)
    return command.make_context(name, rest).params


def in_container() -> dict[str, Any]:
    return asked(json.loads(last("ENTRYPOINT")) + json.loads(last("CMD")))


def in_pod(runtime: dict[str, Any]) -> dict[str, Any]:
    """The image's entry point with the runtime's arguments, which take the place of its CMD."""
    return asked(json.loads(last("ENTRYPOINT")) + runtime["containers"][0]["args"])


def under_systemd(unit: configparser.SectionProxy) -> dict[str, Any]:
    return asked(shlex.split(unit["ExecStart"]))


def test_the_container_serves_the_volume_at_model_to_others_with_the_token_that_its_usage_mounts() -> None:
    params = in_container()
    volume, secret = (re.search(pattern, usage("podman run"))[1] for pattern in (r"-v \S+:(/\w+):ro", r"--secret=(\S+)"))
    assert params["runs"] == (f"model={volume}",)
    assert params["token_file"] == Path("/run/secrets", secret)
    assert not is_loopback(params["host"])
    assert str(params["port"]) == last("EXPOSE")
    assert f"-p {params['port']}:{params['port']}" in usage("podman run")


def test_the_container_runs_as_nobody_in_particular_on_a_file_system_that_it_cannot_write() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(usage("podman run").split())


def account() -> dict[str, list[str]]:
    """The commands that make the image's user and group, by name of the program."""
    (text,) = [rest for name, rest in instructions() if name == "RUN" and "useradd" in rest]
    commands = [shlex.split(each) for each in text.split("&&")]
    return {words[0]: words[1:] for words in commands if words[0] in ("groupadd", "useradd")}


def test_the_user_of_the_image_is_no_system_account_and_its_group_has_the_number_under_which_it_runs(tmp_path: Path) -> None:
    missing = [name for name in account() if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and Debian's package passwd: {missing} is not here")
    (tmp_path / "etc").mkdir()
    system = "".join(f"_taken{number}:x:{number}:\n" for number in range(1, 1000))
    for name, text in {"passwd": "", "shadow": "", "gshadow": "", "group": system}.items():
        (tmp_path / "etc" / name).write_text(text)
    ranges = {"UID_MIN": 1000, "UID_MAX": 60000, "GID_MIN": 1000, "GID_MAX": 60000, "SYS_UID_MAX": 999, "SYS_GID_MAX": 999}
    (tmp_path / "etc" / "login.defs").write_text("".join(f"{key} {value}\n" for key, value in ranges.items()))
    for name, words in account().items():
        done = subprocess.run([name, "--prefix", str(tmp_path), *words], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    user, _, group = last("USER").partition(":")
    *_, line = (tmp_path / "etc" / "group").read_text().splitlines()
    assert line.split(":")[::2] == ["sortal", group]
    assert (tmp_path / "etc" / "passwd").read_text().split(":")[:4] == ["sortal", "x", user, group]
    assert min(int(user), int(group)) >= 1000


def test_the_image_is_built_from_files_that_are_there_in_the_format_that_keeps_a_health_check() -> None:
    words = usage("podman build").split()
    assert words[words.index("-f") + 1] == f"{DEPLOY.name}/{CONTAINERFILE.name}"
    assert words[words.index("--format") + 1] == "docker"
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            assert all((DEPLOY.parent / each).exists() for each in rest.split()[:-1])


def test_the_health_check_is_a_program_that_asks_the_servers_own_port() -> None:
    *_, code = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    compile(code, "HEALTHCHECK", "exec")
    assert urlsplit(re.search(r"http://[^']+", code)[0]).port == in_container()["port"]


def health_addresses() -> list[str]:
    asked_by_container = urlsplit(re.search(r"http://[^']+", last("HEALTHCHECK"))[0]).path
    container = documents()["ServingRuntime"]["containers"][0]
    return [
        asked_by_container,
        *(container[f"{each}Probe"]["httpGet"]["path"] for each in ("startup", "readiness", "liveness")),
    ]


@pytest.mark.parametrize("path", sorted(set(health_addresses())))
def test_a_health_address_is_one_of_the_servers_and_needs_no_token(path: str) -> None:
    pytest.importorskip("starlette", reason='needs the server: pip install "sortal[serve]"')
    from sortal.serving.app import Server, Wanted

    wanted = Wanted([], lambda *_: {}, lambda _: None, lambda *_: None)
    assert {route.path: route.methods for route in Server(wanted).routes()}[path] == {"GET", "HEAD"}
    assert path in OPEN


def test_the_pods_token_lies_where_the_server_looks_and_not_among_kubernetes_own(runtime: dict[str, Any]) -> None:
    (mount,), (volume,) = runtime["containers"][0]["volumeMounts"], runtime["volumes"]
    assert mount["name"] == volume["name"]
    assert mount["readOnly"] is True
    place = PurePosixPath(mount["mountPath"])
    assert not any(place.is_relative_to(root) for root in ("/run", "/var/run"))
    secret, key = re.search(
        r"kubectl create secret generic (\S+) --from-file=(\w+)`", (DEPLOY.parent / "docs/serving.md").read_text()
    ).groups()
    assert volume["secret"] == {"secretName": secret}
    assert in_pod(runtime)["token_file"] == Path(place, key)


def test_the_pod_serves_what_kserve_fetched_on_the_port_that_it_names(runtime: dict[str, Any]) -> None:
    params, container = in_pod(runtime), runtime["containers"][0]
    assert params["runs"] == ("{{.Name}}=/mnt/models",)
    assert [each["containerPort"] for each in container["ports"]] == [params["port"]]
    probes = [container[f"{each}Probe"]["httpGet"]["port"] for each in ("startup", "readiness", "liveness")]
    assert probes == [params["port"]] * 3


def test_the_service_names_the_runtime_and_what_it_supports(runtime: dict[str, Any]) -> None:
    model = documents()["InferenceService"]["predictor"]["model"]
    assert model["modelFormat"]["name"] in [each["name"] for each in runtime["supportedModelFormats"]]
    assert model["protocolVersion"] in runtime["protocolVersions"]
    assert model["runtime"] == yaml.safe_load(KSERVE.read_text().partition("---")[0])["metadata"]["name"]


def test_the_pod_may_do_nothing_and_has_no_token_of_the_cluster(runtime: dict[str, Any]) -> None:
    context = runtime["containers"][0]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == last("USER")
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert documents()["InferenceService"]["predictor"]["automountServiceAccountToken"] is False


def test_the_unit_serves_this_machine_alone_with_the_credential_that_it_loads(unit: configparser.SectionProxy) -> None:
    params = under_systemd(unit)
    name, _, source = unit["LoadCredential"].partition(":")
    assert is_loopback(params["host"])
    assert params["token_file"] == Path("${CREDENTIALS_DIRECTORY}", name)
    assert f"token {source}" in UNIT.read_text()
    ((_, _, served),) = [run.partition("=") for run in params["runs"]]
    assert PurePosixPath(served).is_relative_to(unit["ReadOnlyPaths"])


def test_the_unit_reaches_nobody_but_this_machine_and_binds_no_port_but_its_own(unit: configparser.SectionProxy) -> None:
    params = under_systemd(unit)
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "localhost")
    assert (unit["SocketBindDeny"], unit["SocketBindAllow"]) == ("any", f"ipv4:tcp:{params['port']}")
    assert ip_address(params["host"]).version == 4, "whoever serves ::1 has to allow it above"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt install systemd")
def test_systemd_finds_nothing_wrong_with_the_unit(unit: configparser.SectionProxy, tmp_path: Path) -> None:
    program = tmp_path / "sortal"
    program.touch(mode=0o755)
    # It looks whether the program is there; all else is as it stands.
    text = UNIT.read_text().replace(shlex.split(unit["ExecStart"])[0], str(program))
    (tmp_path / "sortal.service").write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "sortal.service")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_whoever_was_let_in_is_answered_before_anybody_ends_the_server(
    unit: configparser.SectionProxy, runtime: dict[str, Any]
) -> None:
    answering = Limits().drain_seconds
    program, seconds = runtime["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    # The time of a pod begins with preStop; processes need a moment to end besides.
    grace = documents()["InferenceService"]["predictor"]["terminationGracePeriodSeconds"]
    assert grace >= int(seconds) + answering + MOMENT
    assert int(unit["TimeoutStopSec"]) >= answering + MOMENT
    assert int(re.search(r"--stop-timeout=(\d+)", usage("podman run"))[1]) >= answering + MOMENT


def test_kubernetes_takes_the_pod_that_kserve_makes_of_the_two(runtime: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: pip install kubernetes-validate")
    of_kserve = {"supportedModelFormats", "protocolVersions", "multiModel", "minReplicas", "maxReplicas", "model"}
    both = {**runtime, **documents()["InferenceService"]["predictor"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bees"},
        "spec": {key: value for key, value in both.items() if key not in of_kserve},
    }
    validator.validate(pod, validator.latest_version(), strict=True)


def test_the_unit_has_no_user_on_the_disk_and_can_write_nothing(unit: configparser.SectionProxy) -> None:
    assert unit["DynamicUser"] == "yes"
    assert "User" not in unit
    assert unit["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in unit
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ""
    assert unit["NoNewPrivileges"] == "yes"
