from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import celery.events.snapshot
import pytest

from evtools.cam.camera import Camera
from evtools.cam.camera_options import Bytes, Seconds, converted, signature_of
from evtools.cam.polaroid import Polaroid
from evtools.errors import UsageError

if TYPE_CHECKING:
    from nowhere import Unknown


class Full(Camera):
    def __init__(
        self,
        *args: Any,
        path: Path,
        keep: Seconds = 60.0,
        size: Bytes | None = None,
        number: int = 3,
        share: float = 0.5,
        loud: bool = False,
        form: Literal["short", "long"] = "short",
        levels: tuple[float, ...] = (1.0,),
        text: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)


class More(Full):
    def __init__(self, *args: Any, more: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class Bare(Polaroid):
    """Says nothing of the kinds of its options but their defaults."""

    def __init__(self, state, where="x", often=3, share=0.5, *, loud=False, **kwargs):
        super().__init__(state, **kwargs)


class Puzzling(Polaroid):
    def __init__(self, state, x: Unknown = 1, **kwargs: Any) -> None:
        super().__init__(state, **kwargs)


def given(kind=Full, **options):
    if kind is Full:
        options = {"path": "/tmp/x"} | options
    return converted(options, signature_of(kind), "mod.Camera")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("path", "/var/x", Path("/var/x")),
        ("keep", "30d", 30 * 86400.0),
        ("size", "10M", 10 * 2**20),
        ("number", "-7", -7),
        ("share", "0.25", 0.25),
        ("loud", "yes", True),
        ("loud", "OFF", False),
        ("form", "long", "long"),
        ("levels", "1, 2.5,,3", (1.0, 2.5, 3.0)),
        ("text", "a=b", "a=b"),
        # from a settings file
        ("number", 7, 7),
        ("loud", True, True),
        ("levels", [1, 2.5], (1.0, 2.5)),
        ("keep", 30, 30.0),
    ],
)
def test_options_become_what_the_constructor_says(name, text, value):
    assert given(**{name: text})[name] == value
    assert type(given(**{name: text})[name]) in {type(value), type(Path())}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("number", "x", '--camera-option number: "x" is no whole number'),
        ("share", "\x1b[31m", "--camera-option share: "),
        ("loud", "maybe", '--camera-option loud: "maybe" is neither yes nor no'),
        ("form", "round", '--camera-option form: "round" is not one of short, long'),
        ("keep", "soon", '--camera-option keep: invalid duration "soon"'),
        ("size", "big", '--camera-option size: invalid size "big"'),
        ("levels", "1,x", '--camera-option levels: "x" is no number'),
    ],
)
def test_a_bad_value_is_refused_in_one_line(name, text, complaint):
    with pytest.raises(UsageError) as caught:
        given(**{name: text})
    assert caught.value.message.startswith(complaint)
    assert caught.value.message.isprintable()


def test_an_unknown_option_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(UsageError, match=r"camera mod\.Camera has no option nope") as e:
        given(nope="1")
    assert e.value.hint.startswith("it has: path, keep, size")
    with pytest.raises(UsageError) as e:
        given(Polaroid, nope="1")
    assert e.value.hint == "it has: none"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("freq", "use --freq"), ("cleanup_freq", "use --cleanup-freq"), ("state", "")],
)
def test_what_has_an_option_of_its_own_is_not_given_here(name, hint):
    with pytest.raises(UsageError, match=f"--camera-option {name} cannot be given") as e:
        given(**{name: "1"})
    assert e.value.hint == hint


def test_what_has_no_default_must_be_given():
    with pytest.raises(UsageError, match=r"camera mod\.Camera needs path"):
        converted({}, signature_of(Full), "mod.Camera")


def test_options_of_bases_are_options_too():
    signature = signature_of(More)
    assert {"more", "path", "keep"} <= signature.options.keys()
    assert signature.required == {"path"}
    assert not signature.is_open


def test_defaults_tell_what_annotations_do_not():
    options = given(Bare, where="x", often="7", share="0.25", loud="yes")
    assert options == {"where": "x", "often": 7, "share": 0.25, "loud": True}


def test_annotations_that_cannot_be_read_are_no_hindrance():
    assert given(Puzzling, x="7") == {"x": 7}


def test_it_is_known_which_of_the_usual_arguments_a_camera_takes():
    every = {"state", "freq", "maxrate", "cleanup_freq", "timer", "app"}
    assert signature_of(Full).standard == every
    assert signature_of(celery.events.snapshot.Polaroid).standard == every

    class Old:
        def __init__(self, state, freq=1.0, maxrate=None, timer=None):
            pass

    assert signature_of(Old).standard == {"state", "freq", "maxrate", "timer"}
    assert given(Old) == {}


def test_a_function_may_make_cameras():
    def make(state, *, path: str, **kwargs):
        return Polaroid(state, **kwargs)

    signature = signature_of(make)
    assert signature.is_open
    assert converted({"path": "x", "other": "y"}, signature, "mod:make") == {
        "path": "x",
        "other": "y",
    }


def test_a_class_without_a_constructor_takes_whatever_it_takes():
    class Nothing:
        pass

    assert signature_of(Nothing).options == {}
