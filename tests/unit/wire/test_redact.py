"""Redaction: a secret is gone, whatever it looks like, and little else is."""

import dataclasses
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evtools.errors import UsageError
from evtools.wire.codec import Schema, from_fields
from evtools.wire.events import OWN_FIELDS
from evtools.wire.redact import MASK, redactor

EVENT = {
    "type": "task-sent",
    "timestamp": 1.0,
    "local_received": 1.5,
    "uuid": "u1",
    "name": "proj.login",
    "args": "('alice',)",
    "kwargs": "{'user': 'alice', 'password': 'hunter2', 'tries': 3}",
    "token": "abc",
    "queue": None,
}


def redacted(event, *patterns):
    """What is left of an event, the same as a dictionary and typed."""
    fields, schema = dict(event), Schema()
    redact = redactor(patterns)
    redact(fields)
    for learns in (None, schema):
        typed = redact.of_event(from_fields({**event, "local_received": 1.5}, learns))
        assert typed.as_dict() == {**fields, "local_received": 1.5}
    return fields


@pytest.mark.parametrize("pattern", ["pid", "clock", "/e/", "uuid", "zone", "loadavg", "runtime"])
@pytest.mark.parametrize("kind", OWN_FIELDS)
def test_a_typed_event_is_masked_as_its_fields_are(kind, pattern):
    values = {"retries": 1, "runtime": 0.5, "pid": 1, "clock": 1, "utcoffset": 0, "timestamp": 1.0}
    values |= {"active": 1, "processed": 5, "freq": 2, "signum": 15, "loadavg": [1, 0.5, 0.25]}
    values |= {"terminated": True, "expired": False, "requeue": True}
    fields = {name: values.get(name, f"the {name}") for name in OWN_FIELDS[kind]}
    left = redacted({"type": kind, **fields, "zone": ["e"]}, pattern)
    assert (left.get(pattern, MASK) == MASK) or pattern == "/e/"
    event = from_fields({"type": kind, **fields, "local_received": 1.5})
    event.known = {"name": "the task", "queue": 7}
    masked = redactor([pattern]).of_event(event)
    assert masked.joined == (
        {"name": f"th{MASK} task", "queue": 7} if pattern == "/e/" else event.joined
    )
    number = getattr(masked, pattern, None)
    assert number is None or pattern in ("/e/", "uuid")


def kwargs(text, *names):
    """What is left of the kwargs when these arguments are masked."""
    patterns = [f"kwargs.{name}" for name in names or ("password",)]
    return redacted({"type": "task-sent", "kwargs": text}, *patterns)["kwargs"]


# --- patterns --------------------------------------------------------------------


ARGUMENT = {"kwargs": "{'user': 'alice', 'password': ***, 'tries': 3}"}


@pytest.mark.parametrize(
    ("patterns", "changes"),
    [
        (["kwargs.password"], ARGUMENT),
        # It is an argument that is named, and no field.
        (["kwargs.token"], {}),
        # A name is a field of the event and an argument.
        (["token", "queue", "password", "other"], {"token": MASK, "queue": MASK, **ARGUMENT}),
        (["kwargs"], {"kwargs": MASK}),
        # What an event is and when it was stays; a single slash is a name.
        (["type", "timestamp", "local_received", "/task/"], {}),
        (["/"], {"/": MASK}),
    ],
)
def test_what_is_named_is_masked_and_nothing_else(patterns, changes):
    event = {**EVENT, "/": 1}
    assert redacted(event, *patterns) == {**event, **changes}


def test_a_regex_is_masked_in_every_text_however_deep():
    event = {
        **EVENT,
        "custom": {"hunter1": ["x hunter2 y", {"deep": "hunter3"}], "n": 2},
        "result": "hunter2hunter2",
    }
    assert redacted(event, r"/hunter\d/") == {
        **EVENT,
        "kwargs": "{'user': 'alice', 'password': '***', 'tries': 3}",
        "custom": {MASK: [f"x {MASK} y", {"deep": MASK}], "n": 2},
        "result": MASK + MASK,
    }


def test_a_text_that_takes_too_long_is_masked_whole():
    event = {"type": "task-failed", "exception": "a" * 60 + "!", "result": "baa"}
    assert redacted(event, "/(a|a)+$/") == {**event, "exception": MASK, "result": f"b{MASK}"}


@pytest.mark.parametrize("pattern", ["/(/", "//", "", "kwargs.", "/*/"])
def test_a_pattern_that_cannot_work_is_refused(pattern):
    with pytest.raises(UsageError, match="--redact") as caught:
        redactor([pattern])
    assert caught.value.hint


