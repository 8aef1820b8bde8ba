package bench

import (
	"os/exec"
)

// chatServers are epi's chat, on the two drivers that it chooses by itself, and
// the IRC servers of Debian's packages. None has throttles or short queues:
// these would be what is measured.
func chatServers(self string) []Server {
	var list []Server
	for _, driver := range []string{"uring", "epoll-edge"} {
		argv := []string{self, "chat", "--listen", "irc://" + addressMark, "--loops", "1", "--driver", driver}
		for _, set := range []string{"throttle.enabled=false", "limits.per-address=0", "queues.hard=1073741824"} {
			argv = append(argv, "--set", set)
		}
		list = append(list, Server{Name: "epi chat " + driver, scheme: schemeIRC, argv: argv})
	}
	return append(list,
		packaged("InspIRCd", schemeIRC, "inspircd", inspircdConfig, "--nofork", "--nolog", "--runasroot", "--config="+dirMark+"/config"),
		packaged("ngIRCd", schemeIRC, "ngircd", ngircdConfig, "--nodaemon", "--config", dirMark+"/config"),
	)
}

// packaged is a server of Debian's package of the same name.
func packaged(name, scheme, program, config string, args ...string) Server {
	for _, candidate := range []string{program, "/usr/sbin/" + program} { // which is not in everybody's PATH
		if path, err := exec.LookPath(candidate); err == nil {
			return Server{Name: name, scheme: scheme, argv: append([]string{path}, args...), config: config, quiet: true}
		}
	}
	return Server{Name: name, scheme: scheme, Absent: "apt-get install " + program}
}

const inspircdConfig = `
<module name="cap">
<server name="irc.peer.test" description="peer" network="Peer" id="1AA">
<admin name="peer" nick="peer" email="peer@localhost">
<bind address="HOST" port="PORT" type="clients">
<pid file="DIR/pid">
<connect name="main" allow="*" timeout="60" pingfreq="600" hardsendq="1073741824" softsendq="1073741824"
 recvq="1048576" threshold="1000000" commandrate="1000000000" fakelag="no" localmax="100000" globalmax="100000"
 maxchans="200" maxconnwarn="no" resolvehostnames="no" useident="no">
<cidr ipv4clone="32" ipv6clone="128">
<performance nouserdns="yes" netbuffersize="65535" somaxconn="4096" softlimit="100000" clonesonconnect="no" timeskipwarn="0">
<limits maxnick="30">
<insane hostmasks="no" ipmasks="no" nickmasks="no" trigger="95.5">
<options defaultmodes="nt">
`

const ngircdConfig = `
[Global]
Name = irc.peer.test
Info = peer
Listen = HOST
Ports = PORT
MotdPhrase = peer
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 600
[Options]
DNS = no
Ident = no
PAM = no
`
