import { describe, expect, test } from 'vitest'
import { failureCause } from '../../ports/engine.errors.ts'
import { classify, type CallPurpose } from './failure.ts'

/** As docker-modem makes them. */
const answer = (statusCode: number, message: string): Error =>
  Object.assign(new Error(`(HTTP code ${statusCode}) unexpected - ${message} `), {
    statusCode,
  })
const socket = (code: string): Error => Object.assign(new Error(`connect ${code} /run/docker.sock`), { code })

describe('an error’s cause is', () => {
  test.each<[string, Error, CallPurpose, ReturnType<typeof failureCause>]>([
    ['the engine: nobody listens', socket('ECONNREFUSED'), 'other', 'engine'],
    ['the engine: no socket', socket('ENOENT'), 'create', 'engine'],
    ['the engine: it broke off', socket('ECONNRESET'), 'start', 'engine'],
    ['the engine: socket hang up', new Error('socket hang up'), 'pull', 'engine'],
    ['the engine: not HTTP', new Error('Parse Error: Expected HTTP/'), 'other', 'engine'],
    [
      'the engine: containerd is gone',
      answer(500, 'connection error: desc = "transport: dial unix /run/containerd.sock: connection refused"'),
      'create',
      'engine',
    ],
    ['the engine: shutting down', answer(500, 'daemon is shutting down'), 'start', 'engine'],
    ['the engine: 503', answer(503, 'This node is not a swarm manager'), 'other', 'engine'],
    ['the spec: no such image', answer(404, 'No such image: a:1'), 'create', 'rejected'],
    ['the spec: invalid mount', answer(400, 'invalid mount config for type "bind"'), 'create', 'rejected'],
    ['the spec: no plugin', answer(500, 'error looking up volume plugin x: not found'), 'create', 'rejected'],
    [
      'the spec: a log driver',
      answer(500, "logger: no log driver named 'x' is registered"),
      'create',
      'rejected',
    ],
    [
      'this host: no address pool',
      answer(500, 'could not find an available, non-overlapping IPv4 address pool'),
      'create',
      'rejected',
    ],
    [
      'this host: overlapping subnet',
      answer(403, 'Pool overlaps with other one on this address space'),
      'create',
      'rejected',
    ],
    [
      'this host: port taken',
      answer(500, 'Bind for 0.0.0.0:80 failed: port is already allocated'),
      'start',
      'rejected',
    ],
    ['this host: no space', answer(500, 'write /x: no space left on device'), 'create', 'rejected'],
    ['the registry', answer(404, 'pull access denied for x, repository does not exist'), 'pull', 'rejected'],
    ['the call: a missing network', answer(404, 'network n1 not found'), 'create', 'failed'],
    [
      'the call: no such command',
      answer(400, 'OCI runtime create failed: exec: "x": executable file not found'),
      'start',
      'failed',
    ],
    [
      'the call: a conflict',
      answer(409, 'Conflict. The container name is already in use'),
      'create',
      'failed',
    ],
    ['the call: 404 of a container', answer(404, 'No such container: x'), 'other', 'failed'],
    ['the call: anything else', answer(500, 'something else'), 'create', 'failed'],
  ])('%s', (_, error, purpose, cause) => {
    expect(failureCause(classify(error, purpose))).toBe(cause)
  })

  test('told in Docker’s own words, with its status', () => {
    expect(classify(answer(409, ' Conflict. \n'))).toMatchObject({
      name: 'EngineCallError',
      code: 'ERR_ENGINE_CALL',
      status: 409,
      message: 'Conflict.',
    })
  })
})
