"""Rows of the suite `programs`: what serves HTTP and its kind."""

from row import DATES, Row

# $u is served: asked in several ways, what comes back is printed. $p is the server.
ASK = r"""
curl -s $u/hello; curl -s -d posted $u/post; curl -s -o /dev/null -w '%{http_code}\n' $u/one $u/two
curl -sI $u/head | head -1; curl -s --http1.0 $u/old; for i in 1 2 3 4 5 6; do curl -s $u/p$i & done | sort
exec 3<>/dev/tcp/${u#http://}; true
""".replace("exec 3<>/dev/tcp/${u#http://}; true\n", "")

WSGI = r"""cat >app.py <<'EOS'
import os, urllib.request
def app(environ, start):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/ask": body = urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/asked").read()
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode(), b" ", body, b"\n"]
EOS
u=http://127.0.0.1:$PORT1; web
"""


def gunicorn(kind, extra=""):
    packages = "gunicorn curl" + (" python3-gevent" if kind == "gevent" else "")
    return Row(f"gunicorn {kind}", packages, WSGI + rf"""
gunicorn -b 127.0.0.1:$PORT1 -k {kind} -w 2 {extra} --log-file log app:app & p=$!; await $PORT1
""" + ASK + r"""curl -s $u/ask; kill -HUP $p; sleep 1.5; curl -s $u/after; kill -TTIN $p; sleep 0.5; stop $p; stop $WEB
grep -c Booting log; grep -ci 'error\|exception\|critical' log
""", loose=["work/log"], forget=["work/__pycache__*"])


NGINX = r"""mkdir -p n/logs www; seq 50000 >www/big; echo static >www/s.txt; web; u=http://127.0.0.1:$PORT1
cat >n/conf <<EOS
user root;
worker_processes 2;
pid n.pid;
error_log err;
events {}
http {
  access_log off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream w { server 127.0.0.1:$PORT; keepalive 4; }
  server { listen 127.0.0.1:$PORT1; root $PWD/www; sendfile on;
    location / { proxy_pass http://w; proxy_http_version 1.1; proxy_set_header Connection ""; }
    location ~ \.txt|big { } location /301 { return 301 /x; } }
}
EOS
/usr/sbin/nginx -t -q -p $PWD/n -c conf; /usr/sbin/nginx -p $PWD/n -c conf -g 'daemon off;' & p=$!; await $PORT1
"""

