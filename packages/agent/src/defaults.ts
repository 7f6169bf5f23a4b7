/** Every number that a person might tune, with its reason. `Ms` = milliseconds. */
export const defaults = {
  /** Mesh port: TCP for connections, UDP for probes. 7420 is unassigned by IANA. */
  meshPort: 7420,
  /** UDP port of the tunnel between hosts (VXLAN), next to the mesh's; IANA's own for VXLAN, 4789, is what Docker's and others' overlays take. */
  tunnelPort: 7422,
  /** VXLAN's headers: 14 bytes inner Ethernet, 8 VXLAN, 8 UDP, 20 IPv4. The tunnel's MTU is that of the link less these. */
  tunnelOverheadBytes: 50,
  /** UDP port of WireGuard, next to the tunnel's, which goes through it; and the next one, in turn, while keys change. WireGuard's usual one, 51820, is other people's. */
  wireGuardPort: 7423,
  /** WireGuard's headers over IPv4: 20 IP, 8 UDP, 16 its own, 16 authentication tag. They come on top of the tunnel's. */
  wireGuardOverheadBytes: 60,
  /** Seconds: keeps a session, and a firewall's entry for it, between two nodes that are silent. WireGuard's own advice: most firewalls forget UDP after 30 s. 1.3 B/s a peer. */
  wireGuardKeepaliveSeconds: 25,
  /** All nodes' keys are made anew this often. Sessions have keys of their own that last 2 minutes, so this is no secrecy of what was sent: it bounds for how long somebody who copied a node's key can pass for it. */
  wireGuardRoundMs: 24 * 3_600_000,
  /** A new key waits so long for hosts that do not answer with theirs (an agent that is down on a host that lives); then the others go on without them, who are reached by the older key. */
  wireGuardPatienceMs: 3_600_000,
  /** Starting wireguard-go takes 20 ms. */
  wireGuardStartTimeoutMs: 5_000,
  /** Upper byte of marks of ours ("M"): kube-proxy's, Calico's, Cilium's and Tailscale's are in the lower three. */
  tunnelMark: 0x4d000000,
  /** Routing rules of replies: this priority and the next 4,424; below the main table's 32,766, above the local one's 0. */
  replyRulePriority: 7_400,
  /** Routing tables of replies: this and the next 4,095, one for each peer. */
  replyTableFirst: 7_422_000,
  /** One call of nft, ip or conntrack: the first build for 1,000 services takes 0.3 s, the list of 262,144 connections 1 s. */
  kernelCallTimeoutMs: 10_000,
  /** What was made in the kernel is compared with what is there this often: somebody may have flushed it … */
  kernelCheckIntervalMs: 30_000,
  /** … but, for another interval at most, not so soon after a change: it takes 0.3 s, on a busy host seconds, in which the next one waits. */
  kernelCheckQuietMs: 5_000,
  /** What can end by itself (wireguard-go) is looked after this often: a system call or two. */
  kernelGlanceMs: 1_000,
  /** After the kernel refused what it was asked for; each next time twice as long, whatever changes meanwhile: all is read and built anew each time … */
  kernelRetryMs: 1_000,
  /** … up to this. */
  kernelRetryMaxMs: 10_000,
  /** Connections' deletions at a time: each walks through all connections. */
  kernelForgetConcurrency: 4,
  /** Groups of stale connections that are deleted for one plane; the rest with the next. UDP's run out by themselves after 30 to 120 s of silence. */
  kernelForgetMax: 256,
  /** After a claim, before the container starts: time for another node's earlier claim to arrive (gossip p99 is 142 ms at 50 nodes). */
  settleMs: 150,
  /** Containers being created or started at a time: one for each core, since a start is 280 ms of the engine's CPU time, but at least and at most so many (design/engine.md). */
  engineConcurrencyMin: 2,
  engineConcurrencyMax: 8,
  /** One engine call other than pull and stop: a start takes 170 ms, seconds on a loaded host; no answer by then = a hung engine. */
  engineCallTimeoutMs: 30_000,
  /** `docker info` and `version` are read in milliseconds: a longer wait only hides a hung engine from the others. */
  engineFactsTimeoutMs: 5_000,
  /** A whole image pull: gigabytes over a slow line. */
  enginePullTimeoutMs: 30 * 60 * 1000,
  /** A pull that reports no progress for this long is given up (a registry that accepts and never answers). */
  enginePullIdleTimeoutMs: 90_000,
  /** Reconnecting to the engine's event stream: soon at first (an engine restart takes a second), then doubling. */
  engineReconnectFirstMs: 100,
  engineReconnectMaxMs: 5_000,
  /** Inspects at a time while listing: one takes 1 ms, and the engine has other callers. */
  engineInspectConcurrency: 8,
  /** Inspects of one listing: far above 1,000 of 5 ms. What is not known by then (a hung start holds its container's lock) is taken from the list. */
  engineInspectAllTimeoutMs: 10_000,
  /** Engine events waiting to be read; beyond it they are dropped and everything is listed again. */
  engineEventQueueLimit: 10_000,
  /** Names of volumes in a node's record: 1,000 are about 30 KB, told to all when one is made or removed. */
  volumesToldLimit: 1_000,
  /** Stops at a time: a grace period is waiting, not work. */
  engineStopConcurrency: 32,
  /** A call that takes longer than this leaves its place to the next one: far above a start on a loaded host, and no task waits much longer for hung ones. */
  engineGiveWayMs: 10_000,
  /** Images pulled at a time, each shared by all tasks that want it; the engine itself loads three layers at a time. */
  enginePullConcurrency: 16,
  /** Old networks are swept this long after a container was removed: several go at once. */
  sweepDelayMs: 1_000,
  /** How much garbage the heap may hold before it is collected: after a hundred replicas came and went the agent has 15 MB less for 3 % more CPU time than with V8's own choice, which suits a process that has the host to itself. */
  heapGrowingPercent: 30,
  /** A stopping agent exits after this whatever still hangs (an engine that does not answer); systemd would wait 90 s. */
  agentStopTimeoutMs: 4_000,
  /** A joiner waits this long for its issuer's answer. */
  joinTimeoutMs: 15_000,
  /** Who leaves is told after this that tasks have not stopped yet; where it is forced the node leaves all the same. A try to stop them is given up after it, and the next one begun. */
  leaveTimeoutMs: 60_000,
  /** An engine that has not answered by then cannot be asked to stop what runs: far above its answer on a loaded host. */
  leaveEngineAnswerMs: 10_000,
  /** How often the engine's containers are listed in full, whatever the events said. */
  relistIntervalMs: 30_000,
  /** How long a write waits for one peer's fsync before it is done with a warning. */
  confirmTimeoutMs: 2_000,
  /** A second peer is asked to confirm when the first has not by then: a peer's fsync takes a millisecond, a slow disk's 100. */
  confirmNextPeerMs: 300,
  /** Peers asked to confirm one write: more would mean that the network is the trouble. */
  confirmPeersMax: 4,
  /** One gossip message; what is larger is fetched by those who are told of it, once each, instead of by everybody twice. */
  gossipMaxBytes: 256 * 1024,
  /** Own record's deltas waiting to be gossiped; beyond it peers are told to fetch the record. */
  recordOutboxLimit: 512,
  /** Gossip messages waiting for the disk; beyond it they are dropped, and anti-entropy brings them. */
  gossipQueueLimit: 1_024,
  /** Peers' requests worked on at once; beyond it a peer is told to come back. */
  inboundRequestsMax: 64,
  /** Comparisons with peers under way at once: after a partition heals all peers return together. */
  syncConcurrency: 4,
  /**
   * A task that stops waits for so long at most until all others know not to send it traffic any more. Those given up are not
   * waited for, so it is one that lives and cannot tell its kernel; on a starved machine telling it takes seconds.
   */
  drainAckMaxMs: 10_000,
  /** Whoever has not heard of it yet, as gossip takes a moment, is asked again after so long. */
  drainAskAgainMs: 50,
  /** One step of a comparison, at most `maxMessageBytes` both ways. */
  syncStepTimeoutMs: 10_000,
  /** A peer that connected and could not be compared with is asked again this soon, then ever more slowly: it may only just have started. */
  syncRetryFirstMs: 100,
  /** Steps of one comparison: 8 MiB each is more than a cluster's state. What is left waits for the next one. */
  syncStepsMax: 2_000,
  /** Nodes whose whole record is being asked for at once. */
  recordFetchesMax: 64,
  /** One random peer is compared with, this often: repairs whatever gossip lost. */
  antiEntropyIntervalMs: 5_000,
  /** A record's changes are collected this long: one's own before they are gossiped, peers' before they are decided on. */
  recordBatchMs: 20,
  /** Observers per node (Rapid uses 10; traffic is what makes it 4). */
  observersPerNode: 4,
  /** Each observer asks each of its targets this often; a probe that is not answered is followed by the next at once. */
  probeIntervalMs: 400,
  /** A probe waits as long as TCP would before it sends again (RFC 6298, from the round trips so far), between these. */
  probeTimeoutMinMs: 200,
  probeTimeoutMaxMs: 1_000,
  /** A node heard this recently is not probed: just below the interval, so that each pair probes once. */
  probeFreshMs: 350,
  /** Probes in a row without an answer until traffic stops: 0.6 to 1 s after a host's end, and one lost datagram is nothing. */
  suspectAfterProbes: 3,
  /** Silence for so long speaks for rescheduling: a replacement then runs within 3 s of a host's end, and a blip of a second moves nothing. */
  silentAfterMs: 1_600,
  /** An observer that misses more than half of three or more targets may be deaf itself, and waits so many times as long. */
  deafPatience: 2,
  /** A link that loses this part of all probes (bad radio loses a fifth) says little by its silence: it must last so many times as long. */
  lossyShare: 0.4,
  lossyPatience: 10,
  /** A node that is cut off replaces nothing of others for so long: longer than a switch or a router takes to come back, and a person to look. */
  islandMaxMs: 15 * 60_000,
  /** Whoever hears nobody asks so many more members before it takes itself for cut off. */
  islandAsksMax: 8,
  /** While alone: how often the witness is asked. */
  witnessAgainMs: 1_000,
  /** A gateway answers in a millisecond; by then the silence of the others is about to count. */
  witnessTimeoutMs: 500,
  /** Whether the gateway answers at all is looked at this often in quiet times. */
  witnessLearnIntervalMs: 60_000,
  /** Who has learnt that the others are gone, not itself, asks itself again after so long: it can be cut off meanwhile. */
  survivorForMs: 1_000,
  /** A verdict waits so long for others to become clear, so that a rack that dies is one decision; observers of one host differ by a probe interval. */
  cutWaitMs: 800,
  /** Who has been in doubt for longer than this (a bad link) holds up no verdict on others. */
  unstableMaxMs: 3_000,
  /**
   * Nobody yields a slot to whom some have doubted for less than this. An agent that has just started accuses nobody for `bootSyncTimeoutMs`, and
   * so seems to vouch for the dead: this is longer, by the time in which it then finds out.
   */
  youngDoubtMs: 8_000,
  /** What has come of a node so long before it is heard again is news of it, a late datagram's time apart: several probe intervals. */
  newsMs: 2_000,
  /** Probes under way at once: a node watches about `observersPerNode` others, and more only after a mass failure. */
  probeConcurrency: 32,
  /** How long an observer's "returned" mark stays, so that a view with the old record does not count it: many anti-entropy rounds. */
  returnedKeepMs: 60_000,
  /** Who was down for longer than this, or is back for the second time within `flapForgetMs`, is on probation: others serve in its place by then. */
  probationAfterMs: 10_000,
  /** Probation lasts as long as a "returned" mark, twice as long each time, at most so long: all of it without trouble. */
  probationMaxMs: 5 * 60_000,
  /** A link that comes and goes: the second suspicion, refusal or return is believed after this, the next after twice as long each; gossip stays rare. */
  flapPauseFirstMs: 1_000,
  flapPauseMaxMs: 60_000,
  flapForgetMs: 10 * 60_000,
  /** An alert follows its target's newer records this soon, then ever more slowly: one broken link must not become gossip for ever. */
  alertRefreshFirstMs: 1_000,
  alertRefreshMaxMs: 60_000,
  /** A host that lives without its agent serves on; its tasks are rescheduled only after this. */
  agentDownGraceMs: 300_000,
  /** A restart or an upgrade of Docker takes 5 to 20 s; then whatever ended with the engine runs elsewhere. What lives on without it waits as for an agent that is down. */
  engineDownGraceMs: 30_000,
  /** After start: how long to wait for a first sync with a live peer before acting alone. */
  bootSyncTimeoutMs: 6_000,
  /** After start: how long to wait for the own word of each member that is not known to be down: an agent on a host that is very busy starts in 10 s. */
  bootHearTimeoutMs: 15_000,
  /** First restart at once, then doubling from here (no delay given by the user). */
  restartBackoffFirstMs: 500,
  restartBackoffMaxMs: 60_000,
  /** What an update brought and failed is not started again meanwhile: that all go back stands in the document after 0.1 to 0.3 s. */
  rollbackAwaitedMs: 3_000,
  /** A task that ran this long is no longer crash-looping. */
  restartBackoffResetMs: 60_000,
  /** A node that refused a spec (no such image, no room) offers itself again after this. */
  rejectionRetryMs: 30_000,
  /** An engine call that failed because the engine is unwell is repeated after this. */
  engineRetryMs: 1_000,
  /** A health probe's interval, timeout and retries where its labels say nothing: those of Docker's health check. */
  healthIntervalMs: 30_000,
  healthTimeoutMs: 30_000,
  healthRetries: 3,
  /** More often than this nobody's health is asked for: a thousand tasks would keep a core busy. */
  healthIntervalMinMs: 100,
  /** What has to come up is asked this often, however long its interval: an update waits for the answer. */
  healthStartIntervalMs: 500,
  /** Tasks that ran before this agent started are asked within this time, spread over it. */
  healthAdoptWithinMs: 5_000,
  /** Health probes at a time; one that is not answered by then gives its place to the next. */
  healthProbesAtOnce: 64,
  healthGiveWayMs: 1_000,
  /** Of a health probe's answer its status counts; so much of its body is read, for so long, so that the server can end in peace. */
  healthBodyMaxBytes: 64 * 1024,
  healthBodyTimeoutMs: 500,
  /** Who finds a task ill says so and waits this long for others who do, before it stops it: far above gossip's p99 (142 ms at 50 nodes), and twice as long as until the next answer of what may be well again. */
  illnessSettleMs: 1_000,
  /** A task that waits for a lease or for room longer than this says in its record why, and looks this often whether that has changed: a free slot is had in well under a second. */
  explainWaitingAfterMs: 3_000,
  /** Docker's default stop grace period. */
  stopGraceMs: 10_000,
  /** Swarm's default monitor time of an update. */
  updateMonitorMs: 5_000,
  /** A slot whose successor does not run by then stays where it is: longer than a large image takes to come. */
  rebalanceMoveMaxMs: 10 * 60_000,
  /** `moot.rebalance=auto`: nothing may have changed for so long. Longer than a host takes to reboot, and than most probations. */
  rebalanceQuietMs: 5 * 60_000,
  /** How often it is looked whether anything has. */
  rebalanceLookMs: 5_000,
  /** At once of one service: what is asked for is written down, about 100 bytes a move. What is left is asked for the next time. */
  rebalanceMovesMax: 1_000,
  /** Ended tasks kept per slot where the cluster spec does not say (Docker's default). */
  taskHistoryLimit: 5,
  /** Beyond this a service's further replicas are not placed: a typing mistake must not fill every agent's memory. */
  maxReplicasPerService: 100_000,
  /** A holder counts on a lease for so long: two renewals may fail, and an exclusive task moves within 15 s (`core/lease/times.ts`). */
  leaseMs: 9_000,
  /** No host's clock is believed to run faster or slower than this; quartz is off by 0.01 %, a clock that is being slewed by 0.05 %, a busy virtual machine's by more. */
  leaseClockErrorPercent: 5,
  /** The watchdog is a small process with real-time priority: it is scheduled within milliseconds, on a swapping host within this. */
  leaseWatchdogMs: 1_000,
  /** From SIGKILL of a cgroup until its last process is gone: milliseconds, unless it hangs in a disk that does not answer. */
  leaseKillMs: 1_000,
  /** A suspend or a timer that came late is noticed within this, and so is what an unwell engine starts in a cgroup that is over. */
  watchdogRecheckMs: 250,
  /** Looking after one costs 0.1 to 0.2 ms: of 1,000 that are over with their agent dead, no more than a tenth of a core. */
  watchdogGuardPerSlotMs: 2,
  /** What was killed is looked at again so soon, for so long; then at each recheck. */
  watchdogKillIntervalMs: 10,
  watchdogKillEagerMs: 5_000,
  /** As many as leases at a time. */
  watchdogSlotsMax: 1_024,
  /** With nothing to watch it ends after this: an update's pause must not end it, and 10 MB must not stay for ever. */
  watchdogIdleMs: 5 * 60_000,
  /** Its connections at once, and one line of theirs: an agent has one, of 400 bytes a line. */
  watchdogConnectionsMax: 16,
  watchdogLineMaxBytes: 16 * 1024,
  /** It answers in a millisecond; whoever does not by then is hung. Asked for a sign of life as often. */
  watchdogCallTimeoutMs: 1_000,
  /** It starts in 0.2 s; a busy host takes longer. */
  watchdogStartTimeoutMs: 5_000,
  /** One that died is back with all deadlines by then, or the agent stops the tasks itself. */
  watchdogReturnTimeoutMs: 2_000,
  /** An unanswered ask is asked again, and a slot that is waited for is looked at, this often. */
  leaseAskIntervalMs: 500,
  /** Votes that are no majority by then are given back: far above a round trip with an fsync. */
  leaseTryMs: 1_000,
  /** Requests with lease messages under way to one peer; what comes meanwhile goes together in the next. */
  leaseSendsPerPeer: 4,
  /** Messages from or to one peer that wait: all slots leased at a time ask and are answered twice. */
  leaseQueueMax: 4_096,
  /** Who votes is looked at this often: far below the times after which a voter is replaced, and it costs a walk over the members. */
  voterLookMs: 2_000,
  /** A voter that leaves hands over to the others within a few round trips; a member that hangs must not keep it from leaving. */
  voterHandOverMs: 5_000,
  /** A voter away for this long is replaced: a reboot or a repair of the network is over by then, and its leases have run out long before. */
  voterLostAfterMs: 5 * 60_000,
  /** A host that has only just come is not made a voter: it may go again. */
  voterSteadyMs: 60_000,
  /** The next voter in line proposes the change so much later. */
  voterTurnMs: 10_000,
  /** UDP and TCP: port 53 of the bridges is redirected there, since others have it on many hosts (systemd-resolved, dnsmasq). Unassigned by IANA. */
  nameServerPort: 7453,
  /** Another name server answers in some ten milliseconds; three of them are tried before who asked gives up, which is after 5 s in the C library. */
  nameServerForwardTimeoutMs: 2_000,
  /** One that did not answer is tried last for so long. */
  nameServerForwardAvoidMs: 10_000,
  /** Questions to other name servers under way: each has a socket of its own, and a process has 1,024 files by default. One asker gets a quarter. */
  nameServerForwardsMax: 512,
  nameServerForwardsPerAsker: 128,
  /** TCP connections of containers at once, all and one's: an answer that is too long for UDP takes a millisecond. */
  nameServerConnectionsMax: 256,
  nameServerConnectionsPerAsker: 32,
  /** RFC 7766 wants seconds. */
  nameServerConnectionIdleMs: 10_000,
  /** Over one connection without an answer yet; the next ones wait in the kernel. */
  nameServerQuestionsPerConnection: 64,
  /** A changed table is kept for a next process so much later, all changes since together: to write 1,000 services takes 20 ms, in which nobody is answered. */
  nameServerKeepDelayMs: 1_000,
  /** Of a process that outlives the agent (name server, forwarder): its connections (agents, one each), and one frame of theirs: names of 10,000 services are 15 MB. */
  detachedControlMax: 16,
  detachedFrameMaxBytes: 64 * 1024 * 1024,
  /** It takes the largest table in a second on a busy host; whoever does not answer by then is hung. */
  detachedCallTimeoutMs: 4_000,
  /** How often it is asked for a sign of life: one that is stopped keeps its connection. */
  detachedPulseMs: 2_000,
  /** It starts in 0.2 s; a busy host takes longer. */
  detachedStartTimeoutMs: 5_000,
  /** One that ended is started again: at once, then ever more slowly. */
  detachedReturnFirstMs: 50,
  detachedReturnMaxMs: 5_000,
  /** One that is replaced waits so long at most for answers to what it has passed on. */
  nameServerRetireMs: 500,
  /** The forwarder gives up on an endpoint after so long: a container on this host answers in a millisecond, one of another host in the time of a busy mesh. */
  forwarderConnectTimeoutMs: 2_000,
  /** Endpoints that are tried for one connection: each that is refused takes a millisecond, each that is silent all of the time above. */
  forwarderTriesMax: 3,
  /** TCP connections under way, of all ports together: each has two files and some 40 KB. */
  forwarderConnectionsMax: 4_096,
  /** Clients of UDP under way, of all ports together, each with a socket of its own; the one that was silent for longest gives way. */
  forwarderSessionsMax: 1_024,
  /** Of a client of UDP that was silent for so long nothing is remembered: between the kernel's 30 s for one question and 120 s for a stream. */
  forwarderSessionIdleMs: 60_000,
  /** Datagrams of one client, or for it, that wait; what would wait longer is late. */
  forwarderDatagramsMax: 64,
  /** A port that another program has is tried again this often. */
  forwarderPortRetryMs: 1_000,
  /** Silent connections are asked for a sign of life after so long, so that those of hosts that have died end. */
  forwarderKeepAliveMs: 60_000,
  /** To one node over the mesh: of `meshStreamsPerPeer`, and some are left for logs. */
  forwarderStreamsPerPeer: 192,
  /** Connections for other nodes that the agent works on: all peers' of a small mesh. */
  forwarderRelaysMax: 2_048,
  /** More starts than this in a second wait: an engine on many cores does 28, and an island or a wrong verdict must not start everything at once. */
  startsPerSecondMax: 20,
  /** More tasks than this on one node are refused: an island must not run the world. */
  maxTasksPerNode: 1_000,
  /** A block of addresses that nobody uses is given back after so long: an update, or a service scaled down for the moment, uses it again sooner. */
  blockIdleMs: 10 * 60_000,
  /** Containers that people put on networks, on one node: each is 300 bytes of its record. */
  guestsMax: 1_000,
  /** Who asks for an address waits for so long at most: a block is had in 0.2 s, a network's subnet in a second. */
  guestWaitMs: 5_000,
  /** The engine's other containers are listed so soon after an event of one: several go at once. */
  guestLookDelayMs: 50,
  /** The engine's volumes likewise. Later, since all hear of them, and each change has everybody place anew what waits. */
  volumeLookDelayMs: 1_000,
  /** One mesh message; larger ones are refused before they are read. */
  maxMessageBytes: 8 * 1024 * 1024,
  /** One dial with its handshakes: a LAN takes 20 ms; a SYN lost twice is sent for the third time after 3 s. */
  meshDialTimeoutMs: 3_000,
  /** Redialling a member: soon at first, then doubling with jitter. The ceiling bounds what a dead member costs. */
  meshBackoffFirstMs: 250,
  meshBackoffMaxMs: 15_000,
  /** The higher id of a pair dials this much later: two nodes that meet usually make one connection, not two. */
  meshDialYieldMs: 150,
  /** Dials under way at once: more only slows all of them down (a noise handshake costs 3 ms of CPU). */
  meshDialConcurrency: 16,
  /** Up to so many members each node is connected with all; beyond, with a ring-shaped subset of `meshRingDegree`. */
  meshFullDegree: 32,
  meshRingDegree: 16,
  /** A quiet connection is asked for a sign of life this often (30 bytes), and closed after so long without one. */
  meshPulseIntervalMs: 5_000,
  meshPulseTimeoutMs: 12_000,
  /** A probed connection that has been silent this long is closed, so that the next dial starts afresh. */
  meshDeadAfterMs: 3_000,
  /** Connections of non-members (joiners, removed members, members not heard of yet) at once, and how long each may stay. */
  meshStrangersMax: 8,
  meshStrangerTimeoutMs: 10_000,
  /** Admissions in an introduction, the newest first: it is of use while one of so many signers is known, and each costs the asked one a signature to check. */
  introductionLinksMax: 8,
  /** Nodes let in on their introductions whose documents have not come yet: they come with the first comparison, so that more means something is wrong. */
  introducedMax: 64,
  /** Sockets that have not proved an identity yet, at once; and how long each may take (libp2p's 10 and 10 s let one slow stranger lock members out). */
  meshPendingMax: 256,
  meshUpgradeTimeoutMs: 4_000,
  /** Open mesh connections; far above two for each member, so that only an attack meets it. */
  meshConnectionsMax: 2_048,
  /** Requests and byte streams under way with one peer in one direction; more are refused at once. */
  meshRequestsPerPeer: 64,
  meshStreamsPerPeer: 256,
  /** Received bytes that a stream's reader has not taken yet; beyond, the sender is paused. */
  meshStreamBufferBytes: 256 * 1024,
  /** One control or join frame: a signed removal or a token takes under 2 KB, a greeting under 8 KB, a join answer up to `maxMessageBytes`. */
  meshControlMaxBytes: 64 * 1024,
  /** Connections still open this long after `stop` are cut. */
  meshStopTimeoutMs: 1_000,
  /** An agent whose main loop has not turned for so long hangs: far above what a busy host or a large sync takes. */
  agentHungAfterMs: 10_000,
  /** Answers to datagrams in a second: a member asks 2.5 times, twice as often while it is in doubt … */
  datagramAnswersPerMember: 50,
  /** … and four ask in ordinary times. So many take a fifth of a core. */
  datagramAnswersMax: 2_000,
  /** Datagrams that are looked at in a second, so that garbage costs 10 % of a core at most; beyond it the thread sleeps for so long at a time. */
  datagramsReadMax: 5_000,
  datagramRestMs: 10,
  /** Own questions under way at once: far above `probeConcurrency`. */
  datagramQuestionsMax: 256,
  /** Addresses of one member that are asked at once: a host has more only where bridges have addresses of their own. */
  datagramDoorsMax: 4,
  /** So many questions in a row without an answer while the connection answers: UDP is blocked, and tried again after this. */
  datagramMissesMax: 3,
  datagramOffMs: 60_000,
  /** The UDP port is taken, or its interface gone: how often it is tried again. */
  datagramBindAgainMs: 60_000,
  /** Bytes of datagrams that wait for the kernel: what would wait longer is late. */
  datagramSendQueueMaxBytes: 64 * 1024,
  /** The key of a member that asks is looked for this often at most, where it cannot be found. */
  datagramWantAgainMs: 10_000,
  /** A thread that ended is started again: soon at first, then doubling. */
  datagramRestartFirstMs: 1_000,
  datagramRestartMaxMs: 60_000,
  /** Its heap, of which it uses 8 MB; a thread that reaches the limit may take the agent with it. */
  datagramHeapMb: 32,
  /** One API request body other than image builds and loads. Docker's own limit for secrets is 500 KB. */
  maxBodyBytes: 4 * 1024 * 1024,
  /** A request body must have arrived whole by then (builds and loads, passed to the engine, excepted). */
  apiBodyTimeoutMs: 30_000,
  /** An answer of Moot's own that takes longer (joining, leaving) is given up with 503. */
  apiRequestTimeoutMs: 120_000,
  /** Open client connections to one agent; each followed log or event stream is one. Linux gives 1,024 files by default. */
  apiMaxConnections: 512,
  /** A client of a hijacked stream may go on sending so long after the engine has closed, before it is cut off. */
  apiLingerMs: 1_000,
  /** Past cluster events kept for `docker events --since` (Docker keeps 256). */
  apiEventBacklog: 256,
  /** Events waiting for one slow reader; it is cut off beyond that, not slowed down for. */
  apiEventQueueLimit: 1_024,
  /** Tasks whose logs one `service logs` reads at once. */
  apiLogStreams: 256,
  /** One log frame; the engine cuts lines at 16 KiB. */
  apiMaxLogFrameBytes: 1024 * 1024,
  /** The engine's answer to a small question (ping, info, a list); its absence is said, not waited for. */
  engineAnswerTimeoutMs: 10_000,
  /** One small answer of the engine, held in memory: `docker info` is 10 KB, its networks 1 KB each. */
  apiMaxEngineAnswerBytes: 16 * 1024 * 1024,
  /** How long the engine may ask a registry for an image's digest: without one the service is deployed all the same. */
  registryLookupTimeoutMs: 5_000,
  /** Tokens remembered, so that a used one is told from an unknown one. */
  joinTokensKept: 100,
  /** Wrong join tokens within the window before all are refused: 128 bits are not guessed at this rate. */
  joinTriesMax: 10,
  joinTriesWindowMs: 60_000,
  /** An hour: long enough to walk to the other machine. */
  joinTokenTtlMs: 60 * 60 * 1000,
} as const
export type Defaults = { readonly [K in keyof typeof defaults]: number }
