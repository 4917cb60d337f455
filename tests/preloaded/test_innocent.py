"""Programs that do no network work go on exactly as before: same output, same exit status, no file
and no word of ours."""

import sys

import pytest

SCRIPTS = {
    "true": "true",
    "false": "false",
    "ls": "ls -la /usr/bin /dev/null/none",
    "pipeline": "seq 1 20000 | sort -rn | uniq | head -n 5; true | (exit 4); echo ${PIPESTATUS[@]}",
    "yes": "yes | head -c 3000000 | md5sum",
    "subshells": "for i in $(seq 50); do (exit $i); echo $?; done; wait",
    "background": "for i in 1 2 3; do (sleep 0.0$i; echo $i) & done; wait; trap 'echo bye' EXIT; exit 7",
    "redirections": "exec 9>x; echo a >&9; exec 8<x 9>&-; cat <&8; cat <<<here; cat < <(echo sub); ls -l /proc/self/fd | wc -l",
    "killed": "exec 2>/dev/null; bash -c 'kill -TERM $$'; echo $?; bash -c 'kill -SEGV $$' 2>/dev/null; echo $?; timeout 0.2 sleep 5; echo $?",
    "find": "find /etc -xdev -type f -name '*.conf' | sort | xargs wc -c | tail -n 3",
    "sort": "seq 100000 | shuf --random-source=/bin/ls | sort -S 1M --parallel=4 -n | md5sum",
    "grep": "grep -rc root /etc/passwd /etc/group; grep -q nobody-here /etc/passwd; echo $?",
    "tar": "mkdir d; for i in 1 2 3; do seq $((i * 1000)) > d/$i; done; tar --mtime=@0 --owner=0 --group=0 --sort=name -cf - d | md5sum; tar -cf x.tar d && mkdir e && tar -C e -xf x.tar && diff -r d e/d && tar -tf x.tar | sort",
    "gzip": "seq 50000 | gzip -9n | gunzip | md5sum; gunzip <<<bad; echo $?",
    "make": "printf 'all: a b\\n\\t@echo $^\\na b:\\n\\t@echo $@\\n\\t@sleep 0.02\\nbad:\\n\\t@exit 3\\n' > Makefile; make -j1; make bad; echo $?; make -s -j4 all | sort",
    "gcc": "printf '#include <stdio.h>\\nint main(void) { puts(\"hi\"); return 3; }\\n' > a.c; gcc -O2 -o a a.c; md5sum < a; ./a; echo $?; gcc -c nothing.c; echo $?",
    "git": "export GIT_AUTHOR_DATE='@0 +0000' GIT_COMMITTER_DATE='@0 +0000' GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; git init -q -b main r; cd r; seq 100 > f; git add f; git commit -qm one; seq 101 > f; git commit -qam two; git log --stat; git clone -q . ../c; git -C ../c fsck; git push -q nowhere; echo $?",
    "dd": "dd if=/dev/zero of=z bs=1000 count=999 status=none; md5sum < z; dd if=/dev/null/none; echo $?",
    "python": "/usr/bin/python3 -c 'import sys, json, threading; print(json.dumps(sys.version_info[:2])); threading.Thread(target=print, args=(1,)).start(); sys.exit(9)'; echo $?",
    "python-pool": "/usr/bin/python3 -c 'import multiprocessing as m; p = m.Pool(3); print(p.map(abs, range(-50, 0))); p.close(); p.join()'",
    "python-asyncio": "/usr/bin/python3 -c 'import asyncio\nasync def f():\n p = await asyncio.create_subprocess_exec(\"echo\", \"x\", stdout=-1)\n print(await p.communicate())\nasyncio.run(f())'",
    "perl": "perl -e 'print \"p$_\\n\" for 1..3; exit 4'; echo $?",
    "awk": "seq 1000 | awk '{ s += $1 } END { print s }'",
    "closed-output": "ls / >&-; echo $?; (echo x; echo y >&2) 2>&-; head -c 5 /dev/zero >/dev/full; echo $?",
    "socketpair": "/usr/bin/python3 -c 'import socket; a, b = socket.socketpair(); a.send(b\"GET / HTTP/1.1\\r\\n\\r\\n\"); print(b.recv(99))'",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_same(bench, name):
    results = []
    for agent in (False, True):
        folder = bench.tmp / "work"  # the same name: paths are part of the output
        folder.mkdir()
        results.append(bench.run(["bash", "-c", SCRIPTS[name]], agent=agent, cwd=folder))
        folder.rename(bench.tmp / f"was-{agent}")
    results[1].same(results[0])
    assert bench.files() == []


def test_small_stack_and_memory(bench):
    """Programs under tight limits."""
    for limit in "-s 128", "-v 100000", "-n 6", "-f 0":
        bench.both(["bash", "-c", f"ulimit {limit}; ls /; echo $?"])
    assert bench.files() == []


def test_python_says_nothing_about_threads(bench):
    """Python >= 3.12 warns when it forks with a foreign thread around."""
    bench.both([sys.executable, "-W", "error", "-c",
                "import os\npid = os.fork()\nif not pid: os._exit(0)\nprint(os.waitpid(pid, 0)[1])"])
