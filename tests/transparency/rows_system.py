"""Rows of the suite `programs`: processes, users, terminals, the network's tools, packages."""

from row import DATES, PIDS, SECONDS, Row

ROWS = [
    Row("ps top pgrep free uptime", "procps", r"""sleep 60 & sleep 61 &
ps -o pid,ppid,stat,nlwp,comm; top -b -n 1 | tail -n +8 | awk '{print $12}' | sort; pgrep -x sleep
pkill -n sleep; sleep 0.1; pidof sleep; pkill sleep; wait; ps -L -o nlwp,comm
free | wc -l; uptime >/dev/null; vmstat | wc -l; w -h; pmap $$ | tail -1 | wc -l; sysctl -n kernel.hostname
""", rules=[PIDS], quick=True),
    Row("lsof fuser", "lsof psmisc", r"""exec 5>kept; web
lsof -a -p $$ -d 3-20 -F fn; lsof -nP -a -p $WEB -i -F n; lsof -a -p $WEB -d 3-99 -F f; fuser kept 2>&1; pstree $$ | sed "s/^.*bash//" | head -1; killall -q nothere
ls /proc/$WEB/fd; cat /proc/$WEB/task/*/comm; stop $WEB
""", rules=[PIDS]),
    Row("util-linux", "util-linux bsdextrautils", r"""
flock l -c 'echo locked'; flock -n l true; echo $?; setsid -w sh -c 'ps -o sid= -p $$ | wc -l'
script -qec 'stty -a | head -1; exit 6' /dev/null; echo $?; unshare -Ur id -u; unshare --pid --fork sh -c 'echo $$'
nsenter -t $$ -m -n echo entered; unshare -n ip link | wc -l; getopt -o ab: -- -b x y; hexdump -C <<<x
setpriv --reuid=65534 --clear-groups id -u; runuser -u nobody -- id -un; su -s /bin/sh nobody -c 'id -un; exit 4'
echo $?; column -t <<<'a b'; rev <<<abc; mountpoint /proc
timeout 5 script -qc 'sh -i' /dev/null <<<'echo in a terminal; exit' | tail -3
"""),
    Row("sudo su setuid", "sudo gcc util-linux", r"""
chmod 777 .; sudo -u nobody id; sudo -u nobody sh -c 'echo $0; exit 9'; echo $?; sudo -n -l -U nobody
sudo env | grep -c LD_; sudo -E sh -c true; su nobody -s /bin/sh -c 'echo $HOME'; su - nobody -s /bin/sh -c id
echo '#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d %d\n", getuid(), geteuid()); return 0; }' | gcc -xc - -o s; cp s t; chmod 4755 t
setpriv --reuid=65534 --clear-groups ./s; setpriv --reuid=65534 --clear-groups ./t
setpriv --reuid=65534 --clear-groups --no-new-privs ./t; setpriv --reuid=65534 --clear-groups su root -c id </dev/null
""", rules=[(r"^.*unable to resolve host.*\n", "")]),
    Row("cron at", "cron at util-linux", r"""mount -t tmpfs none /var/spool/cron || exit 77
mkdir -p /var/spool/cron/crontabs /var/spool/cron/atjobs /var/spool/cron/atspool; chmod 1770 /var/spool/cron/atjobs
chown daemon:daemon /var/spool/cron/at*; touch /var/spool/cron/atjobs/.SEQ; chown daemon /var/spool/cron/atjobs/.SEQ
chgrp crontab /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs
echo "* * * * * echo from cron >$PWD/cron.out" | crontab -; crontab -l; cron -f & c=$!
atd -f -b 1 & a=$!; sleep 0.3; echo "echo from at >$PWD/at.out" | at now 2>&1 | grep -c job
until_there at.out; cat at.out; for i in 1 2 3; do [ -s cron.out ] || (until_there cron.out) 2>/dev/null; done
cat cron.out; stop $c; stop $a; crontab -r
""", timeout=150, forget=["work/*.out"]),
    Row("tmux", "tmux", r"""tmux -L t -f /dev/null new-session -d -s a 'cat; exit 3'; tmux -L t set -g remain-on-exit on
tmux -L t send-keys hello Enter; sleep 0.5; tmux -L t capture-pane -p | head -2
tmux -L t new-window -n w 'echo in window; exec sleep 60'; sleep 0.3; tmux -L t list-windows -F '#I #W'
tmux -L t capture-pane -p -t w | head -1; tmux -L t kill-server; echo $?
""", forget=["tmp/tmux-0*"]),
    Row("screen", "screen", r"""export SCREENDIR=$HOME/screens; mkdir -m 700 $SCREENDIR
screen -dmS s sh -c 'echo inside >out; sleep 60'; until_there out; cat out; screen -ls | grep -c Detached
screen -S s -X quit; sleep 0.3; screen -ls | tail -2
"""),
    Row("vim", "vim-tiny", r"""seq 20 >f; vim.tiny -u NONE -es -c '%s/1/one/g' -c 'g/2/d' -c 'r !echo from shell' -c wq f; echo $?; cat f
vim.tiny -u NONE -es -c 'cq 3' f; echo $?; printf ':wq\r' | TERM=xterm timeout 9 script -qec 'vim.tiny -u NONE f' /dev/null >/dev/null
""", forget=["home/.viminfo"]),
    Row("less man", "less man-db bash", r"""seq 30 | less | tail -1; man --version; MANPAGER=cat man -P cat bash 2>/dev/null | wc -l
printf 'q' | script -qec 'seq 300 | TERM=vt100 less' /dev/null | wc -c; apropos nothing-of-this; echo $?
""", loose=["*"]),
    Row("ping ip ss", "iputils-ping iproute2", r"""ping -c 3 -i 0.05 127.0.0.1; ping -q -c 1 localhost; ping -c1 -W1 192.0.2.1; echo $?
ip -o addr show lo; ip link add d0 type dummy; ip link set d0 up; ip -br link | wc -l; ip route add 10.9.0.0/16 dev d0
ip route; ip netns list; web; ss -Hltn | awk '{print $4}'; ss -Hltnp | grep -c python; stop $WEB
setpriv --reuid=65534 --clear-groups ping -c 1 127.0.0.1 | head -2
""", rules=[(r"time[ =<]*[\d.]+ ?ms", "TIME"), (r"= [\d./]+ ms", "= TIMES")]),
    Row("apt dpkg", "apt dpkg", r"""dpkg -l | wc -l; apt-cache policy bash | wc -l; apt-get -s install hello 2>&1 | wc -l
mkdir -p p/DEBIAN p/usr/share/x; echo hi >p/usr/share/x/y; printf '#!/bin/sh\necho configured\n' >p/DEBIAN/postinst; chmod 755 p/DEBIAN/postinst
printf 'Package: xy\nVersion: 1\nArchitecture: all\nMaintainer: n <n@n>\nDescription: d\n' >p/DEBIAN/control
mkdir repo; export SOURCE_DATE_EPOCH=1; dpkg-deb --root-owner-group -b p repo/xy.deb; dpkg-deb -I repo/xy.deb | tail -3; dpkg-deb -c repo/xy.deb
(cd repo; { dpkg-deb -f xy.deb; echo "Filename: ./xy.deb"; echo "Size: $(stat -c %s xy.deb)"; echo "SHA256: $(sha256sum xy.deb | cut -c1-64)"; } >Packages)
"$SYSTEM_PYTHON" -m http.server --bind 127.0.0.1 -d repo $PORT 2>/dev/null & w=$!; await $PORT
mkdir -p l/partial c/archives/partial root/var/lib/dpkg/info root/var/lib/dpkg/updates; touch root/var/lib/dpkg/status
echo "deb [trusted=yes] http://127.0.0.1:$PORT ./" >s.list
a="-o Dir::Etc::sourcelist=$PWD/s.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$PWD/l -o Dir::Cache=$PWD/c -o APT::Sandbox::User=root"
apt-get $a update; apt-get $a download xy; ls *.deb; sha256sum xy*.deb; dpkg -x repo/xy.deb x; cat x/usr/share/x/y
dpkg --root=$PWD/root --force-script-chrootless --log=$PWD/log -i repo/xy.deb; dpkg --root=$PWD/root -s xy | head -2; stop $w
apt-config dump | wc -l; apt-mark showhold; dpkg -S /bin/ls; dpkg -L nothere; echo $?
""", rules=[DATES, SECONDS, (r"\([\d.,]+ k?B/s\)", "")], forget=["work/l/*", "work/c/*", "work/log", "work/root/var/*"], timeout=90),
    Row("curl", "curl", r"""web; seq 200000 >big; u=http://127.0.0.1:$PORT
curl -s $u/a; curl -sS -d x=1 $u; curl -s -T big $u | cmp - big && echo up; curl -sI $u; curl -s --http1.0 $u/old
curl -s $u/1 $u/2 $u/3; curl -s -Z $u/[1-9] 2>/dev/null | sort; curl -s -o o -w '%{http_code} %{size_download} %{num_connects}\n' $u/w $u/v
curl -s --data-binary @big -H 'Expect: 100-continue' $u | md5sum; curl -s http://127.0.0.1:1/; echo $?
curl -s -H 'Transfer-Encoding: chunked' -d a=b $u; echo; curl -m 1 -s http://192.0.2.1/; echo $?
curl -sv $u/v 2>&1 | grep '^[<>]' ; curl -s --unix-socket nothere $u; echo $?; curl -s file:///etc/hostname; stop $WEB
""", rules=[(r"^(< )?Date:.*\n", "")]),
    Row("wget", "wget", r"""mkdir -p www/sub; echo '<a href=sub/x.html>x</a><a href=y>y</a>' >www/index.html
echo '<p>x' >www/sub/x.html; seq 9999 >www/y; touch -d 2020-01-01 www/*
"$SYSTEM_PYTHON" -m http.server -p HTTP/1.1 --bind 127.0.0.1 -d www $PORT 2>/dev/null & w=$!; await $PORT
wget -nv -r -np -P got http://127.0.0.1:$PORT/; find got -type f | sort; diff -r www got/127.0.0.1:$PORT && echo same
head -c 100 www/y >part; wget -q -c -O part http://127.0.0.1:$PORT/y; wget -q http://127.0.0.1:$PORT/none; echo $?
wget -S -O - http://127.0.0.1:$PORT/y 2>&1 | grep -c HTTP; wget -q --method=PUT http://127.0.0.1:$PORT/; echo $?; stop $w
""", rules=[DATES, (r"clock time: .*", "TIME"), (r" in .* \(.*/s\)", "")], quick=True),
    Row("openssl", "openssl", r"""
openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=localhost -days 2 2>/dev/null; openssl x509 -in c -noout -subject
openssl s_server -accept 127.0.0.1:$PORT -key k -cert c -www -quiet & s=$!; await $PORT
printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect 127.0.0.1:$PORT -quiet -servername localhost 2>/dev/null | head -1
curl -sk https://127.0.0.1:$PORT/ | grep -c TLSv1.3; curl -s https://127.0.0.1:$PORT/; echo $?; curl -sk --tls-max 1.2 https://127.0.0.1:$PORT/ -o x; echo $?
openssl dgst -sha256 /etc/hostname | wc -l; openssl enc -aes-256-ctr -pbkdf2 -pass pass:x -in c | openssl enc -d -aes-256-ctr -pbkdf2 -pass pass:x | cmp - c
kill $s; wait $s; echo $?
""", loose=["work/*"]),
    Row("socat", "socat", r"""
socat -u EXEC:'echo from exec' - ; socat TCP-LISTEN:$PORT,bind=127.0.0.1,reuseaddr,fork EXEC:cat & s=$!; await $PORT
seq 20000 | socat -t 5 - TCP:127.0.0.1:$PORT | md5sum; echo hi | socat - TCP:127.0.0.1:$PORT
socat UNIX-LISTEN:u,fork TCP:127.0.0.1:$PORT & t=$!; until_there u; echo unix | socat - UNIX-CONNECT:u
socat UDP-RECVFROM:$PORT1,fork EXEC:'tr a-z A-Z' & v=$!; sleep 0.3; echo udp | socat -t 1 - UDP:127.0.0.1:$PORT1
socat - EXEC:'tty',pty | wc -l; stop $s; stop $t; stop $v
socat - TCP:127.0.0.1:1; echo $?
""", rules=[(r"^\d{4}/.*socat\[\d+\] ", "")], forget=["work/u"]),
    Row("nc", "netcat-openbsd", r"""(nc -l 127.0.0.1 $PORT >got; echo "server $?") & await $PORT
seq 50000 | nc -N 127.0.0.1 $PORT; wait; md5sum got; nc -z 127.0.0.1 $PORT; echo $?; nc -lU s >ugot & until_there s
echo unix | nc -NU s; wait; cat ugot; printf 'HTTP/1.0 200 OK\r\n\r\nnc\n' | nc -lN 127.0.0.1 $PORT1 >head & await $PORT1
exec 3<>/dev/tcp/127.0.0.1/$PORT1; cat <&3; echo; exec 3>&-; wait; cat head
"""),
    Row("ssh scp sftp rsync", "openssh-server openssh-client rsync", r"""mkdir -m 700 ~/.ssh k; mkdir -p /run/sshd; chmod 755 $HOME $HOME/.ssh
ssh-keygen -q -t ed25519 -N '' -f k/host; ssh-keygen -q -t ed25519 -N '' -f k/id; cp k/id.pub k/authorized
chmod 755 k; cat >conf <<EOS
Port $PORT
ListenAddress 127.0.0.1
HostKey $PWD/k/host
AuthorizedKeysFile $PWD/k/authorized
StrictModes no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
UsePAM no
EOS
/usr/sbin/sshd -D -f $PWD/conf -E log & s=$!; await $PORT
cat >c <<EOS
Host x
HostName 127.0.0.1
Port $PORT
IdentityFile $PWD/k/id
StrictHostKeyChecking no
UserKnownHostsFile $PWD/known
LogLevel ERROR
EOS
ssh -F c x 'echo remote; id -u; exit 7'; echo $?; ssh -F c -tt x 'stty size; exit 2' </dev/null; echo $?
seq 200000 >big; ssh -F c x md5sum <big; scp -q -F c big x:$PWD/big2; cmp big big2; echo "get $PWD/big big3" | sftp -q -F c -b - x
mkdir d; cp big d/a; rsync -a -e 'ssh -F c' d x:$PWD/e; diff -r d/a e/d/a && echo synced; web
ssh -F c -N -L 127.0.0.1:$PORT1:127.0.0.1:$PORT x & t=$!; await $PORT1; exec 3<>/dev/tcp/127.0.0.1/$PORT1; echo x >&3; exec 3>&-
ssh -F c -fN -M -S m x; ssh -F c -S m x echo shared; ssh -F c -S m -O exit x; kill $t; wait $t; echo $?
for i in 1 2 3 4 5; do ssh -F c x echo $i & done | sort; ssh -F c x 'kill -9 $$'; echo $?; stop $s; grep -c Accepted log
""".replace("; web\n", "\n"), loose=["work/k/*", "work/known", "work/log", "work/conf"], rules=[(r"^Shared connection.*\n", "")]),
    Row("rsync daemon", "rsync", r"""mkdir src; seq 9999 >src/a; cp src/a src/b; touch -d 2020-01-01 src/*
printf 'port=%s\naddress=127.0.0.1\nuse chroot=no\nuid=0\ngid=0\n[m]\npath=%s/src\nread only=no\n' $PORT $PWD >conf
rsync --daemon --no-detach --config=conf --log-file=log & r=$!; await $PORT
rsync -av rsync://127.0.0.1:$PORT/m/ dst; echo more >>src/a; rsync -avz rsync://127.0.0.1:$PORT/m/ dst; rsync rsync://127.0.0.1:$PORT/
rsync -a --delete dst/a rsync://127.0.0.1:$PORT/m/c; ls src; rsync rsync://127.0.0.1:$PORT/none/; echo $?; stop $r
""", rules=[(r"[\d.,]+ bytes/sec", "RATE"), DATES, (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "DATE"), (r"^sent [\d,]+ bytes  received [\d,]+", "SENT")], loose=["work/log", "work/src", "work/dst"]),
    Row("gpg", "gnupg", r"""mkdir -m 700 $HOME/.gnupg; gpg --batch --quiet --passphrase '' --quick-gen-key "T <t@example.org>" default default never 2>/dev/null; echo $?
echo secret >s; gpg --batch -q --trust-model always -r t@example.org -e s; gpg --batch -q -d s.gpg; gpg --batch -q -b s; gpg --verify s.sig s 2>&1 | grep -c Good
gpgconf --kill all; echo $?
""", forget=["home/.gnupg/*"], loose=["work/*", "home/.gnupg"]),
    Row("dnsmasq dig getent", "dnsmasq-base bind9-dnsutils", r"""
dnsmasq -k -p $PORT --listen-address=127.0.0.1 --bind-interfaces -C /dev/null --no-resolv --no-hosts --address=/x.test/10.0.0.1 --txt-record=t.test,hello -u root --pid-file= & d=$!
sleep 0.5; dig +short -p $PORT @127.0.0.1 x.test; dig +short +tcp -p $PORT @127.0.0.1 t.test TXT; dig -p $PORT @127.0.0.1 none.test | grep status | cut -d, -f2
getent hosts localhost; getent ahosts 127.0.0.1; getent passwd root; host -p $PORT x.test 127.0.0.1 | tail -1; stop $d
"""),
    Row("inotifywait", "inotify-tools", r"""mkdir d; timeout 20 inotifywait -q -m -e create,delete --format '%e %f' d >log & w=$!
sleep 0.5; touch d/a; rm d/a; sleep 0.3; kill $w; wait $w; echo $?; cat log
"""),
    Row("logrotate", "logrotate", r"""chmod 755 .; echo line >l; printf '%s/l {\n rotate 2\n compress\n postrotate\n echo rotated\n endscript\n}\n' $PWD >c
chmod 644 c; logrotate -v -f -s s c 2>&1 | tail -3; ls; zcat l.1.gz
""", rules=[DATES], loose=["work/s", "work/l.1.gz"]),
    Row("start-stop-daemon", "dpkg", r"""
start-stop-daemon -S -b -m -p pid -x /bin/sleep -- 60; until_there pid; sleep 0.3; start-stop-daemon -T -p pid; echo $?
start-stop-daemon -S -b -m -p pid -x /bin/sleep -- 60; echo $?; start-stop-daemon -K -p pid -R 5; start-stop-daemon -T -p pid; echo $?
""", loose=["work/pid"], rules=[PIDS], quick=True),
    Row("supervisor", "supervisor", r"""cat >c <<EOS
[supervisord]
logfile=$PWD/log
pidfile=$PWD/pid
childlogdir=$PWD
[unix_http_server]
file=$PWD/sock
[supervisorctl]
serverurl=unix://$PWD/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:s]
command=sh -c 'echo started; exec sleep 60'
stdout_logfile=$PWD/s.log
[program:once]
command=sh -c 'exit 0'
startsecs=0
autorestart=false
EOS
supervisord -n -c c >/dev/null 2>&1 & p=$!; until_there sock; sleep 2; supervisorctl -c c status | awk '{print $1, $2}'
supervisorctl -c c restart s; supervisorctl -c c tail s; supervisorctl -c c shutdown; wait $p; echo $?
""", loose=["work/*"], forget=["work/*---supervisor-*"]),
]
