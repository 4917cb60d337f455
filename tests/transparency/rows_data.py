"""Rows of the suite `programs`: languages, and databases."""

from row import SECONDS, Row

ROWS = [
    Row("python subprocess fork threads", "python3", r"""web
cat >p.py <<'EOS'
import asyncio, concurrent.futures, multiprocessing, os, signal, socket, subprocess, sys, threading, time, urllib.request
url = f"http://127.0.0.1:{os.environ['PORT']}/"
def get(i): return urllib.request.urlopen(url + str(i)).read()
def main():
    print(get(0), get(1))
    with concurrent.futures.ThreadPoolExecutor(4) as pool: print(list(pool.map(get, range(6))))
    for method in "fork", "spawn", "forkserver":
        with multiprocessing.get_context(method).Pool(2) as pool: print(method, pool.map(get, range(3)))
    pid = os.fork()
    if pid == 0: print(get("child"), flush=True); os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), threading.active_count())
    print(subprocess.run(["sh", "-c", "echo $0; kill -9 $$"], capture_output=True))
    print(sorted(os.listdir("/proc/self/fd")))
    async def talk(i):
        r, w = await asyncio.open_connection("127.0.0.1", int(os.environ["PORT"]))
        w.write(b"GET /a HTTP/1.0\r\n\r\n"); data = await r.read(); w.close(); return len(data)
    async def all(): print(await asyncio.gather(*map(talk, range(5))))
    asyncio.run(all())
    signal.signal(signal.SIGALRM, lambda *_: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.1); time.sleep(0.3)
    sys.exit("the end")
if __name__ == "__main__": main()
EOS
"$SYSTEM_PYTHON" -W error::DeprecationWarning -X dev p.py; echo $?; stop $WEB
""", quick=True),
    Row("python venv pip", "python3-venv python3-pip", r"""mkdir -p pkg/tiny simple/tiny
echo 'print("tiny works")' >pkg/tiny/__init__.py
printf '[project]\nname="tiny"\nversion="1.0"\n[build-system]\nrequires=[]\nbuild-backend="back"\nbackend-path=["."]\n' >pkg/pyproject.toml
cat >pkg/back.py <<'EOS'
import zipfile
def build_wheel(to, *_):
    with zipfile.ZipFile(f"{to}/tiny-1.0-py3-none-any.whl", "w") as z:
        i = "tiny-1.0.dist-info/"; z.write("tiny/__init__.py")
        z.writestr(i + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        z.writestr(i + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(i + "RECORD", "")
    return "tiny-1.0-py3-none-any.whl"
EOS
"$SYSTEM_PYTHON" -m venv v; export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
v/bin/pip wheel -q --no-build-isolation -w simple/tiny ./pkg; ls simple/tiny
"$SYSTEM_PYTHON" -m http.server -p HTTP/1.1 --bind 127.0.0.1 $PORT 2>/dev/null & w=$!; await $PORT
v/bin/pip install -i http://127.0.0.1:$PORT/simple tiny; v/bin/python -c 'import tiny'; v/bin/pip list; stop $w
""", forget=["work/v/*", "work/simple/*", "tmp/*", "work/pkg/*"], timeout=120, rules=[(r"[\d.]+ [kM]B/s eta [\d:]+", ""), (r"^ +━.*\n", "")]),
    Row("perl", "perl", r"""web
perl -e 'use HTTP::Tiny; use IO::Socket::INET; my $u = "http://127.0.0.1:$ENV{PORT}";
my $h = HTTP::Tiny->new; print $h->get("$u/perl")->{content}, $h->post_form("$u/p", {a => 1})->{content}, "\n";
print $h->get("http://127.0.0.1:1/")->{status}, "\n"; my $p = fork; if (!$p) { print $h->get("$u/child")->{content}; exit 3 }
waitpid $p, 0; print $? >> 8, "\n"; print `echo sub`; system "sh", "-c", "exit 4"; print $? >> 8, "\n"; open my $f, "-|", "seq 3"; print <$f>;
my $s = IO::Socket::INET->new("127.0.0.1:$ENV{PORT}"); print $s "GET /raw HTTP/1.0\r\n\r\n"; print <$s>;
$SIG{ALRM} = sub { die "alarm\n" }; alarm 1; eval { sleep 5 }; print $@; my @l = map { fork // die } 1; kill 9, $$ if $l[0] == 0; wait; print $?, "\n"; exit 5'
echo $?; stop $WEB
"""),
    Row("ruby", "ruby", r"""web
ruby -rnet/http -rsocket -e 'u = URI("http://127.0.0.1:#{ENV["PORT"]}/ruby"); puts Net::HTTP.get(u)
Net::HTTP.start(u.host, u.port) { |h| 3.times { |i| puts h.get("/#{i}").body }; puts h.post("/p", "data").body }
puts 4.times.map { |i| Thread.new { Net::HTTP.get(u) } }.map(&:value).uniq
s = TCPServer.new("127.0.0.1", ENV["PORT1"].to_i); t = Thread.new { c = s.accept; l = c.gets; c.write "HTTP/1.0 200 OK\r\n\r\n#{l}"; c.close }
puts Net::HTTP.get(URI("http://127.0.0.1:#{ENV["PORT1"]}/served")); t.join
puts fork { exit 3 }.then { Process.wait _1; $?.exitstatus }; puts `echo sub`; r, w = IO.pipe; spawn("echo spawned", out: w); w.close; puts r.read; exit 6'
echo $?; stop $WEB
"""),
    Row("php", "php-cli", r"""web; echo '<?php echo "asked ", $_SERVER["REQUEST_URI"], "\n", file_get_contents("php://input");' >i.php
PHP_CLI_SERVER_WORKERS=3 php -S 127.0.0.1:$PORT1 i.php 2>log & p=$!; await $PORT1
curl -s http://127.0.0.1:$PORT1/x; curl -s -d body http://127.0.0.1:$PORT1/y
php -r 'echo file_get_contents("http://127.0.0.1:".getenv("PORT")."/php"), file_get_contents("http://127.0.0.1:".getenv("PORT1")."/php2");
echo @file_get_contents("http://127.0.0.1:1/") === false ? "refused\n" : "?"; passthru("echo sub; exit 3", $r); echo $r, "\n"; exit(9);'; echo $?
stop $p; stop $WEB
""", loose=["work/log"]),
    Row("lua", "lua5.4", "lua5.4 -e 'print(io.popen(\"echo popen\"):read()); print(os.execute(\"exit 3\")); os.exit(4)'; echo $?"),
    Row("node", "nodejs", r"""cat >n.js <<'EOS'
const http = require('http'), cp = require('child_process'), net = require('net');
const { Worker, isMainThread } = require('worker_threads');
const get = (port, path, agent) => new Promise((ok, no) => http.get({ host: '127.0.0.1', port, path, agent }, r => {
  let s = ''; r.on('data', d => s += d).on('end', () => ok(r.statusCode + ' ' + s.trim())); }).on('error', no));
const server = http.createServer((q, r) => { let b = ''; q.on('data', d => b += d); q.on('end', () => r.end(`node ${q.method} ${q.url} ${b}\n`)); });
server.listen(+process.env.PORT, '127.0.0.1', async () => {
  const port = +process.env.PORT, agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
  console.log(await get(port, '/one'), await Promise.all([1, 2, 3, 4, 5].map(i => get(port, '/k' + i, agent))));
  console.log(await fetch(`http://127.0.0.1:${port}/fetch`, { method: 'POST', body: 'x'.repeat(9) }).then(r => r.text()));
  await get(1, '/').catch(e => console.log(e.code));
  console.log(cp.execSync('echo sub').toString(), cp.spawnSync('sh', ['-c', 'exit 5']).status);
  await new Promise(ok => cp.fork(__filename, ['child']).on('message', m => console.log('child', m)).on('exit', ok));
  await new Promise(ok => new Worker('require("http").get("http://127.0.0.1:' + port + '/worker", r => r.resume())', { eval: true }).on('exit', ok));
  await new Promise(ok => { const c = net.connect(port, '127.0.0.1', () => c.write('GET /p1 HTTP/1.1\r\nHost: x\r\n\r\nGET /p2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'));
    let s = ''; c.on('data', d => s += d).on('end', () => { console.log(s.match(/node.*/g)); ok(); }); });
  agent.destroy(); server.close(() => process.exit(3)); server.closeAllConnections();
});
EOS
sed -i '1i if (process.argv[2] == "child") { process.send("hello", () => process.exit()); return; }' n.js
node n.js; echo $?; node -e 'throw 1' 2>/dev/null; echo $?
cat >c.js <<'EOS'
const c = require('cluster'), h = require('http'), port = +process.env.PORT1, host = '127.0.0.1';
let ready = 0;
if (c.isPrimary) {
  c.fork(); c.fork();
  c.on('listening', () => { if (++ready == 2) h.get({ port, host }, r => r.on('data', d => console.log('' + d)).on('end', () => {
    for (const w of Object.values(c.workers)) w.process.kill(); })); });
  c.on('exit', (w, code, s) => console.log(code, s));
} else h.createServer((q, r) => r.end('clustered')).listen(port, host);
EOS
node c.js; echo $?
"""),
    Row("java", "openjdk-17-jdk-headless", r"""cat >S.java <<'EOS'
import com.sun.net.httpserver.*; import java.net.*; import java.net.http.*; import java.util.*; import java.util.concurrent.*; import java.io.*;
public class S { public static void main(String[] a) throws Exception {
  int port = Integer.parseInt(System.getenv("PORT"));
  HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0); s.setExecutor(Executors.newFixedThreadPool(4));
  s.createContext("/", x -> { byte[] in = x.getRequestBody().readAllBytes(); byte[] b = (x.getRequestMethod() + x.getRequestURI() + in.length + "\n").getBytes();
    x.sendResponseHeaders(200, b.length); x.getResponseBody().write(b); x.close(); }); s.start();
  HttpClient c = HttpClient.newHttpClient(); URI u = URI.create("http://127.0.0.1:" + port + "/x");
  System.out.print(c.send(HttpRequest.newBuilder(u).version(HttpClient.Version.HTTP_1_1).build(), HttpResponse.BodyHandlers.ofString()).body());
  System.out.print(c.send(HttpRequest.newBuilder(u).POST(HttpRequest.BodyPublishers.ofString("abc")).build(), HttpResponse.BodyHandlers.ofString()).body());
  List<CompletableFuture<HttpResponse<String>>> l = new ArrayList<>(); for (int i = 0; i < 8; i++) l.add(c.sendAsync(HttpRequest.newBuilder(u).build(), HttpResponse.BodyHandlers.ofString()));
  for (var f : l) System.out.print(f.get().body());
  System.out.print(new String(new URL(u.toString()).openStream().readAllBytes()));
  Process p = new ProcessBuilder("sh", "-c", "echo sub; exit 3").start(); System.out.print(new String(p.getInputStream().readAllBytes())); System.out.println(p.waitFor());
  try (Socket k = new Socket("127.0.0.1", port)) { k.getOutputStream().write("GET /raw HTTP/1.0\r\n\r\n".getBytes()); System.out.println(k.getInputStream().readAllBytes().length > 50); }
  try { new Socket("127.0.0.1", 1); } catch (ConnectException e) { System.out.println(e.getMessage()); }
  Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook"))); s.stop(0); System.exit(4); } }
EOS
javac S.java && java -XX:TieredStopAtLevel=1 S; echo $?; java S.java; echo $?; java -version 2>&1 | wc -l
java -cp . S & p=$!; until_there S.class; sleep 0.1; kill -9 $p; wait $p; echo $?
""", rules=[(r"\d+ Killed", "Killed")], loose=["work/S.class"], forget=["tmp/hsperfdata*"], timeout=120),
    Row("go", "golang-go", r"""export GOCACHE=$HOME/cache GOPATH=$HOME/go GOTOOLCHAIN=local GOFLAGS=-mod=mod; cat >m.go <<'EOS'
package main
import ("fmt"; "io"; "net"; "net/http"; "os"; "os/exec")
func main() {
	l, _ := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.Method, r.URL, len(r.Header)) }))
	for i := 0; i < 3; i++ { r, e := http.Get("http://localhost:" + os.Getenv("PORT") + "/go"); if e != nil { panic(e) }; b, _ := io.ReadAll(r.Body); fmt.Print(string(b)) }
	o, e := exec.Command("sh", "-c", "echo sub; exit 3").Output(); fmt.Print(string(o), e, "\n"); os.Exit(5) }
EOS
go run m.go; echo $?; CGO_ENABLED=1 go build -o dynamic m.go && ./dynamic; CGO_ENABLED=0 go build -o static m.go && ./static; echo $?
printf 'package main\n// int twice(int x) { return 2 * x; }\nimport "C"\nfunc main() { println(C.twice(21)) }\n' >c.go; go run c.go
""", loose=["work/*"], forget=["home/*", "tmp/*"], timeout=400),
    Row("rust cargo", "rustc cargo", r"""export CARGO_HOME=$HOME/c; mkdir -p x/src; cat >x/src/main.rs <<'EOS'
use std::{env, io::*, net::*, process::*, thread};
fn main() {
    let a = format!("127.0.0.1:{}", env::var("PORT").unwrap()); let l = TcpListener::bind(&a).unwrap();
    let t = thread::spawn(move || for c in l.incoming().take(3) { let mut c = c.unwrap(); let mut b = [0; 999]; let n = c.read(&mut b).unwrap();
        assert!(n > 0); c.write_all(b"HTTP/1.0 200 OK\r\n\r\nrust\n").unwrap(); });
    for _ in 0..3 { let mut c = TcpStream::connect(&a).unwrap(); c.write_all(b"GET /r HTTP/1.0\r\n\r\n").unwrap(); let mut s = String::new(); c.read_to_string(&mut s).unwrap(); print!("{s}"); }
    t.join().unwrap(); let o = Command::new("sh").args(["-c", "echo sub; exit 3"]).output().unwrap(); println!("{o:?}");
    let r = thread::spawn(|| panic!("on purpose")).join(); println!("{}", r.is_err()); exit(6)
}
EOS
printf '[package]\nname="x"\nversion="0.1.0"\nedition="2021"\n' >x/Cargo.toml; cd x; cargo build -q --offline; target/debug/x; echo $?; cargo run -q --offline --release; echo $?
cargo test -q --offline; rustc --crate-name y -O src/main.rs -o y && ./y >/dev/null 2>&1; echo $?
""", loose=["*"], forget=["home/*", "work/x/target/*"], rules=[SECONDS], timeout=200),
    Row("sqlite3", "sqlite3", r"""sqlite3 d 'create table t(a, b); begin; insert into t values(1, "x"),(2, "y"); commit; select * from t;'
sqlite3 d 'pragma journal_mode=wal; insert into t select a+2, b from t; select count(*) from t'; sqlite3 d .dump
sqlite3 d 'select bad'; echo $?; for i in 1 2 3 4; do sqlite3 -cmd '.timeout 9000' d "insert into t values($i, 'p')" & done; wait; sqlite3 d 'select count(*) from t; pragma integrity_check'
""", loose=["work/d"]),
    Row("redis", "redis-server redis-tools", r"""
redis-server --port $PORT --bind 127.0.0.1 --save '' --appendonly no --logfile log --dbfilename d.rdb --io-threads 2 --repl-diskless-sync-delay 0 & r=$!; await $PORT
c="redis-cli -p $PORT"; $c set k v; $c get k; seq 5000 | sed 's/.*/SET k& v&/' | $c --pipe | tail -1; $c dbsize; $c lpush l a b c; $c lrange l 0 -1
$c bgsave; sleep 0.8; $c lastsave | wc -l; ls d.rdb; $c eval 'return redis.call("incr","n")' 0; $c nope; timeout 2 $c subscribe ch >sub & sleep 0.4; $c publish ch hi; wait $!; cat sub
redis-benchmark -p $PORT -n 2000 -c 20 -q -t set,get | wc -l; redis-server --port $PORT1 --bind 127.0.0.1 --save '' --replicaof 127.0.0.1 $PORT --logfile log2 --dbfilename e & q=$!; await $PORT1
for i in {1..60}; do redis-cli -p $PORT1 info replication | grep -q master_link_status:up && break; sleep 0.5; done; redis-cli -p $PORT1 get k7
$c debug sleep 0; $c info server | grep -c redis_; $c shutdown save; wait $r; echo $?; stop $q
""", loose=["work/*"]),
    Row("memcached", "memcached", r"""memcached -u nobody -l 127.0.0.1 -p $PORT -t 4 & m=$!; await $PORT
exec 3<>/dev/tcp/127.0.0.1/$PORT; printf 'set a 0 0 5\r\nhello\r\nget a\r\nincr a 1\r\ndelete a\r\nget a\r\nversion\r\nquit\r\n' >&3; cat <&3; stop $m
"""),
    Row("postgresql", "postgresql", r"""b=$(ls -d /usr/lib/postgresql/*/bin); mkdir pg; chown postgres pg $HOME $TMPDIR; as="setpriv --reuid=postgres --regid=postgres --init-groups"
$as $b/initdb -D pg/d -A trust --no-sync >log 2>&1; echo $?; echo "unix_socket_directories='$PWD/pg'
listen_addresses='127.0.0.1'
port=$PORT
fsync=off" >>pg/d/postgresql.conf
$as $b/pg_ctl -w -D pg/d -l pg/log start; echo $?; q="psql -h 127.0.0.1 -p $PORT -U postgres -X"
$q -c 'create table t as select generate_series(1,5000) a' -c 'select sum(a) from t' -c 'select 1/0'; $q -c 'create index on t(a)' -c 'vacuum analyze t' -Atc 'select count(*) from t where a > 4000'
for i in 1 2 3 4; do $q -Atc "select pg_sleep(0.1), $i" & done | sort; $q -c "copy t to '$PWD/pg/copy'"; wc -l <pg/copy; $b/pg_dump -h $PWD/pg -p $PORT -U postgres postgres | wc -l
$q -Atc 'set max_parallel_workers_per_gather=4; set parallel_setup_cost=0; set min_parallel_table_scan_size=0; select count(*) from t a join t b using(a)'
$q -Atc 'select pg_terminate_backend(pg_backend_pid())' 2>&1 | tail -1; $as $b/pg_ctl -D pg/d reload; $as $b/pg_ctl -w -m fast -D pg/d stop; echo $?; grep -ci 'panic\|crash' pg/log
""", forget=["work/pg/d/*", "work/log"], loose=["work/pg/log"], timeout=120),
    Row("mariadb", "mariadb-server", r"""mkdir m; chown mysql m $TMPDIR; mkdir -p /run/mysqld; chown mysql /run/mysqld
mariadb-install-db --no-defaults --user=mysql --datadir=$PWD/m/d --skip-test-db --auth-root-authentication-method=normal >log 2>&1; echo $?
mariadbd --no-defaults --user=mysql --datadir=$PWD/m/d --port=$PORT --bind-address=127.0.0.1 --socket=$PWD/m/s --pid-file=$PWD/m/pid --innodb-flush-log-at-trx-commit=0 2>err & s=$!; await $PORT
c="mariadb --no-defaults -u root -S $PWD/m/s"; $c -e 'create database x; use x; create table t(a int primary key, b text) engine=innodb; insert into t select seq, repeat(seq, 9) from seq_1_to_3000; select sum(a) from t'
for i in 1 2 3 4; do mariadb --no-defaults -u root -h 127.0.0.1 -P $PORT -Ne "select sleep(0.1), $i" & done | sort; $c -e 'select bad'; echo $?
mariadb-dump --no-defaults -u root -S $PWD/m/s --skip-dump-date x | sha256sum; mariadb-admin --no-defaults -u root -S $PWD/m/s shutdown; wait $s; echo $?; grep -ci 'signal\|assert' err
""", forget=["work/m/d/*", "work/log", "work/err", "work/m/s", "work/m/pid"], timeout=180),
]
