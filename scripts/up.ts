import { ensureTestImages } from './bed/images.ts'
import { formCluster } from './bed/form-cluster.ts'
import { repository } from './bed/place.ts'
import { run } from './bed/shell.ts'
import { ensureGuestbookImages } from './bed/guestbook-images.ts'
import { deployArguments, deployExamples, examplesAreHealthy } from './compose-bed/examples.ts'
import { ensureMachineEngine } from './compose-bed/machine-engine.ts'
import { ensureHelloImage, ensureNodeImage } from './compose-bed/node-image.ts'
import {
  composeNodes,
  dockerAt,
  memberOf,
  nodeAnswers,
  startNodes,
  type ComposeNode,
} from './compose-bed/nodes.ts'

/** `make up`: three whole nodes on this machine, the examples on them, and what to try next. Safe to repeat. */

const startMs = performance.now()

function say(line: string): void {
  console.log(`${((performance.now() - startMs) / 1000).toFixed(1).padStart(6)} s  ${line}`)
}

async function main(): Promise<void> {
  await ensureMachineEngine(say)
  await run(process.execPath, ['scripts/build.ts'], { cwd: repository })
  await ensureTestImages()
  await ensureGuestbookImages()
  await ensureHelloImage(say)
  await ensureNodeImage(say)
  say('Starting three nodes')
  await startNodes()
  await Promise.all(
    composeNodes.map(async (node) => {
      await nodeAnswers(node)
      say(`${node.name} answers`)
    }),
  )
  await formCluster(await Promise.all(composeNodes.map(memberOf)), say)
  const [first] = composeNodes
  if (first === undefined) throw new Error('docker-compose.yml has no nodes')
  say(
    `Deploying examples/guestbook with: docker -H unix://${first.socket} ${deployArguments('guestbook').join(' ')}`,
  )
  say('Deploying examples/hello')
  await deployExamples(first)
  await examplesAreHealthy(first, say)
  say('Healthy')
  await report(first)
}

async function report(node: ComposeNode): Promise<void> {
  const nodes = await dockerAt(node, 'node', 'ls')
  const services = await dockerAt(node, 'service', 'ls')
  const books = composeNodes.map(
    ({ name, guestbookUrl }) => `  ${guestbookUrl}  the guestbook, through ${name}: whichever nodes run it`,
  )
  const urls = composeNodes.map(({ name, url }) => `  ${url}  is ${name}: who runs what`)
  console.log(`\n${nodes}\n${services}\n${[...books, ...urls].join('\n')}\n${next}`)
}

const next = `
Every node takes every command; pick one:
  export DOCKER_HOST=unix://$PWD/.bed/node2/moot.sock
  docker service ls
Scale, and deploy again after a change in examples/guestbook/stack.yml:
  docker service scale guestbook_web=6
  docker ${deployArguments('guestbook').join(' ')}
Power a node off and watch the others take over its greeters; then switch it on again:
  docker -H unix:///var/run/docker.sock kill moot-node3
  watch docker service ps --filter desired-state=running hello_greeter
  docker -H unix:///var/run/docker.sock start moot-node3
Remove it all: make down`

try {
  await main()
} catch (error) {
  console.error(`\nmake up failed: ${error instanceof Error ? error.message : String(error)}`)
  console.error(
    'What is there is left for you to look at (docker ps, docker logs moot-node1); `make down` removes it.',
  )
  process.exitCode = 1
}
