import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { beforeAll, describe, expect, it } from 'vitest'
import { dockerCli, Hosts, type TestHost } from './hosts.ts'
import { allReady, containersOf, createService, untilRuns } from './questions.ts'

/** A docker command whose output is read while it runs. */
function begin(
  host: TestHost,
  ...args: string[]
): {
  output: () => string
  write: (text: string) => void
  end: () => Promise<void>
  stop: () => Promise<void>
} {
  const child = spawn(dockerCli, ['-H', `unix://${host.agentSocket}`, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const exited = once(child, 'exit')
  return {
    output: () => text,
    write: (line) => void child.stdin.write(line),
    async end() {
      child.stdin.end()
      await exited
    },
    async stop() {
      child.kill('SIGTERM')
      await exited
    },
  }
}

// Done when, line 11.
describe('the stock docker CLI through the socket', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
  })

  it('docker service logs -f follows tasks on three hosts at once', async () => {
    await createService(
      hosts.host(1),
      'web',
      '--replicas',
      '3',
      '--publish',
      'mode=host,published=18081,target=80',
    )
    await untilRuns(hosts, 'web', 3)
    const running = await containersOf(hosts, 'web')
    expect(new Set(running.map((container) => container.host)).size).toBe(3)
    const follow = begin(hosts.host(4), 'service', 'logs', '-f', '--raw', 'web')
    try {
      for (const { host } of running) {
        await hosts
          .host(host)
          .inside('curl', '-s', `http://${hosts.host(host).address}:18081/asked-on-${host}`)
      }
      await hosts.waitFor('the three requests are in the followed log', async () =>
        running.every(({ host }) => follow.output().includes(`asked-on-${host}`)),
      )
    } finally {
      await follow.stop()
    }
  })

  it('docker run -i passes standard input and its end, and gives back the output', async () => {
    expect(await hosts.host(2).dockerWithInput('one\ntwo\n', 'run', '--rm', '-i', 'moot/test:1', 'cat')).toBe(
      'one\ntwo\n',
    )
  })

  it('docker exec -i runs a shell in a container of the local engine', async () => {
    const [mine] = await containersOf(hosts, 'web')
    if (mine === undefined) throw new Error('nothing runs')
    const shell = begin(hosts.host(mine.host), 'exec', '-i', mine.Id, 'sh')
    shell.write('echo from-$((40+2))\n')
    await hosts.waitFor('the shell answered', async () => shell.output().includes('from-42'))
    // The end of its standard input ends the shell: the half-close arrives.
    await shell.end()
    expect(shell.output()).toBe('from-42\n')
  })

  it('docker build sends a context and makes an image', async () => {
    const dockerfile = 'FROM moot/test:1\nRUN echo built > /built\n'
    await hosts.host(3).dockerWithInput(dockerfile, 'build', '-t', 'moot/built:1', '-')
    expect(await hosts.host(3).docker('run', '--rm', 'moot/built:1', 'cat', '/built')).toBe('built\n')
    await hosts.host(3).docker('image', 'rm', 'moot/built:1')
  })

  it('docker info and docker node ls say that this node is an active manager of five', async () => {
    const info = await hosts.host(3).docker('info', '--format', '{{json .Swarm}}')
    expect(JSON.parse(info)).toMatchObject({
      LocalNodeState: 'active',
      ControlAvailable: true,
      Nodes: 5,
      Managers: 5,
    })
    expect((await hosts.host(3).docker('node', 'ls', '-q')).trim().split('\n')).toHaveLength(5)
  })
})
