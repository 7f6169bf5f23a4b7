import { waitUntil } from '../bed/shell.ts'
import { askJson } from '../bed/socket-http.ts'
import { composeNodes, dockerAt, type ComposeNode } from './nodes.ts'

export const stack = 'hello'
const stackFile = 'examples/hello/stack.yml'
export const deployArguments = ['stack', 'deploy', '--resolve-image', 'never', '-c', stackFile, stack]

interface ServiceLine {
  readonly Spec: { readonly Name: string }
  readonly ServiceStatus?: { readonly RunningTasks: number; readonly DesiredTasks: number }
}

export async function deployHello(node: ComposeNode): Promise<void> {
  await dockerAt(node, ...deployArguments)
}

/** Such as `hello_greeter 2/3  hello_web 3/3`. */
async function replicas(node: ComposeNode): Promise<{ told: string; complete: boolean }> {
  const services = await askJson<ServiceLine[]>(node.socket, 'GET', '/services?status=true')
  const lines = services
    .map(({ Spec, ServiceStatus }) => ({
      name: Spec.Name,
      running: ServiceStatus?.RunningTasks ?? 0,
      desired: ServiceStatus?.DesiredTasks ?? 0,
    }))
    .sort((a, b) => a.name.localeCompare(b.name))
  return {
    told: lines.map((line) => `${line.name} ${line.running}/${line.desired}`).join('  '),
    complete: lines.length >= 2 && lines.every((line) => line.desired > 0 && line.running >= line.desired),
  }
}

export interface HelloAnswer {
  readonly node: string
  readonly version: string
  readonly tasks: readonly unknown[]
}

/** Which node answers at that URL, with how many tasks on its list. */
export async function helloAt(url: string): Promise<HelloAnswer> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(5_000),
  })
  if (!response.ok) throw new Error(`${url} was answered with ${response.status}`)
  const answer = (await response.json()) as Partial<HelloAnswer>
  if (answer.node === undefined || answer.tasks === undefined) {
    throw new Error(`${url} answers, but could not ask its node's agent: ${JSON.stringify(answer)}`)
  }
  return answer as HelloAnswer
}

export async function helloIsHealthy(node: ComposeNode, progress: (told: string) => void): Promise<void> {
  let before = ''
  await waitUntil(
    'every task of hello runs and is healthy',
    async () => {
      const { told, complete } = await replicas(node)
      if (told !== before) progress(told)
      before = told
      if (complete) return true
      throw new Error(told)
    },
    { timeoutMs: 120_000, intervalMs: 200 },
  )
  await Promise.all(
    composeNodes.map(({ name, url }) =>
      waitUntil(`${url} is answered by ${name}`, async () => (await helloAt(url)).node === name, {
        timeoutMs: 30_000,
        intervalMs: 200,
      }),
    ),
  )
}
