import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ServiceSpec } from '@moot/crdt-state'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadStack } from '../../packages/cli/src/compose/load.ts'
import { convertStack } from '../../packages/cli/src/compose/stack.ts'

const run = promisify(execFile)

/** Each is deployed by Docker's own CLI against a recorder: what it sends is what `moot deploy` must send. */
const stacks: Readonly<Record<string, string>> = {
  'the voting app': readFileSync(new URL('../data/stacks/voting-app.yml', import.meta.url), 'utf8'),
  'the least': readFileSync(new URL('../data/stacks/full-stack.yml', import.meta.url), 'utf8'),
  'commands and environment': `
version: "3.13"
services:
  web:
    image: moot/test:1
    command: sh -c "echo 'a b' && sleep \\"1\\""
    entrypoint: [ "/bin/tini", "--" ]
    environment: { B: two, A: "1", EMPTY: "", FROM_CALLER: }
    hostname: h
    user: "1000:1000"
    working_dir: /srv
    extra_hosts: [ "db:10.0.0.5", "cache:10.0.0.6" ]
    dns: 9.9.9.9
    dns_search: [ a.example, b.example ]
    labels: { com.example: "yes" }
    stop_grace_period: 1m30s
    stop_signal: SIGUSR1
    init: true
    read_only: true
    tty: true
    stdin_open: true
    cap_add: [ NET_ADMIN ]
    cap_drop: [ MKNOD ]
    sysctls: { net.core.somaxconn: 1024 }
    ulimits: { nproc: 65535, nofile: { soft: 1000, hard: 2000 } }
    logging: { driver: json-file, options: { max-size: 10m } }
    healthcheck: { test: "true", interval: 1s, timeout: 500ms, retries: 2, start_period: 3s }
`,
  'deploy in full': `
version: "3.13"
services:
  web:
    image: moot/test:1
    ports: [ "8080:80", "9000-9001:9000-9001/udp", { target: 443, published: 8443, mode: host } ]
    deploy:
      mode: replicated
      replicas: 3
      endpoint_mode: dnsrr
      labels: [ "a=b" ]
      update_config: { parallelism: 2, delay: 10s, failure_action: rollback, monitor: 1m, max_failure_ratio: 0.2, order: start-first }
      rollback_config: { parallelism: 0, order: stop-first }
      restart_policy: { condition: on-failure, delay: 5s, max_attempts: 3, window: 120s }
      resources:
        limits: { cpus: "0.25", memory: 50M, pids: 100 }
        reservations: { cpus: "0.1", memory: 20M, generic_resources: [ { discrete_resource_spec: { kind: gpu, value: 2 } } ] }
      placement:
        constraints: [ node.role == manager, node.labels.zone != a ]
        preferences: [ { spread: node.labels.zone } ]
        max_replicas_per_node: 2
  every:
    image: moot/test:1
    deploy: { mode: global }
  old:
    image: moot/test:1
    restart: on-failure:4
`,
  'volumes and networks': `
version: "3.13"
services:
  web:
    image: moot/test:1
    volumes:
      - data:/data
      - named:/named:nocopy
      - /etc/hosts:/hosts:ro
      - ./here:/here:rslave
      - /anonymous
      - { type: tmpfs, target: /tmp, tmpfs: { size: 1048576 } }
      - { type: bind, source: /srv, target: /srv, bind: { propagation: rprivate } }
      - { type: volume, source: data, target: /again, read_only: true, volume: { nocopy: true } }
    networks:
      front: { aliases: [ www ] }
      back:
volumes:
  data: { labels: { kept: "yes" } }
  named: { name: exactly-this, driver: local, driver_opts: { type: tmpfs } }
networks:
  front: { driver: overlay, attachable: true, labels: { x: y } }
  back: { name: the-back, internal: true, driver_opts: { encrypted: "" } }
`,
}

interface Recorded {
  readonly networks: Record<string, unknown>[]
  readonly services: ServiceSpec[]
}

/** Just enough of a manager for `docker stack deploy` to say everything it has to say. */
function recorder(socketPath: string, recorded: Recorded): Promise<Server> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/^\/v[\d.]+/, '').replace(/\?.*/, '')
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      response.setHeader('Content-Type', 'application/json')
      response.setHeader('Api-Version', '1.41')
      const answer = (value: unknown): void => void response.end(JSON.stringify(value))
      if (path === '/networks/create') {
        recorded.networks.push(JSON.parse(body) as Record<string, unknown>)
        answer({ Id: `n${recorded.networks.length}` })
      } else if (path === '/services/create') {
        recorded.services.push(JSON.parse(body) as ServiceSpec)
        answer({ ID: `s${recorded.services.length}` })
      } else if (path === '/info') answer({ Swarm: { LocalNodeState: 'active', ControlAvailable: true } })
      else if (path === '/_ping') response.end('OK')
      else answer([])
    })
  })
  return new Promise((resolve) => server.listen(socketPath, () => resolve(server)))
}

/** Nothing, `{}` and `[]` are the same to Go's decoder; what is left is what was said. */
function said(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(said)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
    .map(([key, each]) => [key, said(each)] as const)
    .filter(([, each]) => !isNothing(each))
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function isNothing(value: unknown): boolean {
  return (
    value === null ||
    value === undefined ||
    value === false ||
    value === 0 ||
    value === '' ||
    (typeof value === 'object' && Object.keys(value).length === 0)
  )
}

const byName = (a: { Name?: unknown }, b: { Name?: unknown }): number =>
  String(a.Name) < String(b.Name) ? -1 : 1

describe('moot deploy sends what docker stack deploy sends', () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'moot-compose-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  const environment = { ...process.env, FROM_CALLER: 'the caller' }

  for (const [title, text] of Object.entries(stacks)) {
    it(`for ${title}`, async () => {
      const file = join(directory, 'stack.yml')
      writeFileSync(file, text)
      const recorded: Recorded = { networks: [], services: [] }
      const socket = join(directory, 'docker.sock')
      const server = await recorder(socket, recorded)
      try {
        await run(
          'docker',
          ['-H', `unix://${socket}`, 'stack', 'deploy', '--resolve-image', 'never', '-c', file, 'shop'],
          {
            env: environment,
          },
        )
      } finally {
        await new Promise((resolve) => server.close(resolve))
      }
      const ours = convertStack('shop', loadStack(file, environment), environment)
      expect(ours.services.toSorted(byName).map(said)).toEqual(recorded.services.toSorted(byName).map(said))
      const networkOf = ({
        Name,
        Driver,
        Labels,
        Options,
        Internal,
        Attachable,
        IPAM,
      }: Record<string, unknown>): unknown =>
        said({ Name, Driver, Labels, Options, Internal, Attachable, IPAM })
      expect(ours.networks.map((each) => networkOf({ ...each })).toSorted(byName as never)).toEqual(
        recorded.networks.map(networkOf).toSorted(byName as never),
      )
    })
  }
})