def test_arguments_that_are_real_objects_are_masked_at_any_depth():
    value = {
        "user": "alice",
        "password": ["a", "b"],
        "nested": [{"password": 1, "other": 2}, "{'password': 'x'}", None],
    }
    assert kwargs(value) == {
        "user": "alice",
        "password": MASK,
        "nested": [{"password": MASK, "other": 2}, "{'password': ***}", None],
    }
    assert kwargs(None) is None
    assert kwargs(5) == 5


# --- texts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("{}", "{}"),
        ("{'password': 1}", "{'password': ***}"),
        ("{'password': None, 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'password': '', 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'password': \"it's\", 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'password': 'a, b: {', 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'password': ['x', ('y', {'z': 1})], 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'password': {'x', 'y'}, 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'password': Decimal('1.5'), 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'a': {'password': 'x', 'b': 2}, 'c': 3}", "{'a': {'password': ***, 'b': 2}, 'c': 3}"),
        ("{'a': [{'password': 'x'}], 'c': 3}", "{'a': [{'password': ***}], 'c': 3}"),
        ("{'password': 'C:\\\\x', 'a': 1}", "{'password': ***, 'a': 1}"),
        ("{'passwords': 'x', 'my_password': 1}", "{'passwords': 'x', 'my_password': 1}"),
        ("{'password': 'x', 'password': 'y'}", "{'password': ***, 'password': ***}"),
        ('{"password": "x", "a": 1}', '{"password": ***, "a": 1}'),
        ('{"password" :\n "x",\n "a": 1\n}', '{"password" :\n ***,\n "a": 1\n}'),
        # Cut by the sender.
        ("{'password': 'xxxx..., ...}", "{'password': ***"),
        ("{'password': 'xxxx...', ...}", "{'password': ***}"),
        ("{'password': [1, 2, ...], ...}", "{'password': ***}"),
        ("{'password': ", "{'password': ***"),
        ("{'a': 1, 'password': 'x', 'b", "{'a': 1, 'password': ***"),
        ("{'a': 1, 'passwo", "{'a': 1, 'passwo"),
        # Where the end is in doubt, all the rest goes.
        ("{'password': 'it\\'s', 'a': 1}", "{'password': ***"),
        ("{'password': 'x\\\\', 'a': 1}", "{'password': ***"),
        ("{'password': b'x', 'a': 1}", "{'password': ***"),
        ("{'password': <User: a, 'b': c>, 'a': 1}", "{'password': ***"),
        ("{'password': O'Brien, 'a': 1}", "{'password': ***"),
        ("{'password': [1), 'a': 1}", "{'password': ***"),
        ("{'password': smile :) and, 'a': 1}", "{'password': ***"),
        ("{'password': 'x'y, 'a': 1}", "{'password': ***"),
        ("{'password': x\\, 'a': 1}", "{'password': ***"),
        ("{'password': 1, 2: 3, 'a': 1}", "{'password': ***, 'a': 1}"),
    ],
)
def test_values_in_text_are_masked_as_far_as_they_may_go(text, left):
    assert kwargs(text) == left


@pytest.mark.parametrize("name", ["it's", 'a"b', "back\\slash", "caf\u00e9", "a.b*", "\n", "\x1b"])
def test_a_name_is_found_however_it_is_written(name):
    for text in (repr({name: "x"}), json.dumps({name: "x"}), celery_repr({name: "x"})):
        assert "x" not in kwargs(text, name).replace(text[: text.rindex(":")], "")


