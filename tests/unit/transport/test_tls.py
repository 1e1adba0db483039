import re
import ssl
import subprocess
from dataclasses import replace

import pytest

from evtools.errors import ImproperlyConfigured, UsageError
from evtools.transport.settings import TLS
from evtools.transport.tls import context_of, tls_for
from evtools.transport.url import parse


@pytest.fixture(scope="session")
def pem(authority, tmp_path_factory):
    """Paths of a certificate, its key, and that key under the pass phrase `secret`."""
    cert, key = str(authority.client.cert), str(authority.client.key)
    locked = str(tmp_path_factory.mktemp("pem") / "locked")
    command = f"openssl pkey -in {key} -out {locked} -aes128 -passout pass:secret"
    subprocess.run(command.split(), check=True, capture_output=True)
    return {"cert": cert, "key": key, "locked": locked}


@pytest.mark.parametrize(
    ("url", "enabled", "expected"),
    [
        ("redis://h", None, False),
        ("redis://h", True, True),
        ("redis://h", False, False),
        ("rediss://h", None, True),
        ("rediss://h", True, True),
        ("amqps://h", None, True),
        ("redis://h?ssl_cert_reqs=none", None, True),
        ("redis://h?ssl_cert_reqs=none", False, False),
    ],
)
def test_scheme_parameters_and_options_decide_about_tls(url, enabled, expected):
    assert bool(tls_for(TLS(enabled=enabled), parse(url))) is expected


# fmt: off
WRONG = [
    (TLS(enabled=False), "rediss://h", ImproperlyConfigured, "--no-tls contradicts", "redis://"),
    (TLS(enabled=True), "memory://", ImproperlyConfigured, "memory:// knows no TLS", "ssl_*"),
    (TLS(), "rediss://h?ssl_colour=x", UsageError, "unknown parameter ssl_colour", "ssl_ca_path"),
    (TLS(), "rediss://h?ssl_cert_reqs=x", UsageError, "ssl_cert_reqs: 'x' is not one of", "URL"),
    (TLS(), "rediss://h?ssl_min_version=x", UsageError, "ssl_min_version: 'x' is no", "TLSv1_2"),
    (TLS(ciphers="ROT13"), "amqps://h", UsageError, "none of these ciphers: ROT13", "ssl_ciphers"),
    (TLS(ca="/none.pem"), "rediss://h", UsageError, "--tls-ca /none.pem: No such file", "PEM"),
    (TLS(ca=__file__), "rediss://h", UsageError, f"--tls-ca {__file__}: not a usable PEM", "PEM"),
    (TLS(cert="/no", key="/no"), "amqps://h", UsageError, "--tls-key /no, /no: No such", "PEM"),
]
# fmt: on


@pytest.mark.parametrize(("tls", "url", "error", "words", "hint"), WRONG)
def test_what_cannot_work_is_refused_under_its_option(tls, url, error, words, hint):
    with pytest.raises(error, match=re.escape(words)) as caught:
        tls_for(tls, parse(url))
    assert hint in caught.value.hint


def test_certificates_and_names_are_checked_by_default():
    tls = tls_for(TLS(), parse("rediss://h"))
    assert (tls.verify, tls.check_hostname) == ("required", True)


def test_options_beat_the_parameters_of_the_url(pem):
    url = f"rediss://h?ssl_cert_reqs=CERT_NONE&ssl_ca_certs={pem['cert']}&ssl_check_hostname=false"
    tls = tls_for(TLS(verify="optional"), parse(url))
    assert tls == TLS(enabled=True, ca=pem["cert"], verify="optional", check_hostname=False)


def test_a_client_certificate_needs_a_key(pem):
    tls_for(TLS(cert=pem["cert"], key=pem["key"]), parse("amqps://h"))
    with pytest.raises(UsageError, match=r"--tls-cert.*not a usable PEM"):
        tls_for(TLS(cert=pem["key"]), parse("amqps://h"))


def test_nobody_is_asked_for_a_pass_phrase(pem):
    with pytest.raises(UsageError, match="--tls-key is encrypted"):
        tls_for(TLS(cert=pem["cert"], key=pem["locked"]), parse("amqps://h"))


def test_a_pass_phrase_from_celery_opens_the_key(pem):
    tls = TLS(cert=pem["cert"], key=pem["locked"], key_password="secret")
    assert tls_for(tls, parse("amqps://h")).key_password == "secret"
    assert "secret" not in repr(tls)


def test_what_has_no_option_is_heeded(authority):
    url = "rediss://h?ssl_ciphers=ECDHE-ECDSA-AES128-GCM-SHA256&ssl_min_version=TLSv1.2"
    context = context_of(
        replace(
            tls_for(TLS(), parse(url)),
            max_version=ssl.TLSVersion.TLSv1_2,
            more_flags=int(ssl.VERIFY_X509_STRICT),
            ca_data=authority.ca.read_text(),
        )
    )
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert "ECDHE-ECDSA-AES128-GCM-SHA256" in names
    assert "ECDHE-RSA-AES256-GCM-SHA384" not in names
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    "tls",
    [
        TLS(enabled=True, verify="none", check_hostname=True),
        TLS(enabled=True, verify="required", check_hostname=False),
    ],
)
def test_the_name_is_not_checked_where_it_shall_not_be(tls):
    assert not context_of(tls).check_hostname
