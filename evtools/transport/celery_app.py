"""Settings of a Celery application: the one place that imports Celery."""

import contextlib
import importlib
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any, Final

from evtools.errors import UsageError
from evtools.trust import Guard

# fmt: off
#: Celery's settings that evtools understands; the application's values are taken, but not
#: Celery's defaults: they differ between its releases.
NAMES: Final = (
    "broker_transport_options", "broker_use_ssl", "broker_connection_timeout",
    "broker_login_method", "event_exchange", "event_queue_prefix", "event_queue_ttl",
    "event_queue_expires", "event_queue_exclusive", "event_queue_durable", "control_exchange",
)
# fmt: on
_REDBEAT_PREFIX: Final = "redbeat_key_prefix"
#: What to do about an application that is not for root.
_REMEDY = "run this as the user who owns it, give it to root, or give the address with -b URL"


def celery_settings(app: Any) -> dict[str, Any]:
    """Return the settings of `app`, under Celery's new names.

    `app` is an application, or a name as `celery -A` takes it, looked up with the current directory
    on the path.  `broker_url` is the URL Celery reads events from, a `;` list where it has several.
    Raise UsageError, in one line, when it cannot be loaded.
    """
    name = app if isinstance(app, str) else "the application"
    here = str(Path.cwd())
    sys.path.insert(0, here)
    Guard(_REMEDY).install()
    try:
        # stdout is for events, whatever the application prints at import.
        with contextlib.redirect_stdout(sys.stderr):
            return _read(app)
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        raise _not_found(name, error) from error
    except (Exception, SystemExit) as error:
        line = next(iter(str(error).strip().splitlines()), "no reason given")
        text = f"-A {name}: {type(error).__name__}: {line}{_place(error)}"
        raise UsageError(text, "the whole traceback: --debug") from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _read(app: Any) -> dict[str, Any]:
    # Only for -A, only here.
    from celery import Celery  # noqa: PLC0415, TID251
    from celery.app.defaults import DEFAULTS  # noqa: PLC0415, TID251
    from celery.app.utils import find_app  # noqa: PLC0415, TID251

    if isinstance(app, str):
        name, found = app, "there is no Celery application in that module"
        try:
            # Celery's own would import from another path.
            app = find_app(
                name, imp=lambda name, package=None: importlib.import_module(name, package)
            )
            found = f"that is a {type(app).__name__}, not a Celery application"
        except AttributeError as error:
            if _place(error):
                raise  # a mistake inside the application
        if not isinstance(app, Celery):
            raise UsageError(f"-A {name}: {found}", "name it as in: -A package.module:app")
    conf = app.conf
    address = conf.broker_read_url
    # Not conf.without_defaults(): that knows no old names and no namespace.
    settings = {name: conf[name] for name in NAMES if conf.get(name) != DEFAULTS.get(name)}
    # No setting of Celery's own, so that it does not know that the two are one.
    if prefix := conf.get(_REDBEAT_PREFIX) or conf.get(_REDBEAT_PREFIX.upper()):
        settings[_REDBEAT_PREFIX] = prefix
    if isinstance(address, (list, tuple)):
        address = ";".join(address)
    if address and "://" not in address:
        # The old way: a host name, and the rest in settings of its own.
        address = app.connection_for_read().as_uri(include_password=True)
    if address:
        settings["broker_url"] = address
    return settings


def _not_found(name: str, error: ModuleNotFoundError) -> UsageError:
    missing = error.name or ""
    module, colon, attribute = missing.partition(":")
    text = f"-A {name}: it needs a module that is not here: {missing}{_place(error)}"
    hint = "run evtools with the Python that runs your workers"
    if missing == "celery":
        text = "-A needs Celery and your application, and Celery is not installed here"
        hint = "give the address with -b URL instead, or install evtools beside Celery"
    elif colon:
        text, hint = f"-A {name}: there is no {attribute} in {module}", ""
    elif name == missing or name.startswith((f"{missing}.", f"{missing}:")):
        text = f"-A {name}: there is no module {missing}"
        hint = f"looked in {Path.cwd()} and on PYTHONPATH"
    return UsageError(text, hint)


def _place(error: BaseException) -> str:
    # Where in the user's own code it happened.
    libraries = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        is_ours = path == Path(__file__) or any(map(path.is_relative_to, libraries))
        if path.is_file() and not is_ours:
            return f" ({frame.filename}:{frame.lineno})"
    return ""
