import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import pytest
from cyclopts import App, CycloptsError

from abrazo.cli.options import as_options, with_options
from abrazo.config import Config
from abrazo.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baking(Config):
    """How bread is baked."""

    ALIASES: ClassVar[Mapping[str, str]] = {"temp": "oven_heat"}

    oven_heat: float = 200.0
    """Degrees; `flour_kinds` may want more."""
    flour_kinds: Sequence[str] | None = None
    """Kinds of flour."""
    crust: Literal["soft", "hard"] = "hard"
    """How the crust is."""
    is_sour: bool = False
    """Whether there is sourdough."""
    rests: bool | None = None
    """Whether it rests."""

    def __post_init__(self) -> None:
        if self.oven_heat <= 0:
            raise ConfigError(f"`oven_heat` must be above 0, but is {self.oven_heat}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowBaking(Baking):
    """Bread that takes its time."""

    hours: int = 24
    """How long."""


def bake(name: str, *, loaves: int = 1, settings: Baking) -> None:
    """Bake bread.

    Args:
        name: Of the bread.
        loaves: How many.
        settings: How.
    """
    baked.append((name, loaves, settings))


baked: list[tuple[str, int, Baking]] = []


def parse(*words: str, function=None) -> tuple[str, int, Baking]:
    app = App(name="bakery")
    app.command(function or with_options(bake), name="bake")
    app(["bake", *words], exit_on_error=False, print_error=False, result_action="return_value")
    return baked.pop()


def test_fields_become_options_with_their_types():
    _, _, settings = parse(
        "rye", "--oven-heat", "250", "--flour-kinds", "rye", "wheat", "--crust", "soft"
    )
    assert settings == Baking(oven_heat=250.0, flour_kinds=["rye", "wheat"], crust="soft")


def test_without_options_the_settings_are_the_defaults():
    assert parse("rye") == ("rye", 1, Baking())


def test_plain_parameters_stay():
    assert parse("rye", "--loaves", "3")[:2] == ("rye", 3)


def test_aliases_of_settings_are_options_too():
    assert parse("rye", "--temp", "180")[2].oven_heat == 180.0


@pytest.mark.parametrize(
    ("words", "rests"), [((), None), (("--rests",), True), (("--no-rests",), False)]
)
def test_a_truth_value_that_may_be_left_open_has_both_forms(words, rests):
    assert parse("rye", *words)[2].rests is rests


def test_another_kind_of_settings_can_take_the_place():
    slow = with_options(bake, settings=SlowBaking)
    assert parse("rye", "--hours", "30", function=slow)[2] == SlowBaking(hours=30)


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(CycloptsError, match=r"--oven-haet.*Did you mean --oven-heat"):
        parse("rye", "--oven-haet", "3")


def test_a_choice_is_checked():
    with pytest.raises(CycloptsError, match='"hard"'):
        parse("rye", "--crust", "hrd")


def test_what_the_settings_refuse_is_told_by_the_names_of_options():
    with pytest.raises(ConfigError, match=r"^`--oven-heat` must be above 0, but is -1\.0\.$"):
        parse("rye", "--oven-heat", "-1")


def test_help_shows_the_text_under_each_field(capsys):
    app = App(name="bakery")
    app.command(with_options(bake), name="bake")
    app(["bake", "--help"], result_action="return_value")
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("Bake bread.", "Of the bread.", "How many.", "Degrees; --flour-kinds may", "How"):
        assert text in shown
    assert "--no-is-sour" not in shown  # it would say what is so anyway


def test_only_names_of_fields_are_spelled_as_options():
    assert as_options("`a_b` and `c_d`", ["a_b"]) == "`--a-b` and `c_d`"
