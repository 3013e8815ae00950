"""Certificates and keys in files."""

import datetime as dt

import pytest
import trustme

from gateway.doctor import certificates, links
from tests.gateway.doctor.conftest import kinds

DAY = dt.timedelta(days=1)


@pytest.fixture
def files(tmp_path):
    """Writes a pair; gives the YAML of an uplink with it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def make(begins=-DAY, ends=365 * DAY, mode=0o600):
        now = dt.datetime.now(dt.UTC)
        pair = authority.issue_cert("gateway", not_before=now + begins, not_after=now + ends)
        pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        pair.private_key_pem.write_to_path(tmp_path / "key.pem")
        (tmp_path / "key.pem").chmod(mode)
        names = ", ".join(f"{name}: {tmp_path}/{name}.pem" for name in ("ca", "cert", "key"))
        return f"uplinks: {{up: {{type: http, url: 'https://h', {names}}}}}\n"

    return make


def examined(patient):
    (identity,) = links.identities(patient.config)
    return list(certificates.check_identity(identity))


def test_a_good_pair_is_fine(files, patient_of):
    found = examined(patient_of(files()))
    assert not kinds(found)
    assert any("is private (mode 0600)" in one.what for one in found)


@pytest.mark.parametrize(
    ("pair", "kind", "words"),
    [
        ({"ends": 10 * DAY}, "certificate-expires", "expires in 9 days"),
        ({"begins": -9 * DAY, "ends": -DAY}, "certificate-expired", "has expired on"),
        ({"begins": DAY}, "certificate-expired", "is valid from"),
        ({"mode": 0o644}, "key-open", "has the mode 0644"),
    ],
)
def test_what_is_wrong_with_one(files, patient_of, pair, kind, words):
    found = kinds(examined(patient_of(files(**pair))))
    assert words in found[kind].what
    assert "PRIVATE" not in str(found), "never what is in it"


def test_a_key_of_another_certificate(files, patient_of, tmp_path):
    text = files()
    trustme.CA().issue_cert("other").private_key_pem.write_to_path(tmp_path / "key.pem")
    found = kinds(examined(patient_of(text)))
    assert "do not belong together" in found["certificate-mismatch"].what


def test_files_that_are_not_there_or_are_nothing(files, patient_of, tmp_path):
    text = files()
    (tmp_path / "key.pem").unlink()
    (tmp_path / "ca.pem").write_text("nothing")
    found = [one.what for one in examined(patient_of(text)) if one.kind == "certificate-unreadable"]
    assert sorted(found) == [
        f"{tmp_path}/ca.pem: no certificate in it",
        f"{tmp_path}/key.pem: No such file or directory",
    ]
