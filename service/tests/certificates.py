"""Certificates that vouch for themselves."""

import subprocess
from pathlib import Path


def self_signed(folder: Path, days: int) -> tuple[Path, Path]:
    """Key and certificate of localhost, in files of that folder."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days)]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate
