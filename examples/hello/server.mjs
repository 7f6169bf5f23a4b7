// A small web server: says which node and version answers, and lists what the cluster runs, as its node's agent tells.
import { createServer, request } from 'node:http'
import { hostname } from 'node:os'

const port = Number(process.env.PORT ?? 8080)
const socketPath = process.env.MOOT_SOCKET ?? '/run/moot/moot.sock'
const greeting = process.env.GREETING ?? 'Hello'
const version = process.env.VERSION ?? '1'

/** One question to the agent, which speaks the Docker Engine API. */
function ask(path) {
  return new Promise((resolve, reject) => {
    const message = request(
      { socketPath, path, headers: { host: 'docker' }, signal: AbortSignal.timeout(3_000) },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part) => (text += part))
        response.on('error', reject)
        response.on('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(text))
          else reject(new Error(`${path}: ${response.statusCode} ${text}`))
        })
      },
    )
    message.on('error', reject)
    message.end()
  })
}

async function cluster() {
  const [info, nodes, services, tasks] = await Promise.all(
    ['/info', '/nodes', '/services', '/tasks'].map(ask),
  )
  const nodeNames = new Map(nodes.map((node) => [node.ID, node.Description.Hostname]))
  const serviceNames = new Map(services.map((service) => [service.ID, service.Spec.Name]))
  return {
    node: info.Name,
    engine: info.ServerVersion,
    tasks: tasks
      .filter((task) => task.DesiredState === 'running')
      .map((task) => ({
        service: serviceNames.get(task.ServiceID) ?? task.ServiceID,
        slot: task.Slot,
        node: nodeNames.get(task.NodeID) ?? task.NodeID ?? '-',
        state: task.Status.State,
        image: task.Spec.ContainerSpec.Image,
      }))
      .sort((a, b) => a.service.localeCompare(b.service) || (a.slot ?? 0) - (b.slot ?? 0)),
  }
}

const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign])

function page({ node, engine, tasks }) {
  const rows = tasks.map(
    (task) =>
      `<tr>${[task.service, task.slot ?? '', task.node, task.state].map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`,
  )
  return `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>${escaped(node)}</title>
<style>body{font:1rem/1.5 system-ui;margin:3rem auto;max-width:40rem}td,th{padding:.2rem 1rem;text-align:left}</style>
<h1>${escaped(greeting)} from ${escaped(node)}</h1>
<p>Version ${escaped(version)} on Docker Engine ${escaped(engine)}, container ${escaped(hostname())}</p>
<table><tr><th>service<th>slot<th>node<th>state</tr>${rows.join('')}</table>`
}

async function answer(incoming) {
  const path = incoming.url?.split('?')[0]
  if (path === '/health') return ['text/plain', 'ok\n']
  // Without an agent's socket (the greeter has none) there is still somebody to greet.
  const told = await cluster().catch(() => undefined)
  const wantsPage = incoming.headers.accept?.includes('text/html') === true && path !== '/json'
  if (told !== undefined && wantsPage) return ['text/html; charset=utf-8', page(told)]
  return [
    'application/json',
    `${JSON.stringify({ greeting, version, container: hostname(), ...told }, null, 2)}\n`,
  ]
}

const log = (line) => process.stdout.write(`${line}\n`)

const server = createServer(async (incoming, response) => {
  log(`${incoming.method} ${incoming.url} from ${incoming.socket.remoteAddress}`)
  const [type, body] = await answer(incoming)
  response.writeHead(200, { 'content-type': type, connection: 'close' })
  response.end(body)
})

server.listen(port, () => log(`${greeting} from ${hostname()}: listening on port ${port}`))
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close()
    server.closeAllConnections()
  })
}
