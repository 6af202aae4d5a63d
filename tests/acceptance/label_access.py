"""Who may use MONAI Label's server: it is on the loopback alone, speaks TLS, and asks for the tokens of a realm.

Run by "make test-label" in MONAI Label's own environment. A small server stands in for Keycloak: it gives out the
realm's public key, and the tokens are signed here.

    python tests/acceptance/label_access.py OUTPUT
"""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

REPOSITORY = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
USER, ADMIN = "monailabel-user", "monailabel-admin"
START_SECONDS = 240


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate of 127.0.0.1 that signs itself."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / "key.pem", folder / "cert.pem"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


def serve_realm(key: rsa.RSAPrivateKey) -> http.server.HTTPServer:
    """What Keycloak says of a realm: its public key."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    content = json.dumps({"public_key": base64.b64encode(public).decode()}).encode()

    class Realm(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer((HOST, 0), Realm)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def token_of(key: object, role: str, algorithm: str = "RS256", minutes: float = 5) -> str:
    """A token as a realm gives it to a user who has a role."""
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    content = {"preferred_username": "reader", "exp": until, "realm_access": {"roles": [role]}}
    return jwt.encode(content, key, algorithm=algorithm)


def free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


def answer_of(url: str, token: str = "", method: str = "GET", trusted: Path | None = None) -> int:
    """Status of the answer.

    Raises:
        OSError: there is none.
    """
    request = urllib.request.Request(url, method=method, data=b"{}" if method == "POST" else None)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if method == "POST":
        request.add_header("Content-Type", "application/json")
    context = ssl.create_default_context(cafile=str(trusted)) if trusted else None
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def check(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"{what}: {found}, not {wanted}")
    print(f"ok  {what}: {found}", flush=True)


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    """Until something listens.

    Raises:
        SystemExit: the server ended, or did not start in time.
    """
    for _ in range(2 * START_SECONDS):
        time.sleep(0.5)
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
    raise SystemExit(f"the server did not start:\n{log.read_text()[-4000:]}")


def drive(port: int, key: rsa.RSAPrivateKey, certificate: Path) -> None:
    address = f"https://{HOST}:{port}"

    def asked(path: str, token: str = "", method: str = "GET") -> int:
        return answer_of(f"{address}{path}", token, method, certificate)

    with socket.socket() as probe:
        # 127.0.0.2 is this machine too, and what is bound to all addresses would answer
        check("another address of the machine is closed", probe.connect_ex(("127.0.0.2", port)) != 0, True)
    try:
        answer_of(f"http://{HOST}:{port}/info/")
        raise SystemExit("it answers without TLS")
    except OSError:
        print("ok  no answer without TLS", flush=True)
    check("without a token", asked("/info/"), 401)
    check("with what is no token", asked("/info/", "abc"), 401)
    check("with a token of another realm", asked("/info/", token_of(new_key(), ADMIN)), 401)
    check("with a token that has run out", asked("/info/", token_of(key, ADMIN, minutes=-5)), 401)
    secret = "a secret of thirty-two characters or more"
    check("with a token of another algorithm", asked("/info/", token_of(secret, ADMIN, "HS256")), 401)
    user = token_of(key, USER)
    check("a user asks what there is", asked("/info/", user), 200)
    check("a user cannot train", asked("/train/heart_attn_unet", user, "POST"), 403)
    check("somebody without a role", asked("/info/", token_of(key, "somebody")), 403)


def main(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    log = output / "access.log"
    key = new_key()
    realm = serve_realm(key)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "studies").mkdir()
        shutil.copy(next((REPOSITORY / "examples" / "open_radiographs").glob("*.png")), root / "studies")
        shutil.copytree(
            REPOSITORY / "apps" / "monailabel", root / "app", ignore=shutil.ignore_patterns("model", "__pycache__")
        )
        key_file, certificate = write_certificate(root)
        port = free_port()
        command = [Path(sys.executable).with_name("monailabel"), "start_server", "--app", root / "app"]
        command += ["--studies", root / "studies", "--host", HOST, "--port", port]
        command += ["--ssl_keyfile", key_file, "--ssl_certfile", certificate]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MONAI_LABEL_AUTH_ENABLE": "true",
            "MONAI_LABEL_AUTH_REALM_URI": f"http://{HOST}:{realm.server_address[1]}",
        }
        with open(log, "w") as file:
            process = subprocess.Popen(
                [str(part) for part in command], stdout=file, stderr=subprocess.STDOUT, env=environment
            )
        try:
            wait_for(port, process, log)
            drive(port, key, certificate)
        finally:
            process.terminate()
            process.wait(30)
            realm.shutdown()
    print("All steps passed.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
