"""A real Redis and a real PostgreSQL, one of each for all cells, started when first needed."""

import shutil
import sys
import threading

import postgres
from stage import CLEAN, Program, free_port
from venvs import HERE


def missing():
    """What is not installed, in words; "" if nothing is."""
    lack = [] if shutil.which("redis-server") else ["redis-server"]
    lack += [] if postgres.program("postgres") else ["postgresql"]
    return "no " + " and no ".join(lack) if lack else ""


class Stores:
    def __init__(self, folder):
        self.folder, self.lock = folder, threading.Lock()
        self.programs = {}

    def argv(self, name, port):
        if name == "redis":
            return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                    "--loglevel", "warning", "--dir", str(self.folder)]
        return [sys.executable, str(HERE / "postgres.py"), str(port)]

    def ports(self):
        """{name: port} of both, which listen."""
        with self.lock:
            if not self.programs:
                for name in ("redis", "postgres"):
                    port = free_port()
                    self.programs[name] = Program(self.argv(name, port), port, CLEAN,
                                                  self.folder / f"{name}.log")
                for program in self.programs.values():
                    program.wait()
        return {name: program.port for name, program in self.programs.items()}

    def stop(self):
        for program in self.programs.values():
            program.stop()
