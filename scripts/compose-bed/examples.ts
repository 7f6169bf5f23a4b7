import { waitUntil } from '../bed/shell.ts'
import { askJson } from '../bed/socket-http.ts'
import { composeNodes, dockerAt, type ComposeNode } from './nodes.ts'

/** What `make up` deploys: examples/hello and examples/guestbook. */
const stacks = ['hello', 'guestbook'] as const
type Stack = (typeof stacks)[number]
const services = ['guestbook_redis', 'guestbook_web', 'hello_greeter', 'hello_web']

export function deployArguments(stack: Stack): readonly string[] {
  return ['stack', 'deploy', '--resolve-image', 'never', '-c', `examples/${stack}/stack.yml`, stack]
}

interface ServiceLine {
  readonly Spec: { readonly Name: string }
  readonly ServiceStatus?: { readonly RunningTasks: number; readonly DesiredTasks: number }
}

export async function deployExamples(node: ComposeNode): Promise<void> {
  for (const stack of stacks) await dockerAt(node, ...deployArguments(stack))
}

/** Such as `hello_greeter 2/3  hello_web 3/3`. */
async function replicas(node: ComposeNode): Promise<{ told: string; complete: boolean }> {
  const rows = await askJson<ServiceLine[]>(node.socket, 'GET', '/services?status=true')
  const lines = rows
    .filter(({ Spec }) => services.includes(Spec.Name))
    .map(({ Spec, ServiceStatus }) => ({
      name: Spec.Name,
      running: ServiceStatus?.RunningTasks ?? 0,
      desired: ServiceStatus?.DesiredTasks ?? 0,
    }))
    .sort((a, b) => a.name.localeCompare(b.name))
  return {
    told: lines.map((line) => `${line.name} ${line.running}/${line.desired}`).join('  '),
    complete:
      lines.length === services.length &&
      lines.every((line) => line.desired > 0 && line.running >= line.desired),
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

/** Any of the guestbook's replicas, on whichever node, through this one. */
async function guestbookAnswers({ guestbookUrl }: ComposeNode): Promise<boolean> {
  const response = await fetch(`${guestbookUrl}api`, { signal: AbortSignal.timeout(2_000) })
  if (!response.ok) throw new Error(`${guestbookUrl} was answered with ${response.status}`)
  return true
}

export async function examplesAreHealthy(node: ComposeNode, progress: (told: string) => void): Promise<void> {
  let before = ''
  await waitUntil(
    'every task of the examples runs and is healthy',
    async () => {
      const { told, complete } = await replicas(node)
      if (told !== before) progress(told)
      before = told
      if (complete) return true
      throw new Error(told)
    },
    { timeoutMs: 120_000, intervalMs: 200 },
  )
  const patience = { timeoutMs: 30_000, intervalMs: 200 }
  await Promise.all(
    composeNodes.flatMap((each) => [
      waitUntil(
        `${each.url} is answered by ${each.name}`,
        async () => (await helloAt(each.url)).node === each.name,
        patience,
      ),
      waitUntil(`the guestbook answers through ${each.name}`, () => guestbookAnswers(each), patience),
    ]),
  )
}
