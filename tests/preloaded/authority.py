"""Certificates for tests, by the openssl program: an authority, and what it vouches for.

    authority = Authority(folder)
    server = authority.issue("server", "DNS:localhost,IP:127.0.0.1")
    server.chain, server.key, authority.path      paths of PEM files
    server.credentials(wants=authority)           for grpcio: a server that asks for certificates
    server.context()                              for ssl: a server's context
"""

import ssl
import subprocess

import grpc

LOCAL = "DNS:localhost,IP:127.0.0.1,IP:::1"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
USES = {"server": "serverAuth", "client": "clientAuth"}
# What Python 3.13 wants to see in every certificate.
VOUCHES = "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"
ORIGIN = "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Identity:
    """A certificate, those behind it, and the key."""

    def __init__(self, chain, key):
        self.chain, self.key = chain, key

    def credentials(self, wants=None):
        pair = self.key.read_bytes(), self.chain.read_bytes()
        return grpc.ssl_server_credentials([pair], wants and wants.path.read_bytes(), wants is not None)

    def context(self, wants=None, newest=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        context.set_alpn_protocols(["h2"])
        if wants:
            context.load_verify_locations(wants.path)
            context.verify_mode = ssl.CERT_REQUIRED
        if newest:
            context.maximum_version = newest
        return context


class Authority:
    def __init__(self, folder, name="authority", above=None):
        self.folder = folder / name
        self.folder.mkdir()
        self.path, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        self.chain = b""  # what goes with a certificate of an authority in between
        if above:
            issued = above.issue(name, "", extra="\n".join(VOUCHES), subject=f"/CN={name}", into=self.folder)
            self.path, self.key = issued.chain, issued.key
            self.chain = issued.chain.read_bytes()
        else:
            openssl("req", "-x509", *KEY, "-keyout", self.key, "-out", self.path, "-days", 30,
                    "-subj", f"/CN={name}", "-addext", VOUCHES[1])

    def issue(self, name, names=LOCAL, use="server", days=30, extra="", subject="/CN=collector", into=None):
        folder = into or self.folder
        key, request, chain, more = (folder / f"{name}.{kind}" for kind in ("key", "csr", "pem", "ext"))
        more.write_text(ORIGIN + (f"subjectAltName={names}\n" if names else "") +
                        (extra or f"extendedKeyUsage={USES[use]}") + "\n")
        openssl("req", "-new", *KEY, "-keyout", key, "-subj", subject, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self.key, "-CAcreateserial",
                "-days", days, "-extfile", more, "-out", chain)
        chain.write_bytes(chain.read_bytes() + self.chain)
        return Identity(chain, key)
