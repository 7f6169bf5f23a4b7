import type { View } from '../view.ts'
import { hostAddress } from './endpoints.ts'
import type { Address, TaskPort } from './plane.ts'

/**
 * Where this host reaches a port of one of its own tasks, for another node's forwarder. Undefined: there is no such task here, or its service does not
 * publish that port on every node: nothing else of a task is other nodes' business.
 */
export function publishedAddress(
  { self, records, services }: Pick<View, 'self' | 'records' | 'services'>,
  { task: id, protocol, port }: TaskPort,
): Address | undefined {
  const task = records.get(self)?.tasks.get(id)
  const ports = task && services.get(task.service)?.spec.EndpointSpec?.Ports
  const isPublished = ports?.some(
    ({ PublishMode, Protocol, TargetPort }) =>
      PublishMode !== 'host' && Protocol === protocol && TargetPort === port,
  )
  return task === undefined || isPublished !== true ? undefined : hostAddress(task)
}
