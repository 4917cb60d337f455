"""Rows of the suite `programs`: shells, tools for text and archives, git, compilers, debuggers."""

from row import CLOCK, HEX, PIDS, SECONDS, Row

# What every Bourne shell can: pipes, traps, background jobs, here-documents, exit codes.
SHELL = r"""
cat >s.sh <<'EOS'
trap 'echo bye' EXIT
trap 'echo usr1' USR1
kill -USR1 $$
for i in 1 2 3; do echo $i; done | while read x; do echo "<$x>"; done
(exit 3); echo "sub $?"
sleep 0.1 & wait $!; echo "wait $?"
sh -c 'kill -TERM $$'; echo "term $?"
sh -c 'kill -SEGV $$' 2>/dev/null; echo "segv $?"
nosuchprogram; echo "missing $?"
/etc/passwd 2>/dev/null; echo "forbidden $?"
cat <<X | tr a-z A-Z
here $((6 * 7))
X
exec 7>kept; echo seven >&7; exec 7>&-
echo closed >&7; echo "closed $?"
ulimit -n; umask; set -- a b c; echo $#
echo to-stderr >&2
false || exit 5
EOS
"""

SH = Row("sh (dash)", "dash", SHELL + "dash s.sh", quick=True)

ROWS = [
    SH,
    Row("bash", "bash", SHELL + r"""bash --norc s.sh
bash --norc <<'EOS'
set -m
diff <(seq 3) <(seq 4)
coproc cat; echo through >&${COPROC[1]}; read -r x <&${COPROC[0]}; echo $x; kill $!; wait $!
sleep 9 & kill -STOP %1; kill -CONT %1; kill %1; wait %1; echo "job $?"
mapfile -t a < <(seq 5); echo ${#a[@]} ${a[@]:1:2}
exec {fd}>x; echo $fd; exec {fd}>&-
read -t 0.1 y < <(sleep 1); echo "timeout $?"
shopt -s lastpipe; echo z | read z; echo $?
bash -c 'ulimit -v 300000; exec true'; echo limited $?
exec -a other bash -c 'echo $0'
EOS
""", quick=True, rules=[(r"^\[1\] \d+", "[1]")]),
    Row("bash /dev/tcp", "bash", r"""web
exec 3<>/dev/tcp/127.0.0.1/$PORT
printf 'GET /bash HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
cat <&3
stop $WEB
""", quick=True),
    Row("zsh", "zsh", SHELL + r"""zsh -f s.sh
web
zsh -f -c 'zmodload zsh/net/tcp && ztcp 127.0.0.1 $PORT && fd=$REPLY &&
printf "GET /zsh HTTP/1.0\r\n\r\n" >&$fd && cat <&$fd; ztcp -c'
zsh -f -c 'print -l *(N); setopt multios; echo a >x >y; cat x y; print ${(s:,:)${:-a,b}}'
stop $WEB
"""),
    Row("ksh", "ksh93u+m", SHELL + "ksh s.sh; ksh -c 'cat |& print -p hi; read -p x; print $x'",
        rules=[(r"\[\d+\]", "[N]")]),
    Row("busybox", "busybox", SHELL + r"""busybox sh s.sh
mkdir www; echo page >www/index.html
busybox httpd -f -p 127.0.0.1:$PORT -h www & h=$!
await $PORT
busybox wget -q -O - http://127.0.0.1:$PORT/; busybox wget -q -O - http://127.0.0.1:$PORT/none
echo 'GET / HTTP/1.0' | busybox nc 127.0.0.1 $PORT >/dev/null; echo $?
busybox ls -l www | busybox awk '{print $1, $NF}'; stop $h
""", rules=[CLOCK]),
    Row("coreutils", "coreutils", r"""
seq 1 200 | tee n | shuf --random-source=/dev/zero | sort -n --parallel=4 | md5sum
cp -a n m; ln -s n l; ln n h; mv m o; install -m 640 n i; touch -d 2020-01-01 n; truncate -s 9 t
stat -c '%n %s %a %h' n l h o i t; readlink -f l; ls -l --time-style=+ | awk '{print $1, $5, $NF}'
split -l 60 n part.; wc part.*; cat part.* | cmp - n; head -c 20 n | od -c | tail -2
join <(seq 3) <(seq 2 5); comm <(seq 3) <(seq 2 5); paste -sd, n | cut -c1-30; tac n | nl | tail -1
dd if=/dev/zero of=z bs=1k count=64 status=none; sha256sum z n; b2sum n; base64 n | head -1
timeout 0.2 sleep 5; echo $?; timeout -s KILL 0.2 sleep 5; echo $?; nohup true; nice -n 5 nice
env -i /usr/bin/env; env -u HOME A=1 printenv A HOME; stdbuf -oL echo buffered; factor 123456789
mkfifo f; (echo fifo >f &) ; cat f; cat nothere; echo $?; rm -r nothere; test -d /; echo $?
tail -f --pid=$$ n >tailed & p=$!; sleep 0.3; kill $p; wait $p; echo $?; wc -l <tailed
pr -l 10 n | head -5 | tail -1; chmod 600 n; chown 1:1 n; du -b z; expr 3 \* 4; yes | head -3
csplit -s n 50 100; sum z; tsort <<<"a b b c"; unexpand -a <<<"        x"; numfmt --to=iec 1048576
""", rules=[(r"^\d{4}-\d\d.*Page", "Page")], quick=True),
    Row("findutils", "findutils", r"""mkdir -p a/b/c; touch a/1 a/b/2 a/b/c/3; ln -s loop a/loop
find a -type f | sort; find a -name '[12]' -exec echo {} + | tr ' ' '\n' | sort
find a -type f -print0 | xargs -0 -n1 -P4 basename | sort; find a -empty -delete -print | sort
seq 9 | xargs -n 2 -I{} echo '<{}>'; echo x | xargs false; echo $?; echo x | xargs sh -c 'exit 255'
echo $?; echo x | xargs nothere; echo $?
""", quick=True),
    Row("sed awk grep", "sed mawk grep gawk", r"""seq 100 >n
sed -n '10,12p;$!N;s/\n/+/;90,$p' n; sed -i.bak 's/1/one/g' n; cksum n n.bak
awk '{s+=$1} END {print s; "date +%Y >/dev/null; echo cmd" | getline x; print x}' n.bak
gawk 'BEGIN {while (("seq 3" | getline l) > 0) print l | "sort -r"; close("sort -r"); exit 4}'; echo $?
gawk 'BEGIN{c="cat"; print "coproc" |& c; close(c,"to"); c |& getline r; print r; system("exit 3")}'
grep -c one n; grep -rn 'one00' . | sort; grep -q nope n; echo $?; grep x nothere; echo $?
grep -P '(?<=t)w' <<<two; printf 'a\0b' | grep -ao b; sed --debug -n p <<<x | tail -1
"""),
    Row("gawk /inet", "gawk", r"""web
gawk 'BEGIN { s = "/inet/tcp/0/127.0.0.1/" ENVIRON["PORT"]
printf "GET /gawk HTTP/1.0\r\nHost: x\r\n\r\n" |& s; while ((s |& getline line) > 0) print line }'
stop $WEB
"""),
    Row("tar gzip bzip2 xz zstd cpio", "tar gzip bzip2 xz-utils zstd cpio", r"""
mkdir d; seq 10000 >d/n; ln -s n d/l; cp d/n d/m; chmod 600 d/m
t="tar --sort=name --mtime=2020-01-01 --owner=0 --group=0"
$t -cf a.tar d; $t -czf a.tgz d; $t -cjf a.tbz d; $t -cJf a.txz d; $t --zstd -cf a.tzs d
for f in a.t*; do tar -tvf $f | wc -l; mkdir x; tar -xf $f -C x; diff -r d x/d && echo same; rm -r x; done
gzip -n -9 -k d/n; gzip -t d/n.gz; zcat d/n.gz | tail -1; xz -T2 -k d/n; xz -l d/n.xz | wc -l
tar -cf - d | (mkdir y; tar -xf - -C y); find d | sort | cpio -o --reproducible -H newc 2>&1 >c | tail -1
tar -xf nothere; echo $?; echo bad | gunzip; echo $?; zstd -q d/n -o n.zst; unzstd -c n.zst | cksum
""", loose=["work/a.*", "work/c"]),
    Row("zip unzip", "zip unzip", r"""seq 99 >n; touch -d 2020-01-01 n; zip -qX a.zip n; unzip -l a.zip
unzip -p a.zip n | cksum; zip -T a.zip; unzip -q a.zip -d out; unzip nothere; echo $?
""", loose=["work/a.zip"]),
    Row("diff patch ed", "diffutils patch ed", r"""seq 9 >a; sed s/5/five/ a >b; diff a b; echo $?
diff -u --label a --label b a b >p; patch a p; cmp a b; echo $?; sdiff -s a b; diff3 a b a; diff -q . /nope
printf '%s\n' '2,3d' 'a' new . w q | ed -s a; cat a; patch -R nothere p; echo $?
"""),
    Row("jq bc dc", "jq bc", r"""echo '{"a":[1,2,{"b":null}]}' | jq -c '.a[2], (.a|length), env.LANG'
jq . <<<'{bad'; echo $?; echo 'scale=50; 4*a(1)' | bc -l; echo '2^300' | bc; seq 9 | jq -s add
"""),
    Row("parallel", "parallel", r"""mkdir -p ~/.parallel; touch ~/.parallel/will-cite
seq 12 | parallel -j4 -k 'echo $(({} * 2))'; parallel -j2 'exit {}' ::: 1 0 2; echo $?
seq 100 | parallel --pipe -N25 wc -l
"""),
    Row("expect tcl", "expect tcl", r"""expect -c 'spawn -noecho sh -c "read -p name: x; echo hi \$x; exit 7"
expect name:; send "ann\r"; expect eof; puts [lindex [wait] 3]'
web
tclsh <<'EOS'
package require http
set t [http::geturl http://127.0.0.1:$env(PORT)/tcl]; puts [http::ncode $t][http::data $t]
set s [socket 127.0.0.1 $env(PORT)]; puts $s "GET /raw HTTP/1.0\n"; flush $s; puts [read $s]
puts [exec sh -c {echo sub; exit 0}]; catch {exec false} e; puts $e
EOS
stop $WEB
"""),
    Row("git", "git", r"""export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global user.name n; git config --global user.email e; git config --global init.defaultBranch m
git init -q r; cd r; for i in 1 2 3 4 5; do seq $((i * 99)) >f$i; git add .; git commit -qm "c$i"; done
git checkout -qb side HEAD~2; echo side >s; git add s; git commit -qm side; git checkout -q m
git merge -q --no-edit side; git log --oneline --graph; git gc -q; git fsck --no-progress
cd ..; git clone -q file://$PWD/r c; cd c; git log -1 --format=%H; echo x >x; git add x; git commit -qm x
git push -q origin HEAD:refs/heads/new; cd ../r; git fetch -q ../c; git branch -a; git stash list
git diff --stat HEAD~1; git blame -s f1 | tail -1; git archive HEAD | tar -t; git bisect start HEAD HEAD~3 -q
git bisect run test -f s | tail -3; git status --short; git show nothere; echo $?
""", loose=["*/.git/*index*", "*/.git/objects/*", "*/.git/logs/*"], quick=True),
    Row("git over http and git://", "git", r"""
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global user.name n; git config --global user.email e; git config --global init.defaultBranch m
git init -q r; cd r; seq 9999 >f; git add .; git commit -qm one; git update-server-info; cd ..
cat >cgi.py <<'EOS'
import os, http.server, subprocess
class H(http.server.BaseHTTPRequestHandler):
    def any(self):
        path, _, query = self.path.partition("?")
        env = dict(os.environ, GIT_PROJECT_ROOT=os.getcwd(), GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
            QUERY_STRING=query, REQUEST_METHOD=self.command, REMOTE_ADDR="1",
            CONTENT_TYPE=self.headers.get("Content-Type", ""))
        if self.headers.get("Git-Protocol"): env["GIT_PROTOCOL"] = self.headers["Git-Protocol"]
        if self.headers.get("Content-Encoding"): env["HTTP_CONTENT_ENCODING"] = self.headers["Content-Encoding"]
        n = int(self.headers.get("Content-Length", 0))
        got = subprocess.run(["git", "http-backend"], input=self.rfile.read(n), capture_output=True, env=env)
        head, _, body = got.stdout.partition(b"\r\n\r\n")
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + head + b"\r\n\r\n" + body)
    do_GET = do_POST = any
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
EOS
git -C r config http.receivepack true; git -C r config receive.denyCurrentBranch ignore
"$SYSTEM_PYTHON" cgi.py & p=$!
git daemon --listen=127.0.0.1 --port=$PORT1 --export-all --base-path=$PWD --reuseaddr & d=$!
await $PORT $PORT1
git clone -q http://127.0.0.1:$PORT/r c; cd c; git log --oneline; seq 5 >g; git add g; git commit -qm two
git push -q; git ls-remote origin; cd ..; git clone -q git://127.0.0.1:$PORT1/r e; git -C e log --oneline
git clone -q http://127.0.0.1:$PORT/none; echo $?; (cd r; git gc -q); git -C e fetch -q; stop $p; stop $d
""", loose=["*/.git/*"], forget=["*/objects/*"], quick=True),
    Row("gcc make ar", "gcc make binutils", r"""cat >a.c <<'EOS'
#include <stdio.h>
#include <stdlib.h>
int twice(int);
int main(void) { printf("%d\n", twice(21)); return getenv("NO") ? 1 : 3; }
EOS
echo 'int twice(int x) { return 2 * x; }' >b.c
printf 'p: a.o libb.a\n\tgcc -o $@ a.o -L. -lb\nlibb.a: b.o\n\tar rcsD $@ b.o\n%%.o: %%.c\n\tgcc -O2 -c $<\n' >Makefile
make -j2 --output-sync | sort; ./p; echo $?; make; make nope; echo $?; gcc -c nothere.c; echo $?
echo 'int x = ;' >bad.c; gcc -c bad.c; gcc -S -O2 b.c; nm libb.a; objdump -d b.o | tail -3; strip p; ./p
gcc -flto -O2 -pipe a.c b.c -o q && ./q; gcc -static a.c b.c -o s && ./s; echo $?; size b.o
""", quick=True),
    Row("g++ threads and exceptions", "g++", r"""cat >a.cc <<'EOS'
#include <future>
#include <iostream>
#include <thread>
#include <vector>
int main() {
	std::vector<std::future<int>> f;
	for (int i = 0; i < 20; i++) f.push_back(std::async(std::launch::async, [i] { if (i == 7) throw i; return i; }));
	int sum = 0;
	for (auto &x : f) try { sum += x.get(); } catch (int i) { std::cout << "caught " << i << "\n"; }
	std::cout << sum << std::endl;
	std::terminate();
}
EOS
g++ -O2 -pthread a.cc -o a && ./a; echo $?; g++ -fsanitize=address -g a.cc -o b 2>/dev/null; ls b
""", loose=["work/b", "work/a"]),
    Row("clang", "clang", r"""echo 'int main(void) { __builtin_printf("clang\n"); int a[2]; return a[1] = 4; }' >a.c
clang -O2 -Wall a.c -o a; ./a; echo $?; echo 'int x = ;' | clang -xc -c -; echo $?; clang -emit-llvm -S a.c
clang -fsanitize=undefined a.c -o u && ./u; echo $?
"""),
    Row("cmake ninja", "cmake ninja-build gcc", r"""cat >CMakeLists.txt <<'EOS'
cmake_minimum_required(VERSION 3.16)
project(x C)
add_executable(x x.c)
enable_testing()
add_test(NAME runs COMMAND x)
EOS
echo 'int main(void) { return 0; }' >x.c
cmake -G Ninja -S . -B b; ninja -C b | tail -1; (cd b; ctest); b/x; echo $?; ninja -C b nope; echo $?
""", rules=[SECONDS, (r"[\d.]+ sec", "SEC"), (r"\(\d+\.\d+s\)", "")], forget=["work/b/*"]),
    Row("meson", "meson ninja-build gcc", r"""echo "project('x', 'c')
test('t', executable('x', 'x.c'))" >meson.build; echo 'int main(void) { return 0; }' >x.c
meson setup b && ninja -C b && meson test -C b
""", rules=[SECONDS, (r"\d+\.\d+s", "S"), (r"^\[\d/\d\].*", "[STEP]")], forget=["work/b/*"], quick=True),
    Row("gdb", "gdb gcc", r"""cat >a.c <<'EOS'
#include <stdio.h>
#include <signal.h>
int deep(int n) { if (n == 0) raise(SIGUSR1); return n ? deep(n - 1) + 1 : 0; }
int main(void) { signal(SIGUSR1, SIG_IGN); printf("%d\n", deep(3)); fflush(stdout); __builtin_trap(); }
EOS
gcc -g a.c -o a; unset DEBUGINFOD_URLS
gdb -nx -batch -ex 'break deep if n==1' -ex run -ex bt -ex 'p n' -ex c -ex bt -ex kill ./a 2>&1 |
	sed 's/process [0-9]*/process N/'
./a & wait $!; echo $?; sleep 30 & p=$!; sleep 0.2
gdb -nx -batch -p $p -ex 'info inferiors' -ex detach 2>&1 | grep -c 'process\|Detaching'; kill $p
""", rules=[HEX, PIDS], loose=["work/core*"], quick=True),
    Row("strace ltrace", "strace ltrace gcc", r"""
strace -f -o t -e trace=write,exit_group,execve -s 20 sh -c 'echo hi; /bin/echo there; exit 4'; echo $?
grep -v execve t | sed 's/^[0-9]* *//'; strace -c -o /dev/null true; echo $?
strace -o u -e inject=getuid:retval=77 id -u; echo 'int main(void){return puts("x")<0;}' | gcc -xc - -o p
ltrace -o l -e puts ./p; grep -c puts l
""", rules=[PIDS], forget=["work/u", "work/t", "work/l"]),
    Row("valgrind", "valgrind gcc libc6-dbg", r"""cat >a.c <<'EOS'
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
static void *f(void *p) { return strdup(p); }
int main(void) { pthread_t t; void *r; pthread_create(&t, 0, f, "leak"); pthread_join(t, &r);
	char *p = malloc(10); int bad = p[3] > 4; free(p); return bad ? 2 : 3; }
EOS
gcc -g -pthread a.c -o a; valgrind --leak-check=full --error-exitcode=9 ./a; echo $?
valgrind -q --tool=helgrind ./a; echo $?; valgrind -q true; echo $?
""", rules=[(r"==\d+==", "=="), HEX,
         # A thread's table of thread-local storage has one entry of 16 bytes more.
         (r"\d+ bytes allocated", "BYTES allocated")], quick=True),
    Row("tools that preload too", "fakeroot faketime coreutils", r"""
setpriv --reuid=65534 --clear-groups --inh-caps=-all true
chmod 777 .; fakeroot sh -c 'touch f; chown 5:6 f; stat -c %u:%g f; tar cf a.tar f; tar tvf a.tar | cut -c1-20'
faketime '2020-02-02 02:02:02' date; faketime -f '@2020-02-02 02:02:02' sh -c 'sleep 1; date +%F'
stdbuf -o0 -i0 sh -c 'echo unbuffered'
""", loose=["work/a.tar"]),
    Row("limits", "bash util-linux", r"""
prlimit --nproc=1000 --nofile=64 sh -c 'ulimit -n; echo x | cat'; prlimit --as=200000000 ls / >/dev/null; echo $?
prlimit --stack=131072 sh -c 'echo small stack'; prlimit --fsize=10 sh -c 'echo 0123456789abc >f; echo $?'
prlimit --nofile=4 true; echo $?; (exec 0<&- 1>&- 2>&-; true); echo $?; (exec 2>&-; echo fine)
nice -n 10 ionice -c3 true; chrt -b 0 true; taskset 1 true; echo $?; prlimit --data=20000000 sh -c 'echo d'
env -i sh -c 'echo empty'; env -i LD_PRELOAD="$LD_PRELOAD" sh -c 'echo only us'; ulimit -c; prlimit --core=0 true
cd /; chroot / /bin/echo in; cd "$TMPDIR"; mkdir gone; cd gone; rmdir ../gone; /bin/pwd; /bin/echo there
""", quick=True),
]
