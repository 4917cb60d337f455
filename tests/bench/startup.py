"""What the library costs a program that does nothing: time to start and end, and memory."""

from callgrind import instructions
from common import agent_env, compared, compiled, output_of, plain_env, scratch, table

PYTHON = "/usr/bin/python3"
PROGRAMS = {"/bin/true": ["/bin/true"], "python3 -c pass": [PYTHON, "-c", "pass"]}
ASK_RSS = "print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"


def measure_program(spawn, lib, command, env, pairs):
    lines = output_of([spawn, pairs, lib, *command], env=env, cpu=0).split("\n")
    columns = list(zip(*(map(int, line.split()) for line in lines if line)))
    return {"pairs": pairs,
            "wall_ms": compared([n / 1e6 for n in columns[0]], [n / 1e6 for n in columns[3]]),
            "cpu_ms": compared([n / 1e6 for n in columns[1]], [n / 1e6 for n in columns[4]]),
            "peak_kb": compared(columns[2], columns[5])}


def resident(lib, folder, runs):
    """VmRSS in KB that python3 sees of itself at its end, without and with."""
    series = {"plain": [], "agent": []}
    envs = {"plain": plain_env(), "agent": agent_env(lib, f"{folder}/rss.jsonl")}
    for _ in range(runs):
        for kind, env in envs.items():
            series[kind].append(int(output_of([PYTHON, "-c", ASK_RSS], env=env)))
    return compared(series["plain"], series["agent"])


def counted(command, lib, folder):
    fixed = {"PYTHONHASHSEED": "0"}
    plain = sum(instructions(command, plain_env() | fixed, folder))
    agent = sum(instructions(command, agent_env(lib, f"{folder}/none.jsonl") | fixed, folder))
    return {"plain": plain, "agent": agent, "more": agent - plain}


def measure(lib, options):
    results = {}
    with scratch() as folder:
        spawn = compiled("spawn", folder)
        env = agent_env(lib, f"{folder}/none.jsonl")
        del env["LD_PRELOAD"]
        for name, command in PROGRAMS.items():
            pairs = (40 if options.quick else 1000) if name == "/bin/true" else \
                (15 if options.quick else 300)
            results[name] = measure_program(spawn, lib, command, env, pairs)
            results[name]["instructions"] = counted(command, lib, folder)
        results["python3 -c pass"]["resident_kb"] = resident(lib, folder, 3 if options.quick else 21)
    return results


def show(results):
    rows = []
    for name, r in results.items():
        for title, key, digits in (("ms", "wall_ms", 3), ("CPU ms", "cpu_ms", 3),
                                   ("instructions", "instructions", 0),
                                   ("peak resident KB", "peak_kb", 0), ("VmRSS KB", "resident_kb", 0)):
            if key not in r:
                continue
            v = r[key]
            low, high = v.get("more_95", [v["more"]] * 2)
            rows.append([f"{name}, {title}", f"{v['plain']:,.{digits}f}", f"{v['agent']:,.{digits}f}",
                         f"{v['more']:+,.{digits}f}", f"{low:+,.{digits}f} .. {high:+,.{digits}f}"])
    return table(["start-up", "without", "with", "more", "95 % of more"], rows)


def bars(results):
    true, python = results["/bin/true"], results["python3 -c pass"]
    memory = max((python["peak_kb"], python["resident_kb"]), key=lambda figure: figure["more"])
    return [(what, figure["more"], "<=", bar, figure["more_95"]) for what, figure, bar in (
        ("start-up of /bin/true, ms more", true["wall_ms"], 0.3),
        ("start-up of python3 -c pass, ms more", python["wall_ms"], 1.0),
        ("RSS of python3 -c pass, KB more", memory, 1024))]
