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


def test_certificates_and_names_are_checked_by_default():
    tls = tls_for(TLS(), parse("rediss://h"))
    assert (tls.verify, tls.check_hostname) == ("required", True)


def test_no_tls_contradicts_a_secure_scheme():
    with pytest.raises(ImproperlyConfigured, match="--no-tls contradicts") as caught:
        tls_for(TLS(enabled=False), parse("rediss://h"))
    assert "redis://" in caught.value.hint


def test_a_transport_without_tls_says_so():
    with pytest.raises(ImproperlyConfigured, match="memory:// knows no TLS"):
        tls_for(TLS(enabled=True), parse("memory://"))


def test_options_beat_the_parameters_of_the_url(pem):
    url = f"rediss://h?ssl_cert_reqs=CERT_NONE&ssl_ca_certs={pem['cert']}&ssl_check_hostname=false"
    tls = tls_for(TLS(verify="optional"), parse(url))
    assert tls == TLS(enabled=True, ca=pem["cert"], verify="optional", check_hostname=False)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("ssl_colour=x", "unknown parameter ssl_colour"),
        ("ssl_cert_reqs=x", "'x'"),
        ("ssl_min_version=x", "'x'"),
    ],
)
def test_wrong_parameters_of_the_url_are_refused(query, words):
    with pytest.raises(UsageError, match=words):
        tls_for(TLS(), parse(f"rediss://h?{query}"))


def test_a_ca_file_that_is_missing_or_without_certificates_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--tls-ca .*: No such file"):
        tls_for(TLS(ca=str(tmp_path / "none.pem")), parse("rediss://h"))
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(UsageError, match=r"--tls-ca .*: not a usable PEM file"):
        tls_for(TLS(ca=str(tmp_path / "bad.pem")), parse("rediss://h"))


def test_a_bad_client_certificate_is_named_by_its_option(tmp_path, pem):
    tls_for(TLS(cert=pem["cert"], key=pem["key"]), parse("amqps://h"))
    with pytest.raises(UsageError, match=r"--tls-cert.*No such file"):
        tls_for(TLS(cert=str(tmp_path / "no"), key=pem["key"]), parse("amqps://h"))
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


def test_ciphers_that_openssl_does_not_know_are_named():
    with pytest.raises(UsageError, match="none of these ciphers: ROT13"):
        tls_for(TLS(ciphers="ROT13"), parse("amqps://h"))


@pytest.mark.parametrize(
    "tls",
    [
        TLS(enabled=True, verify="none", check_hostname=True),
        TLS(enabled=True, verify="required", check_hostname=False),
    ],
)
def test_the_name_is_not_checked_where_it_shall_not_be(tls):
    assert not context_of(tls).check_hostname
