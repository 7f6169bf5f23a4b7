import * as z from 'zod'
import type { Route } from '../call.ts'
import { changeKeysOperation } from './change-keys.ts'
import { changesOperation } from './changes.ts'
import { deployOperation } from './deploy.ts'
import { mootEventsRoute } from './events.ts'
import { explainOperation } from './explain.ts'
import { membershipOperations } from './membership.ts'
import { netOperations } from './net.ts'
import { openApiDocument, operation, type Operation, routeOf } from './operation.ts'
import { outcomeOperation } from './outcome.ts'
import { rebalanceOperations } from './rebalance.ts'
import { rollbackOperation } from './rollback.ts'
import { specOperations } from './specs.ts'
import { statusOperations } from './status.ts'
import { voterOperations } from './voters.ts'

const operations: readonly Operation[] = [
  ...membershipOperations,
  ...statusOperations,
  explainOperation,
  deployOperation,
  outcomeOperation,
  changesOperation,
  rollbackOperation,
  ...rebalanceOperations,
  ...specOperations,
  ...voterOperations,
  changeKeysOperation,
  ...netOperations,
]

const document: Operation = operation({
  method: 'GET',
  path: '/openapi.json',
  summary: 'This document',
  answer: z.looseObject({ openapi: z.string() }),
  anywhere: true,
  run: (api) => openApiDocument([...operations, document], api.agentVersion) as { openapi: string },
})

/** What Docker's API has no word for. */
export const mootRoutes: readonly Route[] = [...operations, document].map(routeOf).concat(mootEventsRoute)
