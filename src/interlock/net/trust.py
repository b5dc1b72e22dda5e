"""Whom the HTTP client trusts over TLS, and why it does not, in words."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

_EXPIRED: Final = "its certificate has expired; ask its operator to renew it"
_NAME: Final = "its certificate is for another name; check the host in the URL, or ask its operator for a certificate"
_AUTHORITY: Final = (
    "its certificate is not signed by an authority that is trusted here; "
    "add the authority with --ca-file, or ask its operator for the whole certificate chain"
)
_BY_VERIFY_CODE: Final = {  # X509_V_ERR_*
    2: _AUTHORITY,
    9: "its certificate is not valid yet; check the clock of this machine, or ask its operator",
    10: _EXPIRED,
    18: _AUTHORITY,
    19: _AUTHORITY,
    20: _AUTHORITY,
    21: _AUTHORITY,
    23: "its certificate was revoked; ask its operator for a new one",
    26: "its certificate is not for servers; ask its operator for a server certificate",
    62: _NAME,
    64: _NAME,
}
_NOT_TLS: Final = "it does not speak TLS on this port; check the scheme and the port of the URL"
_VERSION: Final = "it offers no TLS version from 1.2 on; ask its operator to enable TLS 1.2 or 1.3"
_CIPHER: Final = "it has no cipher in common with this server; ask its operator to enable those of TLS 1.2 or 1.3"
_NAME_UNKNOWN: Final = "it does not know this host name; check the host in the URL"
_CLIENT_CERTIFICATE: Final = (
    "it asks for a client certificate, and Interlock sends none; ask its operator to allow that"
)
_BY_REASON: Final = {
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "HTTPS_PROXY_REQUEST": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "UNKNOWN_PROTOCOL": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": _VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _VERSION,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": _CIPHER,
    "NO_SHARED_CIPHER": _CIPHER,
    "TLSV1_UNRECOGNIZED_NAME": _NAME_UNKNOWN,
    "TLSV1_ALERT_UNRECOGNIZED_NAME": _NAME_UNKNOWN,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _CLIENT_CERTIFICATE,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": _CLIENT_CERTIFICATE,
}


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the authorities in the file; the system's are still to be loaded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


def tls_fault(host: str, fault: ssl.SSLError | None) -> str:
    """What happened, why, and what to do. `fault` is None if the connection ended during the handshake."""
    if fault is None:
        why = "it closed the connection during the TLS handshake; check the port, or ask its operator"
    elif isinstance(fault, ssl.SSLCertVerificationError):
        why = _BY_VERIFY_CODE.get(fault.verify_code) or (
            f"its certificate cannot be trusted ({fault.verify_message}); ask its operator"
        )
    else:
        reason = fault.reason or "no reason given"
        why = _BY_REASON.get(reason) or f"TLS failed ({reason.replace('_', ' ').lower()}); ask its operator"
    return f"no trusted TLS connection to {host}: {why}"
