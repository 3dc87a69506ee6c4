"""The files in deploy/ say what the command line, the server and the systems that read them understand."""

import configparser
import json
import re
import shlex
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml

from sortal.cli.main import program
from sortal.serving.guard import OPEN, is_loopback

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CONTAINERFILE, UNIT, KSERVE = (DEPLOY / name for name in ("Containerfile", "sortal.service", "kserve.yaml"))


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


def test_the_unit_has_no_user_on_the_disk_and_can_write_nothing(unit: configparser.SectionProxy) -> None:
    assert unit["DynamicUser"] == "yes"
    assert "User" not in unit
    assert unit["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in unit
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ""
    assert unit["NoNewPrivileges"] == "yes"
