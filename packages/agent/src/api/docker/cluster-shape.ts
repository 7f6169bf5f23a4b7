import type { ClusterSpec, Resource } from '@moot/crdt-state'
import { timestamp } from '../reply.ts'

/** Docker's `ClusterInfo`. What only Raft or Docker's CA has is shown as off. */
export function clusterShape(cluster: Resource<ClusterSpec>): Record<string, unknown> {
  return {
    ID: cluster.spec.ClusterId,
    Version: { Index: cluster.versionIndex },
    CreatedAt: timestamp(cluster.createdAtMs),
    UpdatedAt: timestamp(cluster.updatedAtMs),
    Spec: swarmSpec(cluster.spec),
    TLSInfo: {},
    RootRotationInProgress: false,
    DefaultAddrPool: [],
    SubnetSize: 0,
    DataPathPort: 0,
  }
}

export function swarmSpec(spec: ClusterSpec): Record<string, unknown> {
  return {
    Name: 'default',
    Labels: spec.Labels,
    Orchestration: { TaskHistoryRetentionLimit: spec.TaskHistoryRetentionLimit },
    Raft: {},
    Dispatcher: {},
    CAConfig: {},
    TaskDefaults: {},
    EncryptionConfig: { AutoLockManagers: false },
  }
}
