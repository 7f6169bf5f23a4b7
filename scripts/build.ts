/**
 * Bundles the agent and the CLI into dist/: one file each (beside the agent its thread, its watchdog, its name server, its forwarder and Automerge's WebAssembly), so that the
 * agent is ready in a fraction of a second and a command answers in less than 100 ms.
 */
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type BuildOptions } from 'esbuild'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const dist = join(root, 'dist')
const require = createRequire(import.meta.url)

// CommonJS dependencies call `require` for Node's own modules, and Automerge reads its WebAssembly from `__dirname`.
const banner = `import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url); const __dirname = import.meta.dirname;`

// A small young generation: an agent makes little garbage, and 20 MB less memory is worth more than fewer collections.
const shebang = '#!/usr/bin/env -S node --max-semi-space-size=4'

const shared: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  minify: true,
  keepNames: true,
  sourcemap: true,
  legalComments: 'linked',
  logLevel: 'warning',
}

rmSync(dist, { recursive: true, force: true })
mkdirSync(dist, { recursive: true })
// dockerode can speak to an engine over ssh and to BuildKit over gRPC; the agent does neither.
const nothing = join(dist, 'nothing.cjs')
writeFileSync(nothing, 'module.exports = {}\n')
await build({
  ...shared,
  entryPoints: [join(root, 'packages/agent/src/main.ts')],
  outfile: join(dist, 'agent.mjs'),
  banner: { js: `${shebang}\n${banner}` },
  alias: { ssh2: nothing, '@grpc/grpc-js': nothing, '@grpc/proto-loader': nothing },
})
// A thread has a file of its own, which must load nothing of the agent.
await build({
  ...shared,
  entryPoints: [join(root, 'packages/agent/src/adapters/libp2p/datagram/thread/main.ts')],
  outfile: join(dist, 'datagram-thread.mjs'),
})
// And so has the watchdog, a process that is to be small.
await build({
  ...shared,
  entryPoints: [join(root, 'packages/agent/src/adapters/watchdog/main.ts')],
  outfile: join(dist, 'watchdog.mjs'),
})
// So have the name server and the forwarder, which outlive the agent too.
await build({
  ...shared,
  entryPoints: [join(root, 'packages/agent/src/adapters/dns/main.ts')],
  outfile: join(dist, 'name-server.mjs'),
  banner: { js: banner },
})
await build({
  ...shared,
  entryPoints: [join(root, 'packages/agent/src/adapters/forwarder/main.ts')],
  outfile: join(dist, 'forwarder.mjs'),
  banner: { js: banner },
})
await build({
  ...shared,
  entryPoints: [join(root, 'packages/cli/src/main.ts')],
  outfile: join(dist, 'moot.mjs'),
  banner: { js: `${shebang}\n${banner}` },
  external: ['./agent.mjs'],
})
rmSync(nothing)
// Its package.json is not exported, but its main file (dist/cjs/…) is, and the module lies beside that.
const automerge = dirname(
  require.resolve('@automerge/automerge', { paths: [join(root, 'packages/crdt-state')] }),
)
copyFileSync(join(automerge, 'automerge_wasm_bg.wasm'), join(dist, 'automerge_wasm_bg.wasm'))
for (const program of ['agent.mjs', 'moot.mjs']) chmodSync(join(dist, program), 0o755)
