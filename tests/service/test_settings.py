"""Where options come from, which are refused, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quadra_matrix.errors import InvalidSettings
from quadra_matrix.service import settings as module
from quadra_matrix.service.secret import FEWEST_BYTES, PLACEHOLDERS, new_secret, weakness
from quadra_matrix.service.settings import Environment, LogLevel, Settings, Source, load, sources, unknown_variables
from quadra_matrix.telemetry.environment import Exporter, tracing_options


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    return tmp_path / ".env"


def test_the_defaults_are_for_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load()

    assert (settings.host, settings.port, settings.hub_port) == ("127.0.0.1", 5000, 5001)
    assert settings.data_dir == tmp_path / "quadra-data"
    assert settings.database_url == f"sqlite:///{tmp_path}/quadra-data/quadra.db"


def test_arguments_win_over_environment_over_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("QUADRA_PORT=1001\nQUADRA_HUB_PORT=1002\nQUADRA_WORKERS=7\n")
    monkeypatch.setenv("QUADRA_HUB_PORT", "2002")
    monkeypatch.setenv("QUADRA_WORKERS", "8")

    settings = load(workers=9, host=None)

    assert (settings.port, settings.hub_port, settings.workers, settings.host) == (1001, 2002, 9, "127.0.0.1")


def test_every_source_is_named(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("QUADRA_PORT=1001\nSECRET_KEY=from-the-file\nQUADRA_HOST=\n")
    monkeypatch.setenv("QUADRA_WORKERS", "8")

    found = sources()

    assert found["port"] == Source(".env", "QUADRA_PORT", "1001")
    assert found["workers"] == Source("environment", "QUADRA_WORKERS", "8")
    assert found["secret_key"] == Source(".env", "SECRET_KEY", "from-the-file")
    assert found["host"] == Source("default")
    assert "from-the-file" not in repr(found)


def test_a_misspelt_variable_is_noticed(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("QUADRA_PROT=1001\nOTHER=1\n")
    monkeypatch.setenv("QUADRA_URL", "http://127.0.0.1:5000")
    monkeypatch.setenv("QUADRA_WORKER", "8")

    assert unknown_variables() == ["QUADRA_PROT", "QUADRA_WORKER"]


def test_tracing_is_set_up_by_our_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACING_EXPORTER", "zipkin")
    settings = load(tracing_sample_ratio=0.25, tracing_endpoint="http://zipkin:9411/api/v2/spans")

    options = tracing_options(settings.tracing_variables())

    assert (options.exporter, options.sample_ratio) == (Exporter.ZIPKIN, 0.25)
    assert options.endpoint == "http://zipkin:9411/api/v2/spans"
    assert options.environment == "development"


def test_traces_stay_in_the_data_folder_unless_somebody_says_more() -> None:
    options = tracing_options(load().tracing_variables())

    assert (options.exporter, options.sample_ratio) == (Exporter.EMBEDDED, 1.0)


def test_standard_variables_of_tracing_go_before_ours(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("JAEGER_HOST=collector\nOTEL_SERVICE_NAME=shop\n")
    monkeypatch.setenv("QUADRA_TRACING_EXPORTER", "zipkin")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "jaeger")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")

    options = tracing_options(load(tracing_sample_ratio=0.5).tracing_variables())

    assert (options.exporter, options.service_name, options.sample_ratio) == (Exporter.JAEGER, "shop", 0.0)
    assert options.endpoint == "http://collector:4318/v1/traces"


def test_a_standard_address_goes_before_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4318")
    settings = load(tracing_exporter="otlp", tracing_endpoint="http://ours:4318/v1/traces")

    assert tracing_options(settings.tracing_variables()).endpoint == "http://standard:4318/v1/traces"


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("OTEL_TRACES_EXPORTER", "smoke", "one of otlp, jaeger"),
        ("TRACING_EXPORTER", "smoke", "otlp"),
        ("QUADRA_TRACING_ENDPOINT", "collector:4318", "http://"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "always_on"),
    ],
)
def test_a_wrong_option_of_tracing_is_refused_at_the_start(
    variable: str, value: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidSettings) as refused:
        load()

    ((place, said),) = refused.value.problems.items()
    assert place.removeprefix("QUADRA_") == variable.removeprefix("QUADRA_")
    assert rule in said


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_ALLOWED_ORIGINS", "https://a.example, https://b.example,")

    assert load().allowed_origins == ("https://a.example", "https://b.example")


def test_a_child_process_loads_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = load(data_dir=tmp_path, port=81, secret_key=new_secret(), allowed_origins=("https://a.example",))

    for name, value in parent.child_environment().items():
        monkeypatch.setenv(name, value)

    assert load() == parent


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QUADRA_PORT", "0"),
        ("QUADRA_PORT", "65536"),
        ("QUADRA_WORKERS", "none"),
        ("QUADRA_GRACE_SECONDS", "inf"),
        ("QUADRA_GRACE_SECONDS", "nan"),
        ("QUADRA_EXECUTOR", "ray"),
        ("QUADRA_LOG_LEVEL", "LOUD"),
        ("QUADRA_ENVIRONMENT", "staging"),
        ("QUADRA_DATABASE_URL", "mysql://host/name"),
        ("QUADRA_DATABASE_URL", "quadra.db"),
    ],
)
def test_a_refused_option_names_its_variable(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidSettings) as refused:
        load()

    assert list(refused.value.problems) == [variable]


def test_every_refused_option_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRA_PORT", "0")
    monkeypatch.setenv("QUADRA_WORKERS", "0")

    with pytest.raises(InvalidSettings, match=r"QUADRA_PORT: .*; QUADRA_WORKERS: "):
        load()


def test_the_dask_executor_needs_an_address() -> None:
    with pytest.raises(InvalidSettings, match="QUADRA_DASK_ADDRESS"):
        load(executor="dask")


def test_both_servers_need_their_own_port() -> None:
    with pytest.raises(InvalidSettings, match="QUADRA_HUB_PORT: Port 5001"):
        load(port=5001)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(load(), "port", 80)  # noqa: B010  mypy knows as well


@pytest.mark.parametrize("key", ["", "short", "changeme" * 8, "a" * 64, "Your-Secret-Key-Your-Secret-Key-Your"])
def test_production_refuses_a_weak_key_and_says_how_to_make_one(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", key)

    with pytest.raises(InvalidSettings, match=r"QUADRA_SECRET_KEY: .*quadra config secret") as refused:
        load(environment="production")

    assert list(refused.value.problems) == ["QUADRA_SECRET_KEY"]
    assert not key or key not in str(refused.value)


def test_production_starts_with_a_strong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", new_secret())

    assert load(environment="production").environment is Environment.PRODUCTION


def test_development_starts_without_a_key() -> None:
    assert load().secret_key is None


@given(st.binary(min_size=16, max_size=64))
def test_a_key_of_random_hexadecimal_digits_is_weak_for_its_length_alone(data: bytes) -> None:
    key = data.hex()

    assert (weakness(key) is None) == (len(set(key)) >= 8 and len(key) >= FEWEST_BYTES)


@given(st.sampled_from(PLACEHOLDERS), st.sampled_from(["-", "_", " ", ""]))
def test_a_placeholder_is_found_whatever_its_punctuation(word: str, between: str) -> None:
    key = between.join(word.upper()) + "-9f8e7d6c5b4a39281706f5e4d3c2b1a0"

    assert weakness(key) == "it is a placeholder"


def test_a_new_secret_is_strong_and_new() -> None:
    assert weakness(new_secret()) is None
    assert new_secret() != new_secret()


def test_no_secret_shows_in_the_representation() -> None:
    settings = load(
        secret_key="k" * 40, database_url="postgresql://u:hunter2@h/db", redis_url="redis://:hunter2@h:6379/0"
    )

    assert "hunter2" not in repr(settings)
    assert "kkkk" not in repr(settings)
    assert settings.log_level is LogLevel.INFO


def test_every_option_has_a_description_for_the_user() -> None:
    assert all(field.description for field in module.options().values())
