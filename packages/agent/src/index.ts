/**
 * One node's agent: the specs and records it shares with the others, what follows from them, and the engine that it
 * keeps in that state. Everything that touches the world comes in through a port.
 *
 *     const agent = createAgent({ home: directoryHome('/var/lib/moot'), engine, mesh, clock, logger, … })
 *     await agent.start()
 *     await agent.init({ author })
 *     await agent.create('service', 'web', spec, author)
 */
export { type Agent, type AgentOptions, createAgent } from './agent.ts'
export type { Cluster, ClusterEvent, ClusterState, Committed, JoinToken } from './cluster.ts'
export { directoryHome, type Home, memoryHome } from './home.ts'
export { defaults, type Defaults } from './defaults.ts'
