import * as z from 'zod'
import { ApiError } from '../errors.ts'
import { operation, type Operation } from './operation.ts'

export const changeKeysOperation: Operation = operation({
  method: 'POST',
  path: '/networks/change-keys',
  summary:
    'Make all nodes’ keys of WireGuard anew, as soon as the last change of them is over; it happens by itself once a day',
  body: z.strictObject({}),
  answer: z.object({}),
  run: ({ cluster }) => {
    const wireGuard = cluster.encryption()?.wireGuard
    if (wireGuard === undefined) {
      throw new ApiError(409, 'this node has no networks over hosts, and so no keys: ask another')
    }
    if (wireGuard.kind === 'none') {
      throw new ApiError(
        409,
        `this node does not encrypt, and so has no keys: ${wireGuard.why}; or ask another`,
      )
    }
    cluster.changeKeys()
    return {}
  },
})
