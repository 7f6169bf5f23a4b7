import { createHash } from 'node:crypto'
import { generateIdentity, nodeIdOf } from '@moot/crdt-state'
import type { Identity } from '@moot/crdt-state'
import { pino } from 'pino'
import { createLibp2pMesh } from '../../packages/agent/src/adapters/libp2p/mesh.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { memoryNetwork } from '../../packages/agent/src/ports/mesh.memory.ts'
import type { Gate, Mesh } from '../../packages/agent/src/ports/mesh.ts'
import { suiteCluster, suiteMaxMessageBytes } from './mesh.bed.ts'
import type { MeshBed, SuiteNode } from './mesh.bed.ts'
import { meshSuite } from './mesh.suite.ts'

function memoryBed(): Promise<MeshBed> {
  const network = memoryNetwork()
  const meshes: Mesh[] = []
  let count = 0
  const make = (key: Uint8Array, gate: Gate, gossip: boolean): SuiteNode => {
    const self = nodeIdOf(key)
    count += 1
    const mesh = network.mesh(self, {
      gate,
      gossip,
      publicKey: key,
      address: `/memory/${count}`,
      maxMessageBytes: suiteMaxMessageBytes,
    })
    meshes.push(mesh)
    return {
      mesh,
      publicKey: key,
      restarted: (newGate) => Promise.resolve(make(key, newGate, gossip)),
      kill: () => Promise.resolve(network.refuse(self)),
    }
  }
  return Promise.resolve({
    node: (gate, options) => {
      const key = createHash('sha256').update(`node ${count}`).digest()
      return Promise.resolve(make(key, gate, options?.gossip ?? true))
    },
    stop: async () => {
      for (const mesh of meshes) await mesh.stop()
    },
  })
}

function libp2pBed(): Promise<MeshBed> {
  const meshes: Mesh[] = []
  const logger = pino({ level: 'silent' })
  const make = (identity: Identity, gate: Gate, gossip: boolean): SuiteNode => {
    const mesh = createLibp2pMesh({
      identity,
      listen: { host: '127.0.0.1', port: 0 },
      gate,
      clusterTag: suiteCluster,
      logger,
      gossip,
      settings: { ...defaults, maxMessageBytes: suiteMaxMessageBytes },
    })
    meshes.push(mesh)
    return {
      mesh,
      publicKey: identity.publicKey,
      restarted: (newGate) => Promise.resolve(make(identity, newGate, gossip)),
      // Stopped, its kernel refuses its port, as a killed process's would.
      kill: () => mesh.stop(),
    }
  }
  return Promise.resolve({
    node: (gate, options) =>
      Promise.resolve(make(generateIdentity().identity, gate, options?.gossip ?? true)),
    stop: async () => {
      await Promise.all(meshes.map((mesh) => mesh.stop()))
    },
  })
}

meshSuite('in memory', memoryBed)
// A host's silence needs a host that can be switched off: ports/mesh.memory.test.ts, adapters/libp2p/knock.test.ts.
meshSuite('libp2p', libp2pBed)
