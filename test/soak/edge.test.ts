import { X509Certificate } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureEdgeImages } from '../../scripts/bed/edge-images.ts'
import { ensureGuestbookImages } from '../../scripts/bed/guestbook-images.ts'
import { repository } from '../../scripts/bed/place.ts'
import { Hosts, type TestHost } from '../e2e/hosts.ts'
import { allReady, containersOf, untilRuns } from '../e2e/questions.ts'

const edge = 'edge_edge'
const book = 'book.example.test'
const who = 'who.example.test'
/** The client is no member: the switch's own address. */
const clientAddress = '10.99.0.254'

describe('the edge: services of other stacks by host name, over HTTPS', () => {
  let hosts: Hosts
  let kept: string
  let root: { readonly pem: string; readonly file: string }

  beforeAll(async () => {
    kept = await mkdtemp(join(tmpdir(), 'moot-edge-'))
    hosts = await Hosts.up(5)
    await hosts.load(await ensureGuestbookImages())
    await hosts.load(await ensureEdgeImages())
    await hosts.reset()
    await allReady(hosts)
    await forgetCertificates()
    await hosts.host(1).docker('network', 'create', '--driver', 'overlay', 'web')
    await deploy(hosts.host(2), 'guestbook', 'examples/guestbook/stack.yml', 'examples/edge/guestbook.yml')
    await deploy(hosts.host(3), 'edge', 'examples/edge/stack.yml', 'test/soak/edge.yml')
    await untilRuns(hosts, 'edge_ca', 1)
    const [ca] = await containersOf(hosts, 'edge_ca')
    const pem = await hosts.host(ca!.host).engine('exec', ca!.Id, 'cat', '/etc/ca/root.crt')
    root = { pem, file: join(kept, 'root.crt') }
    await writeFile(root.file, pem)
    const directory = ['curl', '--silent', '--fail', '--insecure', 'https://ca/acme/local/directory']
    await hosts.waitFor('the CA answers', () => hosts.host(ca!.host).engine('exec', ca!.Id, ...directory))
    await hosts.host(4).docker('service', 'scale', '--detach', 'edge_issuer=1')
    await untilRuns(hosts, edge, hosts.count)
    for (const one of await containersOf(hosts, edge)) {
      // For as long as shutdown_delay a reload leaves the old configuration beside the new one.
      const counted = ['grep', '-c', '^# ', '/run/edge/installed']
      await hosts.waitFor(
        `the edge on host ${one.host} has both certificates`,
        async () => (await hosts.host(one.host).engine('exec', one.Id, ...counted)).trim() === '2',
      )
    }
    await hosts.waitFor('every host serves', () => allServe(hosts.all(), book, '/api'))
  })
  afterAll(() => rm(kept, { recursive: true, force: true }))

  /** Of an earlier run on these hosts. */
  async function forgetCertificates(): Promise<void> {
    await hosts.waitFor('no certificate is left', async () => {
      const each = hosts
        .all()
        .map((host) => host.engine('volume', 'rm', '--force', 'edge_certificates', 'edge_issued'))
      await Promise.all(each)
      return true
    })
  }

  async function deploy(host: TestHost, stack: string, ...files: string[]): Promise<void> {
    const given = files.flatMap((file) => ['--compose-file', join(repository, file)])
    await host.docker('stack', 'deploy', '--detach', '--resolve-image', 'never', ...given, stack)
  }

  /** Over HTTPS, by name, at this host's address; a certificate that is not the CA's, or of another name, is an error. */
  function get(host: TestHost, name: string, path: string, ...more: string[]): Promise<string> {
    const patience = ['--silent', '--show-error', '--fail', '--max-time', '3']
    const to = ['--resolve', `${name}:443:${host.address}`, '--cacert', root.file]
    return hosts.fromClient('curl', ...patience, ...to, ...more, `https://${name}${path}`)
  }

  async function allServe(at: readonly TestHost[], name: string, path: string): Promise<boolean> {
    await Promise.all(at.map((host) => get(host, name, path)))
    return true
  }

  async function certificateAt(host: TestHost, name: string): Promise<X509Certificate> {
    const at = ['-connect', `${host.address}:443`, '-servername', name]
    return new X509Certificate(await hosts.fromClient('openssl', 's_client', ...at))
  }

  it('every host answers for each name with the same certificate, which comes from the CA', async () => {
    for (const name of [book, who]) {
      // Several times: which edge answers is left to chance.
      const at = [...hosts.all(), ...hosts.all(), ...hosts.all()]
      const seen = await Promise.all(at.map((host) => certificateAt(host, name)))
      expect(seen.map(({ serialNumber }) => serialNumber)).toEqual(seen.map(() => seen[0]?.serialNumber))
      // That the test CA's root is behind it was curl's to see.
      expect(seen[0]?.subjectAltName).toBe(`DNS:${name}`)
      expect(seen[0]?.issuer).toContain('Caddy Local Authority')
    }
  })

  it('HTTP is sent to HTTPS, and the application is told the client’s own address, whatever the client says', async () => {
    for (const host of hosts.all()) {
      const to = ['--resolve', `${who}:80:${host.address}`, '--write-out', '%{http_code} %{redirect_url}']
      expect(
        await hosts.fromClient('curl', '--silent', '--max-time', '3', ...to, `http://${who}/a?b=c`),
      ).toBe(`308 https://${who}/a?b=c`)
      expect(await get(host, who, '/', '--header', 'X-Forwarded-For: 192.0.2.1')).toBe(clientAddress)
    }
  })

  it('the certificates’ way is closed to who has not the edge’s key', async () => {
    const [one] = await containersOf(hosts, edge)
    const bundle = (...more: string[]): Promise<string> =>
      hosts
        .host(one!.host)
        .engine('exec', one!.Id, 'curl', '--silent', '--show-error', ...more, 'https://issuer/bundle.txt')
    const trust = ['--cacert', '/etc/edge/hop.crt']
    const key = ['--cert', '/etc/edge/hop.crt', '--key', '/etc/edge/hop.key']
    expect(await bundle(...trust, ...key)).toMatch(/^# book\.example\.test\n-----BEGIN CERTIFICATE-----/)
    await expect(bundle(...trust)).rejects.toThrow(/ended with \d+: curl: /)
  })

  it('a rolling update of the edge loses no request', async () => {
    const common = {
      targets: hosts.all().map(({ address }) => `https://${address}/api`),
      secure: { name: book, ca: root.pem },
      forMs: 120_000,
    }
    const loads = await Promise.all([
      hosts.loadFromClient({ ...common, connections: 20, keepAlive: true, ratePerSecond: 60 }),
      hosts.loadFromClient({ ...common, connections: 10, keepAlive: false, ratePerSecond: 25 }),
    ])
    const before = new Set((await containersOf(hosts, edge)).map(({ Id }) => Id))
    await hosts.host(4).docker('service', 'update', '--detach', '--no-resolve-image', '--force', edge)
    await hosts.waitFor(
      'every edge is new, and nothing is left of the old',
      async () => {
        const running = await containersOf(hosts, edge)
        return running.length === hosts.count && running.every(({ Id }) => !before.has(Id))
      },
      { timeoutMs: 90_000 },
    )
    for (const { requests, failures } of await Promise.all(loads.map((load) => load.stop()))) {
      expect(failures).toEqual([])
      expect(requests).toBeGreaterThan(200)
    }
  })

  it('without the issuer’s host the others go on serving, and so does an edge that starts anew', async () => {
    const [issuer] = await containersOf(hosts, 'edge_issuer')
    const others = hosts.all().filter(({ index }) => index !== issuer!.host)
    const { serialNumber } = await certificateAt(others[0]!, who)
    await hosts.kill(issuer!.host)
    await hosts.waitFor('the others serve', () => allServe(others, who, '/'))
    const crashed = (await containersOf(hosts, edge))[0]!
    await hosts.host(crashed.host).engine('kill', crashed.Id)
    const anew = await hosts.waitFor('there is another edge in its place', async () =>
      (await containersOf(hosts, edge)).find(({ host, Id }) => host === crashed.host && Id !== crashed.Id),
    )
    // Asked inside of it, as through a host's address any edge may answer.
    const own = ['--resolve', `${who}:443:127.0.0.1`, `https://${who}/`]
    await hosts.waitFor('it serves', () =>
      hosts.host(anew.host).engine('exec', anew.Id, 'curl', '--silent', '--fail', '--insecure', ...own),
    )
    await allServe(others, who, '/')
    for (const host of others) expect((await certificateAt(host, who)).serialNumber).toBe(serialNumber)
  })
})
