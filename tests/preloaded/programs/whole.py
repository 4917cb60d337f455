"""Programs whose time is known, for test_whole.py: whole.py KIND [SECONDS]. Runs on every Python from 3.6 on."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time


def burn(seconds):
    used = time.process_time() + seconds
    n = 0
    while time.process_time() < used:
        for i in range(2000):
            n += i * i
    return n


def nap(seconds):
    time.sleep(seconds)


def wait_long(event):
    event.wait()


def many(seconds):
    event = threading.Event()
    threads = [threading.Thread(target=wait_long, args=(event,)) for _ in range(500)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    nap(seconds)
    event.set()
    for thread in threads:
        thread.join()


def churn(seconds):
    """Threads that come and go."""
    end = time.time() + seconds
    while time.time() < end:
        threads = [threading.Thread(target=burn, args=(0.02,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def burn_alone(seconds):
    used = time.thread_time() + seconds
    while time.thread_time() < used:
        sum(range(500))


def brief(seconds):
    """Threads that live for 3 ms, one after the other. Tells what the process has used of a processor."""
    while time.process_time() < seconds:
        thread = threading.Thread(target=burn_alone, args=(0.003,))
        thread.start()
        thread.join()
    print(time.process_time(), flush=True)


def early(seconds):
    burn_alone(seconds)


def late(seconds):
    burn_alone(seconds)


def bursts(seconds):
    """Computes for a quarter of the time. Tells what it has used of a processor."""
    end = time.time() + seconds
    while time.time() < end:
        early(0.0015)
        late(0.0015)
        nap(random.uniform(0.005, 0.013))  # with no rhythm that the ticks of the kernel could have too
    print(time.process_time(), flush=True)


def outer(seconds):
    """Burns in an interpreter of its own, on the same thread."""
    import _xxsubinterpreters as interpreters
    interpreters.run_string(interpreters.create(), f"""if True:
        import time
        used = time.process_time() + {seconds}
        while time.process_time() < used:
            sum(range(500))""")


def same_number():
    """Threads one after the other that have the same number, if that can be had; each has used less than the one
    before. Tells what all have used."""
    numbers = []

    def work(seconds):
        numbers.append(threading.get_native_id())
        burn_alone(seconds)

    for seconds in (0.09, *(0.13, 0.02, 0.12, 0.01) * 6):
        if numbers:
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(numbers[0] - 1))
        thread = threading.Thread(target=work, args=(seconds,))
        thread.start()
        thread.join()
    print(time.process_time(), flush=True)


def forks(seconds):
    """Children that burn, one after the other, while the parent burns."""
    end = time.time() + seconds
    while time.time() < end:
        child = os.fork()
        if not child:
            burn(0.01)
            os._exit(0)
        burn(0.02)
        assert os.waitpid(child, 0)[1] == 0


def plain_fork():
    """A child that CPython does not know to be one; tells its number."""
    child = ctypes.PyDLL(None).fork()
    if not child:
        burn(1)
        os._exit(0)
    print(child, flush=True)
    assert os.waitpid(child, 0)[1] == 0


def ends(how):
    burn(0.5)
    if how == "exit":
        return
    if how == "_exit":
        os._exit(3)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
        nap(5)
    if how == "exec":
        os.execv("/bin/true", ["true"])
    if how == "again":
        os.execv(sys.executable, [sys.executable, __file__, "ends", "exit"])
    if how == "fork":
        if not os.fork():
            burn(0.4)
            os._exit(0)
        os.wait()
    if how == "spawn":
        subprocess.check_call(["/bin/true"])


def short_bursts():
    while True:
        sum(range(5000))
        nap(0.02)


def killed():
    """In the midst of the work of many, by somebody else."""
    killer = ["/bin/sh", "-c", "sleep 1.5; kill -9 %d" % os.getpid()]
    subprocess.Popen(killer)
    for _ in range(20):
        threading.Thread(target=short_bursts, daemon=True).start()
    nap(30)


def fetch(port, times):
    """Blocking calls of a server that takes its time."""
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", port)) as to:
            to.sendall(b"GET /slow HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")
            while to.recv(4096):
                pass


def main():
    kind, argument = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "1"
    if kind == "burn":
        threading.Thread(target=nap, args=(float(argument),)).start()
        burn(float(argument))
        print("burnt")
        sys.exit(7)
    if kind == "serve":  # until it is told, or has been forgotten
        threading.Thread(target=nap, args=(60,), daemon=True).start()
        print("ready", flush=True)
        end = time.time() + 60
        while time.time() < end:
            burn(0.02)
    if kind == "nap":
        nap(float(argument))
    if kind == "many":
        many(float(argument))
    if kind == "churn":
        churn(float(argument))
    if kind == "brief":
        brief(float(argument))
    if kind == "bursts":
        bursts(float(argument))
    if kind == "inner":
        burn(0.3)
        outer(float(argument))
    if kind == "same-number":
        same_number()
    if kind == "plain-fork":
        plain_fork()
    if kind == "killed":
        killed()
    if kind == "fetch":
        fetch(int(argument), 4)
    if kind == "forks":
        forks(float(argument))
    if kind == "ends":
        ends(argument)
    if kind == "descriptors":
        nap(0.7)
        print(sorted(os.listdir("/proc/self/fd")), os.environ.get("LD_PRELOAD", "")[-13:])
    if kind == "copy":
        sys.stdout.write(sys.stdin.read())
        sys.stderr.write("to stderr\n")


if __name__ == "__main__":
    main()