TRACEBACK = """\
Traceback (most recent call last):
  File "shop.py", line 3, in pay
    login(user, password=password,
          password="literal", tries=3)
    ~~~~~^^^^^^
  File "shop.py", line 9, in login
    def login(user, password: str = "x"):
CardError: no card for password=S3cr3t
    password: S3cr3t
"""
MASKED_TRACEBACK = """\
Traceback (most recent call last):
  File "shop.py", line 3, in pay
    login(user, password=***
          password=***, tries=3)
    ~~~~~^^^^^^
  File "shop.py", line 9, in login
    def login(user, password: ***
CardError: no card for password=***"""


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("token=x, user=b", "token=***"),
        ("password=x, user=b", "password=***"),
        ("Card(password='x', user='b')", "Card(password=***, user='b')"),
        ("Card(user='b', password='x')", "Card(user='b', password=***)"),
        ("CardError('declined: password = x')", "CardError('declined: password = ***"),
        ("https://h/?user=b&password=x&c=d#e", "https://h/?user=b&password=***"),
        ("Password: x\r\nAccept: */*", "Password: ***"),
        (
            "[('a', 'b'), ('password', 'x'), ('c', 'd')]",
            "[('a', 'b'), ('password', ***), ('c', 'd')]",
        ),
        ("['--password', 'x']", "['--password', ***"),
        ("mysql --password x -u b", "mysql --password ***"),
        ("d['password'] = 'x'", "d['password'] = ***"),
        ('{"body": "{\\"password\\": \\"x\\"}"}', '{"body": "{\\"password\\": ***'),
        ('{\'body\': \'{"password": "x", "a": 1}\'}', "{'body': '{\"password\": ***, \"a\": 1}'}"),
        ('{"a": {"password": "x", "b": 1}, "c": 2}', '{"a": {"password": ***, "b": 1}, "c": 2}'),
        ("the password is wrong", "the password is wrong"),
        ("('password', 5) of passwords=3", "('password', ***"),
        ("KeyError('password')", "KeyError('password')"),
        (TRACEBACK, MASKED_TRACEBACK),
    ],
)
@pytest.mark.parametrize("field", ["args", "exception", "traceback", "result", "own"])
def test_a_value_after_its_name_is_masked_in_every_text(text, left, field):
    for value, masked in ((text, left), ([{"deep": text}], [{"deep": left}])):
        event = {"type": "task-failed", field: value}
        name = "token" if "token" in text else "password"
        for pattern in (name, name.upper(), f"kwargs.{name}"):
            assert redacted(event, pattern)[field] == masked


def test_real_values_are_masked_by_their_keys_in_every_field():
    event = {
        "type": "shop-order",
        "args": [["password", "x"], ["other", "y"], {"Password": "x"}],
        "headers": {"PASSWORD": ["x"], "password=x": 1},
        "user": {"name": "b", "logins": [{"password": "x", "n": 1}]},
    }
    assert redacted(event, "password") == {
        "type": "shop-order",
        "args": [["password", MASK], ["other", "y"], {"Password": MASK}],
        "headers": {"PASSWORD": MASK, f"password={MASK}": 1},
        "user": {"name": "b", "logins": [{"password": MASK, "n": 1}]},
    }


def test_what_is_nested_past_reason_is_masked_as_a_whole():
    value = json.loads('{"a": [' * 400 + "5" + "]}" * 400)
    for pattern in ("password", "/x/"):
        masked = json.dumps(redacted({"type": "a", "args": value}, pattern))
        assert masked.count("[") < 100
        assert MASK in masked


def test_a_value_in_many_lines_of_source_is_masked_to_its_end():
    lines = "'secret',\n      " * 30
    source = f"f({{'password': [{lines}], 'b': 1}})"
    text = f'  File "x", line 1\n    {source}\nValueError: y\n'
    event = redacted({"type": "task-failed", "traceback": f"x\n{text}"}, "password")
    assert "secret" not in event["traceback"]


def test_long_hostile_text_takes_no_time():
    for text in (
        "password=" * 10_000,
        "password\n    " * 10_000,
        '  File "x", line 1\n' + "    password=\n" * 10_000,
        "('password'," * 10_000,
        '  File "x", line 1\n' + "    {'password': 1\n" * 10_000,
        "  File \"x\", line 1\n    {'password': 1\n" * 10_000,
        '  File "x", line 1\n    {"password": \'\n' * 10_000,
        '  File "x", line 1\n    ' + "{'password': 1}, " * 10_000,
        '  File "x", line 1\n' + "    {'password': 1\n" * 8 + "    [1\n" * 10_000,
        "password" + "\\" * 100_000,
        "password='x'" * 10_000,
        "'password': " * 10_000,
        "'password': [" * 10_000,
        "{'password': " + "," * 100_000,
        "{'password': 1" + ", 'x" * 30_000,
        "{'password': 1" + "}" * 100_000 + "x",
        "{'password': 1" + " " * 100_000 + ",",
        "'password'" + " " * 100_000,
    ):
        kwargs(text)


# --- anything --------------------------------------------------------------------

SECRET = "S3cr3t"
SEPARATOR = " ; "

tricky = st.text(st.sampled_from("ab'\"\\,:;{}[]()<> \n\t.\u00e9\ud800-=1")) | st.text()
harmless = st.none() | st.booleans() | st.integers() | st.floats() | tricky


@dataclasses.dataclass
class Login:
    """An object that writes itself as its class likes."""

    user: object
    text: str

    def __repr__(self):
        return f"Login({self.user!r}, {self.text!r})"


