"""TLS, well and badly: what is made of each handshake is for meters to say.

shakes.py serve KIND PORT CHAIN KEY [CA]    KIND: threads, asyncio, uvloop; with a CA certificates are asked for
shakes.py call PORT [PEER...]               once somebody has connected to PORT; PEER: PORT,VERSION,CA,CHAIN,KEY,
                                            an empty CA trusts nobody, an empty VERSION hangs up after the hello"""

import asyncio
import socket
import ssl
import sys
import threading
import time


def server_context(chain, key, ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def serve_one(context, plain):
    try:
        with context.wrap_socket(plain, server_side=True) as talk:
            talk.sendall(b"hello")
            talk.recv(100)
    except OSError:
        plain.close()


def serve_by_threads(port, context):
    server = socket.create_server(("127.0.0.1", port))
    while True:
        plain, _ = server.accept()
        threading.Thread(target=serve_one, args=[context, plain], daemon=True).start()


async def greet(reader, writer):
    try:
        writer.write(b"hello")
        await reader.read(100)
    except OSError:
        pass
    writer.close()


async def serve_on_loop(port, context):
    server = await asyncio.start_server(greet, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


def serve(kind, port, *files):
    context = server_context(*files)
    if kind == "threads":
        serve_by_threads(int(port), context)
    if kind == "uvloop":
        import uvloop
        uvloop.install()
    asyncio.run(serve_on_loop(int(port), context))


def hang_up(port):
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = ssl.create_default_context().wrap_bio(into, out, server_hostname="localhost")
    try:
        talk.do_handshake()
    except ssl.SSLWantReadError:
        pass
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(out.read())
        plain.recv(1)


def call(port, version, ca="", chain="", key=""):
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    if ca:
        context.load_verify_locations(ca)
    if chain:
        context.load_cert_chain(chain, key)
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as talk:
            if talk.recv(100) != b"hello":
                raise ConnectionError("it went without a word")


def call_all(port, *peers):
    server = socket.create_server(("127.0.0.1", int(port)))
    server.accept()
    for peer in peers:
        peer_port, version, *files = peer.split(",")
        try:
            call(int(peer_port), version, *files) if version else hang_up(int(peer_port))
        except OSError as error:
            print(peer, error)
    print("done", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    serve(*sys.argv[2:]) if sys.argv[1] == "serve" else call_all(*sys.argv[2:])
