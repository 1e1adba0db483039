import ssl

import pytest
from celery.app.defaults import DEFAULTS
from celery.bin.events import events

from evtools.cli.cam import evcam
from evtools.cli.config import OPTIONS, BadSetting, options_from
from evtools.cli.dump import evdump


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_name_is_celerys_and_every_option_ours(name):
    daemon = name.startswith("events_")
    celerys = {f"events_{option.name}" for option in events.params}
    assert name in (celerys if daemon else DEFAULTS)
    ours = evcam.params if daemon else evdump.params
    assert OPTIONS[name] in {option.name for option in ours}


def test_settings_become_options():
    assert options_from(
        {
            "broker_url": "redis://w",
            "broker_read_url": ["redis://a", "redis://b"],
            "broker_transport_options": {"master_name": "m"},
            "broker_connection_timeout": 2,
            "broker_heartbeat": None,
            "event_queue_ttl": None,
            "event_queue_expires": 3.0,
            "event_queue_exclusive": False,
        }
    ) == {
        "broker": "redis://a;redis://b",
        "broker_option": {"master_name": "m"},
        "connect_timeout": 2,
        "event_queue_ttl": "none",
        "event_queue_expires": 3.0,
        "event_queue_exclusive": False,
    }


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (False, {}),
        (None, {}),
        (True, {"tls": True}),
        (
            {"ca_certs": "ca", "certfile": "c", "keyfile": None, "cert_reqs": None},
            {"tls": True, "tls_ca": "ca", "tls_cert": "c", "tls_verify": "none"},
        ),
        (
            {"ssl_ca_certs": "ca", "ssl_cert_reqs": ssl.CERT_REQUIRED},
            {"tls": True, "tls_ca": "ca", "tls_verify": "required"},
        ),
        ({"ssl_cert_reqs": "CERT_OPTIONAL"}, {"tls": True, "tls_verify": "optional"}),
        ({"ssl_cert_reqs": 0}, {"tls": True, "tls_verify": "none"}),
        ({"ssl_check_hostname": False}, {"tls": True, "tls_check_hostname": False}),
        (
            {"server_hostname": "broker.internal", "ca_certs": "ca"},
            {"tls": True, "tls_server_name": "broker.internal", "tls_ca": "ca"},
        ),
        (
            {
                "ssl_version": ssl.PROTOCOL_TLS_CLIENT,
                "server_side": False,
                "ssl_validate_ocsp": False,
                "ssl_password": None,
            },
            {"tls": True, "tls_more": {"min_version": None, "max_version": None}},
        ),
        (
            {"ssl_version": "PROTOCOL_TLSv1_2", "ciphers": "HIGH", "ssl_ca_path": "d"},
            {
                "tls": True,
                "tls_more": {
                    "min_version": ssl.TLSVersion.TLSv1_2,
                    "max_version": ssl.TLSVersion.TLSv1_2,
                    "ciphers": "HIGH",
                    "ca_folder": "d",
                },
            },
        ),
        (
            {
                "ssl_min_version": ssl.TLSVersion.TLSv1_3,
                "ssl_include_verify_flags": [ssl.VERIFY_X509_STRICT, ssl.VERIFY_X509_PARTIAL_CHAIN],
            },
            {
                "tls": True,
                "tls_more": {
                    "min_version": ssl.TLSVersion.TLSv1_3,
                    "more_flags": ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN,
                },
            },
        ),
        (
            {"context": {"cafile": "ca", "check_hostname": False, "purpose": "x"}},
            {"tls": True, "tls_ca": "ca", "tls_check_hostname": False},
        ),
    ],
)
def test_tls_settings_of_either_driver_are_understood(value, options):
    assert options_from({"broker_use_ssl": value}) == options


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"broker_use_ssl": {"colour": "x"}}, "unknown key colour"),
        ({"broker_use_ssl": {"ssl_version": "TLSv9"}}, "ssl_version is 'TLSv9'"),
        ({"broker_use_ssl": {"ssl_validate_ocsp": True}}, "cannot check OCSP"),
        ({"broker_use_ssl": {"cert_reqs": 7}}, "cert_reqs is 7"),
        ({"broker_use_ssl": {"cert_reqs": [2]}}, r"cert_reqs is \[2\]"),
        ({"broker_use_ssl": {"ciphers": ["A", "B"]}}, "ciphers must be a text"),
        ({"broker_use_ssl": {"ssl_password": 7}}, "ssl_password must be a text"),
        (
            {"broker_use_ssl": {"ssl_include_verify_flags": "STRICT"}},
            "ssl_include_verify_flags is 'STRICT'",
        ),
        ({"broker_transport_options": "x"}, "not a table"),
    ],
)
def test_what_nothing_can_be_made_of_is_named(settings, words):
    with pytest.raises(BadSetting, match=words):
        options_from(settings)