ROWS = [
    Row("nginx", "nginx-light curl", NGINX + ASK + r"""
curl -s $u/s.txt; curl -s $u/big | md5sum; curl -s -r 5-20 $u/big; curl -si $u/301 | head -1; curl -s $u/none.txt | head -1
/usr/sbin/nginx -p $PWD/n -c conf -s reload; sleep 0.5; curl -s $u/reloaded; seq 99999 | curl -s --data-binary @- $u/up | md5sum
/usr/sbin/nginx -p $PWD/n -c conf -s quit; wait $p; echo $?; stop $WEB; cat n/err
""", rules=[(r"^\d{4}/.*\[notice\].*\n", ""), (r"^\d{4}/.* \[error\] [\d#]+: \*\d+ ", "")], loose=["work/n/err"], quick=True),
    Row("nginx daemon", "nginx-light curl", NGINX.replace("-g 'daemon off;' & p=$!", "") + r"""until_there n/n.pid; curl -s $u/x; kill $(cat n/n.pid); stop $WEB
for i in 1 2 3 4 5 6 7 8 9; do [ -e n/n.pid ] || break; sleep 0.2; done; cat n/err
""", quick=True),
    Row("apache2 prefork", "apache2 curl", r"""mkdir -p www; echo static >www/s.txt; m=/usr/lib/apache2/modules; u=http://127.0.0.1:$PORT1; web
for mpm in prefork event; do cat >conf <<EOS
ServerRoot $PWD
ServerName localhost
Listen 127.0.0.1:$PORT1
PidFile $PWD/pid
ErrorLog $PWD/err
User nobody
Group nogroup
Mutex posixsem
LoadModule mpm_${mpm}_module $m/mod_mpm_$mpm.so
LoadModule authz_core_module $m/mod_authz_core.so
LoadModule proxy_module $m/mod_proxy.so
LoadModule proxy_http_module $m/mod_proxy_http.so
LoadModule rewrite_module $m/mod_rewrite.so
DocumentRoot $PWD/www
<Directory />
Require all granted
</Directory>
ProxyPass /s.txt !
ProxyPass / http://127.0.0.1:$PORT/
EOS
setsid /usr/sbin/apache2 -d $PWD -f conf -DFOREGROUND & p=$!; await $PORT1
""" + ASK + r"""curl -s $u/s.txt; kill -USR1 $p; sleep 1; curl -s $u/graceful; stop $p; done; stop $WEB; grep -ci 'segfault\|exit signal' err
""", loose=["work/err"], timeout=90),
    Row("lighttpd", "lighttpd curl", r"""mkdir www; echo static >www/s.txt; printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"; echo cgi $REQUEST_METHOD; cat\n' >www/x.cgi; chmod 755 www/x.cgi
cat >conf <<EOS
server.port = $PORT
server.bind = "127.0.0.1"
server.document-root = "$PWD/www"
server.modules = ("mod_cgi")
server.errorlog = "$PWD/err"
cgi.assign = (".cgi" => "")
EOS
/usr/sbin/lighttpd -D -f conf & p=$!; await $PORT; curl -s http://127.0.0.1:$PORT/s.txt; curl -s -d in http://127.0.0.1:$PORT/x.cgi; curl -s http://127.0.0.1:$PORT/x.cgi; stop $p
""", loose=["work/err"], rules=[DATES]),
    Row("haproxy", "haproxy curl", r"""web; cat >conf <<EOS
global
  nbthread 2
  stats socket $PWD/sock mode 600 level admin
defaults
  mode http
  timeout connect 3s
  timeout client 9s
  timeout server 9s
listen l
  bind 127.0.0.1:$PORT1
  option forwardfor
  server a 127.0.0.1:$PORT check inter 200
EOS
haproxy -f conf -W -S $PWD/master -q & p=$!; await $PORT1; sleep 0.5; u=http://127.0.0.1:$PORT1
""" + ASK + r"""kill -USR2 $p; sleep 1; curl -s $u/reloaded; kill -USR1 $p; wait $p; echo $?; stop $WEB
""", forget=["work/sock", "work/master"]),
    Row("squid", "squid curl", r"""web; mkdir s; chown proxy s; cat >conf <<EOS
http_port 127.0.0.1:$PORT1
http_access allow all
pid_filename $PWD/s/pid
cache_log $PWD/s/log
access_log none
cache_mem 8 MB
coredump_dir $PWD/s
pinger_enable off
shutdown_lifetime 0 seconds
EOS
squid -N -f $PWD/conf & p=$!; await $PORT1; for i in 1 2; do curl -s -x http://127.0.0.1:$PORT1 http://127.0.0.1:$PORT/proxied; done
curl -s -x http://127.0.0.1:$PORT1 -d post http://127.0.0.1:$PORT/; curl -s -p -x http://127.0.0.1:$PORT1 http://127.0.0.1:$PORT/tunnel; echo; stop $p; stop $WEB
""", loose=["work/s/*"], rules=[(r"^\d{4}/\d\d/\d\d .*\n", "")]),
    gunicorn("sync"), gunicorn("gthread", "--threads 3"), gunicorn("gevent"),
    Row("uwsgi", "uwsgi-core uwsgi-plugin-python3 curl", WSGI + r"""
uwsgi --plugin python3 --http-socket 127.0.0.1:$PORT1 --master --processes 2 --threads 2 --wsgi-file app.py --callable app --need-app --die-on-term --logto log 2>/dev/null & p=$!; await $PORT1
""" + ASK.replace("curl -s -d posted $u/post;", "") + r"""curl -s $u/ask; kill -HUP $p; sleep 2; curl -s $u/after; stop $p; stop $WEB; grep -ci 'segmentation\|sorry' log
""", loose=["work/log"], forget=["work/__pycache__*"]),
    Row("twisted tornado aiohttp", "python3-twisted python3-tornado python3-aiohttp curl", r"""
cat >tw.py <<'EOS'
import os
from twisted.internet import reactor
from twisted.web import resource, server
class R(resource.Resource):
    isLeaf = True
    def render(self, r): return r.method + b" " + r.uri + b" " + r.content.read() + b"\n"
reactor.listenTCP(int(os.environ["PORT"]), server.Site(R()), interface="127.0.0.1"); reactor.run()
EOS
cat >to.py <<'EOS'
import asyncio, os, tornado.web, tornado.httpclient
class H(tornado.web.RequestHandler):
    async def get(self, p):
        if p == "ask": p = (await tornado.httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{os.environ['PORT']}/tw")).body.decode()
        self.write(f"tornado {p}\n")
    def post(self, p): self.write(self.request.body)
async def main(): tornado.web.Application([("/(.*)", H)]).listen(int(os.environ["PORT1"]), "127.0.0.1"); await asyncio.Event().wait()
asyncio.run(main())
EOS
cat >ai.py <<'EOS'
import os
from aiohttp import web, ClientSession
async def any(r):
    if r.path == "/ask":
        async with ClientSession() as s:
            async with s.get(f"http://127.0.0.1:{os.environ['PORT1']}/ask") as q: return web.Response(text=await q.text())
    return web.Response(text=f"aiohttp {r.method} {r.path} {await r.text()}\n")
a = web.Application(); a.router.add_route("*", "/{x:.*}", any); web.run_app(a, host="127.0.0.1", port=int(os.environ["PORT2"]), print=None)
EOS
for x in tw to ai; do /usr/bin/python3 $x.py & ps[${#ps[@]}]=$!; done; await $PORT $PORT1 $PORT2
for port in $PORT $PORT1 $PORT2; do u=http://127.0.0.1:$port
""" + ASK.replace("curl -sI $u/head | head -1;", "") + r"""done; curl -s $u/ask; for p in ${ps[@]}; do kill $p; wait $p; echo $?; done
""", rules=[(r"^.*(NotImplemented|Traceback).*\n", "")]),
    Row("uvicorn-like asyncio server", "python3 curl", r"""cat >a.py <<'EOS'
import asyncio, os
async def serve(r, w):
    while head := await r.readuntil(b"\r\n\r\n"):
        body = head.split(b" ")[1] + b"\n"
        w.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body); await w.drain()
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"])) as s: await s.serve_forever()
asyncio.run(main())
EOS
"$SYSTEM_PYTHON" a.py 2>/dev/null & p=$!; await $PORT; u=http://127.0.0.1:$PORT; curl -s $u/1 $u/2; for i in 1 2 3 4 5 6 7 8; do curl -s $u/$i & done | sort; stop $p
""", quick=True),
    Row("celery redis", "python3-celery python3-redis redis-server", r"""cat >tasks.py <<'EOS'
import os, subprocess, urllib.request
from celery import Celery
url = f"redis://127.0.0.1:{os.environ['PORT1']}/"
app = Celery("tasks", broker=url, backend=url)
@app.task
def add(a, b): return a + b
@app.task
def ask(): return urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/celery").read().decode()
@app.task
def sub(): return subprocess.check_output(["echo", "sub"]).decode()
EOS
web; redis-server --port $PORT1 --bind 127.0.0.1 --save '' --logfile /dev/null & r=$!; await $PORT1
/usr/bin/python3 -m celery -A tasks worker -c 2 -l warning >log 2>&1 & c=$!
/usr/bin/python3 -c 'import tasks
print([x.get(timeout=40) for x in [tasks.add.delay(i, 1) for i in range(5)]], tasks.ask.delay().get(timeout=20), tasks.sub.delay().get(timeout=20))'
stop $c; stop $r; stop $WEB; grep -c Traceback log
""", loose=["work/log"], forget=["work/__pycache__*"], timeout=90),
    Row("vsftpd ftp", "vsftpd ftp", r"""mkdir -p /run/vsftpd/empty f; seq 999 >f/a; chmod 555 f; cat >conf <<EOS
listen=YES
listen_address=127.0.0.1
listen_port=$PORT
anonymous_enable=YES
anon_root=$PWD/f
secure_chroot_dir=/run/vsftpd/empty
background=NO
xferlog_enable=NO
seccomp_sandbox=NO
isolate_network=NO
EOS
chown root conf; /usr/sbin/vsftpd $PWD/conf & p=$!; await $PORT; curl -s ftp://127.0.0.1:$PORT/a | md5sum; curl -s ftp://127.0.0.1:$PORT/ | awk '{print $5, $NF}'; curl -s ftp://127.0.0.1:$PORT/none; echo $?
printf 'user anonymous x\ncd /\nget a got\nbye\n' | ftp -n -p 127.0.0.1 $PORT; md5sum got; stop $p
"""),
    Row("ab", "apache2-utils curl", r"""web; ab -q -n 300 -c 6 http://127.0.0.1:$PORT/x | grep 'Complete\|Failed\|Non-2xx\|Total transferred'
stop $WEB
"""),
]
