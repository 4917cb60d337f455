# Before every scenario of the suite `programs`. Bash.

# await PORT...: until somebody listens there; looks instead of connecting, which servers notice
await() {
	local port hex tries line
	for port; do
		printf -v hex ':%04X ' "$port"
		for ((tries = 0; tries < 1000; tries++)); do
			while read -r line; do
				[[ $line == *"$hex"*" 0A "* ]] && continue 3
			done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
			sleep 0.03
		done
		echo "nobody listens at $port" >&2
		exit 99
	done
}

# until_there FILE: until a file, socket or pid file exists and is not empty
until_there() {
	local tries
	for ((tries = 0; tries < 1000; tries++)); do
		[[ -s $1 || -S $1 ]] && return
		sleep 0.03
	done
	echo "$1 does not come" >&2
	exit 99
}

# stop PID [SIGNAL]: ends a background program as an administrator would, and says how it ended
stop() {
	kill -"${2:-TERM}" "$1"
	wait "$1"
	echo "ended with $?"
}

# web: a small server of our own at $PORT; GET /x gives "you asked for /x", POST gives it back
web() {
	cat >"$TMPDIR/web.py" <<'PY'
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, body):
        self.send_response_only(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(f"you asked for {self.path}\n".encode())
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))
    do_PUT = do_POST
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100
    def handle_error(self, *_):
        pass
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
PY
	"$SYSTEM_PYTHON" "$TMPDIR/web.py" &
	WEB=$!
	await "$PORT"
}
