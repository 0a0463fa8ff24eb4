# SPDX-License-Identifier: Apache-2.0
"""TLS to a controller or a store: whom to trust, and what is wrong, in words that say what to change."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from controller.errors import SetupError

_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME, _OTHER_ADDRESS = 62, 64
"X509_V_ERR_… (openssl x509_vfy.h)."


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Return what trusts who is in a file, None for whom the system trusts. Raises SetupError."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise SetupError(f"--ca {ca}: {_words(error)}", "want certificates in PEM") from error


def introduced(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what shows a certificate to a store and trusts who is signed by `ca`, whatever name that has.

    So does Open vSwitch, whose certificates name no machines (ovs-pki(8)). Raises SetupError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(ca)
        context.load_cert_chain(certificate, key)
    except OSError as error:
        words = f"--ca {ca}, --cert {certificate}, --key {key}: {_words(error)}"
        raise SetupError(words, "want certificates in PEM and the second one's private key") from error
    return context


def presentable(certificate: Path, key: Path) -> None:
    """Raise SetupError for a certificate that cannot be shown with this key."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:
        hint = "want a certificate, its chain after it, and its own private key, in PEM"
        raise SetupError(f"--rest-cert {certificate}, --rest-key {key}: {_words(error)}", hint) from error


def reason_of(error: Exception, url: str, ca: Path | None = None) -> str:
    """Say what kept a request from a controller."""
    host = urlsplit(url).hostname
    for one in _chain(error):
        match one:
            case ssl.SSLCertVerificationError(verify_code=code) if code in (_OTHER_NAME, _OTHER_ADDRESS):
                return f"{url}: its certificate is for others than {host}: it wants that as subjectAltName"
            case ssl.SSLCertVerificationError(verify_code=code) if code in (_EXPIRED, _NOT_YET):
                return f"{url}: its {one.verify_message}: look at the clocks and the certificate's dates"
            case ssl.SSLCertVerificationError():
                trusted = f"--ca {ca}" if ca else "whom this system trusts: name its certificates with --ca"
                return f"{url}: its certificate is not signed by {trusted} ({one.verify_message})"
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
                return f"{url}: it speaks no TLS there: is it http://, or another port?"
            case ssl.SSLError():
                return f"{url}: {_words(one)}"
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and url.startswith("http://"):
        return f"{url}: {said}: does it speak TLS there? then it is https://"
    return f"{url}: {said}"


def _words(error: OSError) -> str:
    said = getattr(error, "reason", None) or error.strerror or str(error)
    return str(said).replace("_", " ").lower()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
