"""Certificates for tests, made by openssl: an authority, and what it vouches for. All of it is PEM."""

from pathlib import Path
from typing import Self

from tests.servers.process import run_tool, tool

_REQUEST = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "2")


class Authority:
    """A certificate authority in a folder of its own; `certificate` is what those who trust it need."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"

    @classmethod
    def make(cls, folder: Path, name: str = "ca") -> Self:
        """A new one. Raises ServerMissing where there is no openssl."""
        authority = cls(folder, name)
        openssl(folder, *_REQUEST, "-subj", f"/CN={name}", "-keyout", authority._key, "-out", authority.certificate)
        return authority

    def vouch(self, name: str, addresses: str = "DNS:localhost,IP:127.0.0.1") -> tuple[Path, Path]:
        """A key and a certificate for a server at these addresses, or for a client of this name."""
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        by = ("-CA", self.certificate, "-CAkey", self._key, "-addext", f"subjectAltName={addresses}")
        openssl(self.folder, *_REQUEST, *by, "-subj", f"/CN={name}", "-keyout", key, "-out", certificate)
        return key, certificate


def openssl(folder: Path, *arguments: str | Path) -> None:
    """Run openssl. Raises ServerMissing."""
    run_tool([tool("openssl", "a server with TLS"), *map(str, arguments)], "a certificate", folder)
