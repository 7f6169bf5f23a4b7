import { realpathSync } from 'node:fs'
import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { run } from './shell.ts'

/** What images without a registry are made of: programs of this machine, put into an empty tree. */

/** A shell and its like under /bin, the folders that programs expect, and root. */
export async function plantBusybox(tree: string, busybox: string): Promise<void> {
  for (const folder of ['bin', 'etc', 'tmp', 'root', 'data']) {
    await mkdir(join(tree, folder), { recursive: true })
  }
  await chmod(join(tree, 'tmp'), 0o1777)
  await copyFile(busybox, join(tree, 'bin/busybox'))
  const applets = (await run(busybox, ['--list']))
    .split('\n')
    .filter((name) => name !== '' && name !== 'busybox')
  for (const applet of applets) await symlink('busybox', join(tree, 'bin', applet))
  await writeFile(join(tree, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n')
  await writeFile(join(tree, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n')
}

/** A program with the libraries that it is linked with, each where the loader looks for it. */
export async function plantProgram(tree: string, program: string, at: string): Promise<void> {
  await plantFile(tree, program, at)
  const libraries = [...(await run('ldd', [program])).matchAll(/(\/\S+) \(0x/g)].map(
    (match) => match[1] ?? '',
  )
  for (const library of libraries) await plantFile(tree, library, library)
}

async function plantFile(tree: string, from: string, at: string): Promise<void> {
  await mkdir(dirname(join(tree, at)), { recursive: true })
  await copyFile(realpathSync(from), join(tree, at))
}
