#!/usr/bin/env bash
# A Postfix of one test's own: HOME_DIRECTORY PORT RELAY_PORT [DOMAIN PORT [SETTING...]]. Takes mail on loopback and relays it there,
# but for mail to the domain, which goes to its own port. It runs in
# the foreground until SIGTERM, as root, which it insists on; the machine's own Postfix is not touched.
set -euo pipefail
[ "$(id -u)" = 0 ] || exec sudo -n "$0" "$@"
home=$1 port=$2 relay=$3 domain=${4:-returns.invalid} returns=${5:-9}
shift $(($# < 5 ? $# : 5))
daemons=$(postconf -d -h daemon_directory)
chmod 755 "$home"
mkdir "$home"/{etc,data,queue}
mkdir "$home"/queue/{pid,maildrop,public,active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,saved,trace}
chown postfix "$home"/data "$home"/queue/{maildrop,public,active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,saved,trace}
chmod 700 "$home"/data "$home"/queue/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,saved,trace}
chmod 730 "$home"/queue/maildrop
chmod 710 "$home"/queue/public
cat >"$home/etc/main.cf" <<END
compatibility_level = 3.6
queue_directory = $home/queue
data_directory = $home/data
daemon_directory = $daemons
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = peer.example
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:$relay
transport_maps = inline:{ {$domain = smtp:[127.0.0.1]:$returns} }
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{ {gone@example.net = 550 5.1.1 No such user}, {later@example.net = 450 4.2.0 Try again} }
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtputf8_enable = yes
message_size_limit = 1000000
strict_rfc821_envelopes = yes
END
printf '%s\n' "$@" >>"$home/etc/main.cf"
cat >"$home/etc/master.cf" <<END
127.0.0.1:$port inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
END
exec "$daemons/master" -c "$home/etc" -d