def around(inner):
    """What may stand around a secret, or beside it."""
    return (
        st.lists(inner | harmless, max_size=3)
        | st.tuples(inner | harmless, inner | harmless)
        | st.dictionaries(tricky, inner | harmless, max_size=3)
        | st.builds(Login, inner | harmless, tricky)
    )


secrets = st.recursive(
    st.builds("{}{}{}".format, tricky, st.just(SECRET), tricky)
    | st.builds(lambda a, b: f"{a}{SECRET}{b}".encode(errors="ignore"), tricky, tricky),
    around,
    max_leaves=6,
)
others = st.dictionaries(tricky.filter(lambda name: SECRET not in name), harmless)


def celery_repr(value):
    """Celery's saferepr: no backslash is escaped, and of bytes not even quotes."""
    match value:
        case str():
            return "'{}'".format(value.replace("'", "\\'"))
        case bytes():
            text = f"b'{value.decode(errors='replace')}'"
        case dict():
            items = (f"{celery_repr(a)}: {celery_repr(b)}" for a, b in value.items())
            text = "{" + ", ".join(items) + "}"
        case list():
            text = "[" + ", ".join(map(celery_repr, value)) + "]"
        case tuple():
            text = "(" + ", ".join(map(celery_repr, value)) + ",)"
        case _:
            text = repr(value)
    return text


@given(others, secrets, others, st.sampled_from([repr, celery_repr]), st.data())
@example({}, "a\\', 'b" + SECRET, {}, celery_repr, None)
@example({}, ["a\\", "b], 'c" + SECRET], {"d": 1}, celery_repr, None)
@example({}, ["a\\", "b], 'c" + SECRET], {"d": 1}, repr, None)
@example({}, b"a', 'b': " + SECRET.encode(), {}, celery_repr, None)
def test_the_secret_is_in_no_text_of_arguments(before, secret, after, write, data):
    text = write({**before, "password": secret, **after} | {"password": secret})
    for pattern in ("password", "kwargs.password"):
        event = redacted({"type": "a", "kwargs": text}, pattern)
        assert SECRET not in event["kwargs"]
        nested = write({"x": [{"password": secret}, 1], "y": "z"})
        assert SECRET not in redacted({"type": "a", "kwargs": nested}, pattern)["kwargs"]
    if data is not None:
        cut = data.draw(st.integers(0, len(text)))
        assert SECRET not in kwargs(text[:cut] + "...")


@given(
    st.lists(tricky, max_size=3),
    st.builds("{}{}{}".format, tricky, st.just(SECRET), tricky),
    st.sampled_from(
        [
            *("{}={}", "{}: {}", "{}={!r}", "{} = {!r}", "{!r}: {!r}", "?{}={}&x=y"),
            *("Login({}={!r}, user='b')", "[({!r}, {!r})]", "--{} {}", "{{{!r}: {!r}}}"),
        ]
    ),
    st.sampled_from([str, repr, json.dumps, celery_repr]),
    st.sampled_from(["args", "kwargs", "result", "exception", "traceback", "own"]),
)
def test_the_secret_is_in_no_text_of_an_event(around, secret, form, write, field):
    text = write(SEPARATOR.join([*around, form.format("password", secret), *around]))
    for value in (text, [text], {"x": {"y": text}}, {text: 1}):
        event = redacted({"type": "a", field: value}, "password")
        assert SECRET not in repr(event), form


@given(
    others,
    st.recursive(
        st.builds("{}{}{}".format, tricky, st.just(SECRET), tricky),
        lambda inner: st.lists(inner | harmless) | st.dictionaries(tricky, inner | harmless),
        max_leaves=5,
    ),
    st.booleans(),
)
def test_the_secret_is_in_no_json_of_arguments(others, secret, ascii_only):
    value = {**others, "password": secret}
    assert SECRET not in kwargs(json.dumps(value, ensure_ascii=ascii_only))
    assert SECRET not in repr(kwargs(value))


plain_names = st.text("abcxyz_", min_size=1).filter(lambda name: name != "password")
plain_values = st.none() | st.integers() | st.text("ab,:{}[]() \n\u00e9") | st.lists(st.integers())


@given(
    st.dictionaries(plain_names, plain_values),
    plain_values,
    st.dictionaries(plain_names, plain_values),
    st.sampled_from([repr, celery_repr, json.dumps]),
)
def test_ordinary_arguments_beside_it_stay(before, secret, after, write):
    both = {**before, "password": secret, **after}
    both = {name: both[name] for name in dict.fromkeys([*before, "password", *after])}
    marked = {**both, "password": 10**60}
    assert kwargs(write(both)) == write(marked).replace(str(10**60), MASK)
